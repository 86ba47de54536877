"""Heavy imports: garbage collection is off during them, later skips the new objects, and is restored."""

import gc
import importlib
import sys
from collections.abc import Iterator

import pytest

from nightune.models.heavy_imports import lasting_imports, without_modules


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    frozen = gc.get_freeze_count()
    yield
    gc.enable()
    if not frozen:
        gc.unfreeze()


def test_objects_created_in_the_block_are_left_alone() -> None:
    before = gc.get_freeze_count()
    with lasting_imports():
        assert not gc.isenabled()
        made: list[list[int]] = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(made)


def test_the_collector_is_on_again_after_an_import_that_fails() -> None:
    with pytest.raises(ImportError), lasting_imports():
        raise ImportError
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    with lasting_imports():
        pass
    assert not gc.isenabled()


def test_modules_that_are_left_out_can_be_imported_afterwards() -> None:
    sys.modules.pop("colorsys", None)
    with without_modules("colorsys", "gc"):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("colorsys")
        assert importlib.import_module("gc") is gc
    assert importlib.import_module("colorsys").__name__ == "colorsys"
