"""The names that others read: each is defined in one module, and has the documented value."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightune.models.training import reported_names
from nightune.tasks.tracking.store import names

ROOT = Path(__file__).parents[2]
NAME_MODULES = {
    ROOT / "tasks" / "tracking" / "store" / "names.py",
    ROOT / "models" / "training" / "reported_names.py",
}
PACKAGES = ("flows", "tasks", "tuning", "models")
OUR_NAME = re.compile(rf"nightune\.(?!(?:{'|'.join(PACKAGES)})\b)\w")


def test_tag_and_metric_names_are_defined_in_the_names_modules_only() -> None:
    files = {file for package in PACKAGES for file in (ROOT / package).rglob("*.py")} - NAME_MODULES
    assert len(files) > 100
    found = [f"{file.relative_to(ROOT)}:{line}: {text!r}" for file in sorted(files) for line, text in _literals(file)]
    assert not found


@pytest.mark.parametrize(
    "line",
    [
        'tags["nightune.kind"]',
        "\"tags.`nightune.kind` = 'trial'\"",
        'f"nightune.test_{name}"',
        'f"nightune.{name}"',
    ],
)
def test_every_form_of_a_tag_literal_is_found(line: str, tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(f"found = {line}\n", encoding="utf-8")
    assert list(_literals(file))


@pytest.mark.parametrize(
    "line",
    [
        '"""The tag `nightune.rung` is set last."""',
        'path = "nightune.tasks.step"',
        'f"from nightune.models.{name} import"',
        'logging.getLogger("nightune")',
    ],
)
def test_docstrings_module_paths_and_the_logger_are_not_tag_literals(line: str, tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(f"{line}\n", encoding="utf-8")
    assert not list(_literals(file))


def test_no_two_tags_have_the_same_name() -> None:
    tags = [value for value in _constants().values() if value.startswith(names.PREFIX)]
    assert len(tags) > 50
    assert len(tags) == len(set(tags))


CONTRACT = {
    "nightune.kind": names.KIND,
    "nightune.trial_key": names.TRIAL_KEY,
    "nightune.status": names.STATUS,
    "nightune.engine": names.ENGINE,
    "nightune.sweep": names.SWEEP,
    "loss": names.LOSS,
    "val_": reported_names.VALIDATION,
    "learning_rate": reported_names.LEARNING_RATE,
    "weight_decay": reported_names.WEIGHT_DECAY,
    "batch_size": reported_names.BATCH_SIZE,
    "penalty": reported_names.PENALTY,
    "updates": names.UPDATES,
    "examples": names.EXAMPLES,
    "objective": names.OBJECTIVE,
    "best_epoch": names.BEST_EPOCH,
    "epochs": names.EPOCHS,
    "seconds": names.SECONDS,
    "checkpoint/model.keras": names.CHECKPOINT,
    "checkpoint/model.zip": names.CHECKPOINTS[1],
}


@pytest.mark.parametrize("documented", CONTRACT)
def test_the_contract_has_its_documented_values(documented: str) -> None:
    assert CONTRACT[documented] == documented


def test_conditions_are_written_as_mlflow_reads_them() -> None:
    assert names.tag_equals(names.KIND, "trial") == "tags.`nightune.kind` = 'trial'"
    assert names.tag_differs(names.SNAPSHOT, "") == "tags.`nightune.snapshot` != ''"


def _constants() -> dict[str, str]:
    modules = (reported_names, names)
    return {name: value for module in modules for name, value in vars(module).items() if isinstance(value, str)}


def _literals(file: Path) -> Iterator[tuple[int, str]]:
    """Strings with the name of a tag or metric in them, docstrings left out; f-strings have an x for each value."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in docstrings:
            continue
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        if OUR_NAME.search(text):
            yield node.lineno, text
