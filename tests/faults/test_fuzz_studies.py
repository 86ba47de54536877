"""Every study file is a study or a StudyError that names the file: never a traceback."""

import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightune.models.recipe.params import KEYS
from nightune.tasks.load_study import load_study
from nightune.tasks.propose_trials import sample_recipes
from nightune.tuning.errors import StudyError

CASES = int(os.environ.get("NIGHTUNE_FUZZ_CASES", "150"))  # `make fuzz` runs 10,000
STUDIES = sorted(Path("studies").glob("*.toml"))
NAMES = [
    *KEYS,
    "class_weight",
    "source",
    "separator",
    "decimal",
    "encoding",
    "query",
    "sheet",
    "arrays",
    "arguments",
    "pad",
    "loader",
    "class_names",
    "side",
    "length",
    "image_size",
    "image_color",
    "text",
    "codes",
    "words",
    "images",
    "size",
    "color",
    "hashed",
    "target_encoded",
    "date_parts",
    "weekday",
    "length",
    "weight",
    "average",
    "low",
    "high",
    "scale",
    "options",
    "value",
    "when",
    "steps",
    "integer",
    "units",
    "default",
    "trials",
    "metric",
    "direction",
    "report",
    "threshold",
    "parameters",
    "size_mb",
    "latency_ms",
]
SECTIONS = (
    "data",
    "model",
    "space",
    "stopping",
    "training",
    "search",
    "objective",
    "limits",
    "promotion",
    "nightly",
    "x",
)

fuzzed = settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=CASES < 1000)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=2**63),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        [
            *NAMES,
            "sgd",
            "adam",
            "log",
            "fixed",
            "../x",
            "/etc/passwd",
            "a\x00b",
            "val_loss",
            "val_mcc",
            "f1",
            "pinball",
            "x.py:f",
            "t.csv",
            "cp1252",
            "💥",
        ]
    ),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)
tables = st.dictionaries(st.sampled_from(NAMES), values, max_size=5)
studies = st.fixed_dictionaries(
    {}, optional={"question": values, "seed": values, "name": values, **dict.fromkeys(SECTIONS, tables | values)}
)


def as_toml(value: Any) -> str:
    """Write a value as TOML in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(name))} = {as_toml(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return '""' if value is None else json.dumps(value)


def read(content: bytes) -> None:
    """Read a study file as every command does; a good one is sampled, too."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fuzzed.toml"
        path.write_bytes(content)
        try:
            study = load_study(path)
            sample_recipes(study)
        except StudyError as error:
            assert str(path) in str(error)  # noqa: PT017 - either outcome is well


@pytest.mark.slow
@fuzzed
@given(studies)
def test_any_tables_are_a_study_or_a_study_error(tables: dict[str, Any]) -> None:
    text = "\n".join(f"{name} = {as_toml(value)}" for name, value in tables.items())
    read(text.encode("utf-8", "surrogatepass"))


@fuzzed
@given(values | st.dictionaries(st.sampled_from(NAMES), st.floats() | st.integers(), max_size=3))
def test_any_weights_of_classes_are_accepted_or_refused(value: Any) -> None:
    text = STUDIES[0].read_text()
    read(f"{text}\n[training]\nclass_weight = {as_toml(value)}\n".encode("utf-8", "surrogatepass"))


@fuzzed
@given(
    st.sampled_from(["loss", "outputs", "quantiles", "loss_weights", "class_weight"]),
    values
    | st.dictionaries(
        st.sampled_from([*NAMES, "value", "low"]),
        values | st.dictionaries(st.sampled_from([*NAMES, "balanced"]), st.floats() | st.integers(), max_size=2),
        max_size=3,
    ),
)
def test_any_tables_of_heads_are_accepted_or_refused(key: str, value: Any) -> None:
    text = STUDIES[0].read_text()
    read(f"{text}\n[training]\nloss = 'pinball'\n{key} = {as_toml(value)}\n".encode("utf-8", "surrogatepass"))
    read(f"{text}\n[training]\n{key} = {as_toml(value)}\n".encode("utf-8", "surrogatepass"))
    decided = text.replace("metric =", f"threshold = {as_toml(value)}\nmetric =")
    read(decided.encode("utf-8", "surrogatepass"))


@fuzzed
@given(st.sampled_from(STUDIES), st.data())
def test_any_damage_to_a_good_study_is_reported(study: Path, data: st.DataObject) -> None:
    content = study.read_bytes()
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content)))
        length = data.draw(st.integers(0, 12))
        content = content[:start] + data.draw(st.binary(max_size=6)) + content[start + length :]
    read(content)


@pytest.mark.slow
@fuzzed
@given(st.sampled_from(STUDIES), values, st.data())
def test_any_value_in_a_good_study_is_accepted_or_refused(study: Path, value: Any, data: st.DataObject) -> None:
    lines = study.read_text().splitlines()
    places = [number for number, line in enumerate(lines) if " = " in line and not line.startswith("#")]
    number = data.draw(st.sampled_from(places))
    lines[number] = f"{lines[number].split(' = ')[0]} = {as_toml(value)}"
    read("\n".join(lines).encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"a = " + b"[" * 100_000,
        b"a = " + b"{a = " * 50_000,
        b"[" + b"a." * 50_000 + b"a]",
        b'question = """' + b"x" * 5_000_000,
        b"question = 1\n" * 2,
        b"\x00" * 1000,
    ],
    ids=["empty", "utf16", "deep list", "deep table", "deep name", "long text", "twice", "zeros"],
)
def test_a_bomb_is_refused(content: bytes) -> None:
    read(content)
