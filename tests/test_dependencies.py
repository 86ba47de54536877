"""The declared dependencies are those imported, no more and no less, and the versions that CI uses are within them."""

import ast
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
FOLDERS = ("nightune", "flows", "tasks", "tuning", "models")
# A registered version imports its own small package by this name: tasks/tracking/registry/model_folder.py writes it.
OWN = {"nightune", "nightune_model"}
PYPROJECT = ROOT / "pyproject.toml"
LIMITED = ("keras", "tensorflow", "jax")  # we use names that they do not document


def test_every_imported_package_is_declared() -> None:
    declared = _names(_requirements())
    undeclared = {
        module: _distributions(module)
        for module in sorted({module for _, module, _ in _imports()})
        if not _distributions(module) & declared
    }
    assert not undeclared, f"imported, but no dependency in pyproject.toml (module: distributions): {undeclared}"


def test_every_declared_package_is_imported_or_gives_a_reason() -> None:
    imported = {name for _, module, _ in _imports() for name in _distributions(module)}
    unexplained = [
        str(requirement)
        for requirement in _requirements()
        if canonicalize_name(requirement.name) not in imported and not _reason(requirement)
    ]
    assert not unexplained, f"in pyproject.toml, never imported, and without a comment that says why: {unexplained}"


def test_an_upper_limit_states_when_it_ends() -> None:
    limited = [each for each in _requirements() if any(limit.operator in ("<", "<=", "==") for limit in each.specifier)]
    endless = [str(requirement) for requirement in limited if "ends" not in _reason(requirement)]
    assert not endless, f"upper limits in pyproject.toml without the condition that ends them: {endless}"


@pytest.mark.parametrize("name", LIMITED)
def test_a_library_with_undocumented_names_in_use_has_an_upper_limit(name: str) -> None:
    asked = [each for each in _requirements() if canonicalize_name(each.name) == name]
    assert asked
    unlimited = [str(each) for each in asked if not any(limit.operator == "<" for limit in each.specifier)]
    assert not unlimited, f"pyproject.toml: {unlimited} could be installed in a version that is untested"


@pytest.mark.slow
def test_an_extra_is_imported_only_where_it_is_used() -> None:
    """Without the extra, Nightune must start: only modules that are themselves imported in functions may import it."""
    base = _names(_requirements(extras=False))
    at_start = [(file, module) for file, module, is_deferred in _imports() if not is_deferred]
    optional = {file for file, module in at_start if not _distributions(module) & base}
    importers = {
        f"{file} imports {other}"
        for other in optional
        for file in _files_importing(_dotted(other))
        if file not in optional
    }
    assert not importers, f"at the top of the file, though the second needs an extra: {sorted(importers)}"
    known = {f"models/engines/compiled/{name}.py" for name in ("jax_backend", "jax_functions", "vmap_stacks")}
    assert optional == known, f"files that need an extra as soon as they are imported: {sorted(optional)}"


def test_the_versions_of_ci_are_within_the_limits() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    fixed = {canonicalize_name(name): version for name, version in pins.items()}
    missing = sorted(_names(_requirements(extras=False)) - set(fixed))
    assert not missing, f"dependencies that constraints.txt does not fix: {missing}"
    outside = [
        f"{requirement} (constraints.txt: {fixed[canonicalize_name(requirement.name)]})"
        for requirement in _requirements()
        if canonicalize_name(requirement.name) in fixed
        and fixed[canonicalize_name(requirement.name)] not in requirement.specifier
    ]
    assert not outside, f"limits in pyproject.toml that exclude the versions that CI uses: {outside}"


@cache
def _requirements(extras: bool = True) -> tuple[Requirement, ...]:
    """The requirements of an installation, with extras but without the development tools."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"] if extras else {}
    groups = [project["dependencies"], *(group for name, group in optional.items() if name != "dev")]
    return tuple(Requirement(text) for group in groups for text in group)


def _names(requirements: Iterable[Requirement]) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requirements}


def _reason(requirement: Requirement) -> str:
    """The comment beside a requirement, and those directly above its group of lines."""
    lines = PYPROJECT.read_text(encoding="utf-8").splitlines()
    place = next(place for place, line in enumerate(lines) if _is_requested_in(line, requirement))
    above = []
    for line in reversed(lines[:place]):
        if line.startswith("#"):
            above.append(line)
        elif not line or line.startswith("["):
            break
    return " ".join([*reversed(above), lines[place].partition("#")[2]])


def _is_requested_in(line: str, requirement: Requirement) -> bool:
    code = line.partition("#")[0]
    if '"' not in code:
        return False
    given = code.split('"')[1::2]
    return any(_parsed(text) == requirement for text in given)


def _parsed(text: str) -> Requirement | None:
    try:
        return Requirement(text)
    except ValueError:
        return None


@cache
def _imports() -> tuple[tuple[str, str, bool], ...]:
    """File, top-level module, and whether a function, or types alone, need it; without Python's modules and our own."""
    return tuple(
        (file.relative_to(ROOT).as_posix(), name.split(".")[0], is_deferred)
        for file in _files()
        for name, is_deferred in _imported(ast.parse(file.read_text(encoding="utf-8")), False)
        if name.split(".")[0] not in {*sys.stdlib_module_names, *OWN}
    )


def _files() -> list[Path]:
    """Every module once: the links nightune/flows and so on are not followed."""
    return [file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.py"))]


def _imported(node: ast.AST, is_deferred: bool) -> Iterator[tuple[str, bool]]:
    if isinstance(node, ast.Import):
        yield from ((alias.name, is_deferred) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.module
        assert not node.level, "imports are absolute"
        yield node.module, is_deferred
    is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    is_for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    for child in ast.iter_child_nodes(node):
        yield from _imported(child, is_deferred or is_function or is_for_types)


def _files_importing(module: str) -> list[str]:
    return [
        file.relative_to(ROOT).as_posix()
        for file in _files()
        if (module, False) in _imported(ast.parse(file.read_text(encoding="utf-8")), False)
    ]


def _dotted(file: str) -> str:
    return f"nightune.{file.removesuffix('.py').replace('/', '.')}"


def _distributions(module: str) -> set[str]:
    """The distributions that install a module: several may share one, as those of MLflow do."""
    return {canonicalize_name(name) for name in _installed().get(module, [])}


@cache
def _installed() -> Mapping[str, list[str]]:
    return packages_distributions()  # it reads the lists of all installed files, which takes a second or more
