"""Keep Keras out of the collection of tests, and skip slow tests in a quick run."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Never

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


def skip_slow_tests() -> None:
    """Skip each test that imports Keras or starts a process, when it does.

    Imports and processes make a test slow, so there is no list of slow tests to maintain.
    """

    def skip(event: str, _: object) -> None:
        if event == "subprocess.Popen":
            pytest.skip("not in a quick run: it starts a process")

    sys.meta_path.insert(0, KerasFinder(skip_the_test))
    sys.addaudithook(skip)
