"""Names that Keras, TensorFlow and JAX do not document: used in models/library_internals only, each with a test."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.models.undocumented import NAMES, Name

MODELS = Path(__file__).parents[2] / "models"
ROOM = MODELS / "library_internals"
OTHERS = sorted(set(MODELS.rglob("*.py")) - set(ROOM.rglob("*.py")))
INNER_MODULES = ("keras.src", "tensorflow.python", "jax._src", "jaxlib")
# Public by spelling, but not documented. Names that a documented name of ours sets or reads are excluded.
NAMED_TUPLES = {"_replace", "_asdict", "_fields"}  # documented, despite their names
PUBLIC = {"momentums", "dynamic_scale", "train_function", "compiled", "jit_compile", "memory_stats"}
TEXTS = {"seed_generator_state", "keras.src.", "model.weights.h5", "date_saved"}


@pytest.mark.parametrize(
    "file", sorted(set(MODELS.rglob("*.py")) - set(ROOM.rglob("*.py"))), ids=lambda file: file.stem
)
def test_other_packages_use_no_undocumented_name(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = [*_inner_imports(tree), *_names_of_others(tree), *_texts(tree)]
    assert not found, f"{file.relative_to(MODELS)}: move to models/library_internals, with a test: {found}"


def test_each_name_used_in_the_package_has_a_test_that_names_it() -> None:
    tested = " ".join(name.name for name in _tested())
    used = {
        node.attr
        for file in ROOM.glob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and (_is_private(node.attr) or node.attr in PUBLIC)
    }
    untested = sorted(name for name in used if name not in tested)
    assert not untested, f"used in models/library_internals, without a test of the mark `undocumented`: {untested}"


def test_the_tests_say_where_a_name_is_used() -> None:
    for name in _tested():
        module, _, attribute = f"nightune.models.{name.used_in}".rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), f"{name.name}: no {name.used_in} uses it any more"


def _tested() -> list[Name]:
    for file in Path(__file__).parent.glob("test_*.py"):
        if "tests.models.undocumented import" in file.read_text(encoding="utf-8") and file != Path(__file__):
            importlib.import_module(f"tests.models.{file.stem}")  # each test registers its name
    return NAMES


def _inner_imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        yield from (name for name in names if name.startswith(INNER_MODULES))


def _names_of_others(tree: ast.AST) -> Iterator[str]:
    """Attributes that are private, or known as undocumented, and not defined in this file."""
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_self(node.value):
            own.add(node.attr)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            own.add(node.target.id)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (node.attr in PUBLIC or _is_private(node.attr)):
            is_own = node.attr in own and (_is_self(node.value) or isinstance(node.value, ast.Name))
            if not is_own:
                yield ast.unparse(node)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("_backend"):
            yield node.name


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in TEXTS:
            yield str(node.value)


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in NAMED_TUPLES


def _is_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")
