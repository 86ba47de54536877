"""Every acceptance test of the specification is there under its name: OPT-T1 is a function `test_opt_t1_…`."""

import ast
from functools import cache
from pathlib import Path

import pytest

# By the specification's numbers.
NAMES = [
    *(f"OPT-T{number}" for number in range(1, 7)),
    *(f"LR-T{number}" for number in range(1, 6)),
    *(f"BS-T{number}" for number in range(1, 7)),
    *(f"WD-T{number}" for number in range(1, 5)),
    *(f"REG-T{number}" for number in range(1, 5)),
    *(f"ES-T{number}" for number in range(1, 6)),
    *(f"FUT-T{number}" for number in range(1, 7)),
    *(f"X{number}" for number in range(1, 7)),
]


@cache
def named_tests() -> frozenset[str]:
    """The names of all test functions."""
    trees = (ast.parse(file.read_text(encoding="utf-8")) for file in Path("tests").rglob("test_*.py"))
    nodes = (node for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef))
    return frozenset(node.name for node in nodes if node.name.startswith("test_"))


@pytest.mark.parametrize("name", NAMES)
def test_an_acceptance_test_is_there_under_its_name(name: str) -> None:
    start = f"test_{name.lower().replace('-', '_')}_"
    assert any(function.startswith(start) for function in named_tests())
