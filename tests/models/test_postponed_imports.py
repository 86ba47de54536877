"""Modules whose import is postponed: a stand-in until they are used, then the module itself."""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from nightune.models.postponed_imports import PostponedModule, postponed_modules

LARGE = "postponed_library.large"
FILES = {
    "__init__.py": "from postponed_library import large\nimport postponed_library.large as again\n",
    "large/__init__.py": "from postponed_library.small import shared\nvalue = 3\n",
    "large/part.py": "from postponed_library import large\nvalue = large.value + 1\n",
    "small.py": "def shared(): return 'shared'\n",
}


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name, code in FILES.items():
        file = tmp_path / "postponed_library" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "postponed_library"
    for name in [name for name in sys.modules if name.startswith("postponed_library")]:
        del sys.modules[name]


def imported(library: str, origins: dict[str, str] | None = None) -> ModuleType:
    """Import the library with its large module postponed."""
    with postponed_modules({LARGE: origins or {}}):
        return importlib.import_module(library)


def test_a_module_is_imported_when_it_is_first_used(library: str) -> None:
    package = imported(library)
    stand_in = package.large
    assert isinstance(stand_in, PostponedModule)
    assert package.again is stand_in is sys.modules[LARGE]
    assert stand_in.value == 3
    assert type(sys.modules[LARGE]) is ModuleType
    assert package.large is sys.modules[LARGE]
    assert stand_in.shared() == "shared"
    assert {"value", "shared"} <= set(dir(stand_in))


def test_a_name_of_another_module_does_not_import_it(library: str) -> None:
    stand_in = imported(library, {"shared": "postponed_library.small"}).large
    assert stand_in.shared() == "shared"
    assert sys.modules[LARGE] is stand_in


def test_a_module_in_a_postponed_one_imports_it_first(library: str) -> None:
    imported(library)
    assert importlib.import_module(f"{LARGE}.part").value == 4
    assert sys.modules[LARGE].__dict__["part"].value == 4


def test_a_name_that_the_module_lacks_is_no_attribute(library: str) -> None:
    stand_in = imported(library).large
    assert not hasattr(stand_in, "__warningregistry__")
    assert sys.modules[LARGE] is stand_in
    with pytest.raises(AttributeError, match="other"):
        _ = stand_in.other


def test_what_is_set_or_deleted_is_the_modules(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = imported(library, {"shared": "postponed_library.small"}).large
    with monkeypatch.context() as patch:
        patch.setattr(stand_in, "value", 5)
        patch.setattr(stand_in, "shared", str)
        patch.setattr(stand_in, "added", 7, raising=False)
        assert [getattr(sys.modules[LARGE], name) for name in ("value", "shared", "added")] == [5, str, 7]
        assert (stand_in.value, stand_in.shared, stand_in.added) == (5, str, 7)
    assert (sys.modules[LARGE].value, hasattr(sys.modules[LARGE], "added")) == (3, False)


def test_the_dictionary_is_the_modules(library: str) -> None:
    assert vars(imported(library).large)["value"] == 3


def test_modules_that_are_imported_already_stay_and_later_ones_are_imported_as_usual(library: str) -> None:
    with postponed_modules({"gc": {}, LARGE: {}}):
        assert type(importlib.import_module("gc")) is ModuleType
    assert type(importlib.import_module(library).large) is ModuleType


def test_the_import_of_a_stand_in_finds_its_specification_and_files(library: str) -> None:
    stand_in = imported(library).large
    assert stand_in.__spec__ is not None
    assert stand_in.__spec__.loader is stand_in.__loader__
    assert str(stand_in.__file__).endswith("__init__.py")
    assert importlib.util.find_spec(LARGE) is stand_in.__spec__
