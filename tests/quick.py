"""Keep Keras out of the collection of tests, and skip slow tests in a quick run."""

import sys
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Never

import pytest

KERAS = frozenset({"keras", "tensorflow", "jax", "optax"})


@dataclass(frozen=True)
class KerasFinder:
    """A finder of modules that finds none and refuses Keras and its backends."""

    refuse: Callable[[str], Never]

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        return self.refuse(name) if name in KERAS else None


def fail_the_collection(name: str) -> Never:
    raise ImportError(f"{name} is imported at collection: import it in setup_module, a fixture or a test")


def skip_the_test(name: str) -> Never:
    pytest.skip(f"not in a quick run: it imports {name}")


class SlowFixtures:
    """Skip each test whose fixture skipped an earlier test before the other fixtures are made: a store, for example."""

    def __init__(self) -> None:
        self._slow: set[pytest.FixtureDef[Any]] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
        try:
            return (yield)
        except pytest.skip.Exception:
            self._slow.add(fixturedef)
            raise

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Function) -> None:
        used = {each[-1] for each in item._fixtureinfo.name2fixturedefs.values()}
        for fixture in used & self._slow:
            pytest.skip(f"not in a quick run: as another test of the fixture {fixture.argname}")


def skip_slow_tests() -> None:
    """Skip each test that imports Keras or starts a process, when it does.

    Imports and processes make a test slow, so there is no list of slow tests to maintain.
    """

    def skip(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "subprocess.Popen" and arguments[1] != ["uname", "-p"]:  # of Python's `platform`: MLflow's import
            pytest.skip("not in a quick run: it starts a process")

    sys.meta_path.insert(0, KerasFinder(skip_the_test))
    sys.addaudithook(skip)
