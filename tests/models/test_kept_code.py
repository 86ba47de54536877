"""Code that a sweep uses stays as it was at the start, whatever becomes of its files."""

import inspect
import pickle
from pathlib import Path

import pytest

from nightune.models.errors import InputError
from nightune.models.kept_code import adopt, code_kept, kept_code, kept_sources, newly_edited
from nightune.models.user_code import bind_function, load_function, source_digest

KEY = "model.architecture"
NET = """
def early(x):
    return 2 * x

def late(x):
    from helper.inner import FACTOR
    return FACTOR * x
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "helper").mkdir()
    (tmp_path / "helper" / "__init__.py").write_text("")
    (tmp_path / "helper" / "inner.py").write_text("FACTOR = 3\n")
    (tmp_path / "net.py").write_text(NET)
    return tmp_path


def edit(folder: Path) -> None:
    (folder / "net.py").write_text("def (")
    (folder / "helper" / "inner.py").unlink()


def test_an_edit_or_a_deletion_changes_nothing_in_the_block(folder: Path) -> None:
    before = source_digest("net.py:early", folder)
    with code_kept():
        assert load_function("net.py:early", folder, KEY)(1) == 2
        assert newly_edited() == []
        edit(folder)
        assert source_digest("net.py:early", folder) == before
        assert load_function("net.py:early", folder, KEY)(1) == 2
        assert bind_function("net.py:late", folder, KEY)(1) == 3  # imported after the edit
        (folder / "net.py").unlink()
        assert load_function("net.py:early", folder, KEY)(1) == 2
        assert [path.name for path in newly_edited()] == ["inner.py", "net.py"]
        assert newly_edited() == []  # said once
    with pytest.raises(InputError, match="no file"):
        load_function("net.py:early", folder, KEY)


def test_another_process_uses_the_code_that_was_kept_here(folder: Path) -> None:
    with code_kept():
        before = source_digest("net.py:early", folder)
        sent = pickle.dumps(kept_code())
    edit(folder)
    with code_kept():
        adopt(pickle.loads(sent))
        assert source_digest("net.py:early", folder) == before
        assert load_function("net.py:early", folder, KEY)(1) == 2
        assert bind_function("net.py:late", folder, KEY)(1) == 3


def test_after_the_block_the_edited_code_counts(folder: Path) -> None:
    with code_kept():
        with code_kept():  # a flow in a flow
            load_function("net.py:early", folder, KEY)
        (folder / "net.py").write_text("def early(x):\n    return 5 * x\n")
        assert load_function("net.py:early", folder, KEY)(1) == 2
    assert kept_sources() == {}
    assert load_function("net.py:early", folder, KEY)(1) == 5


def test_the_source_that_tools_read_is_the_kept_one(folder: Path) -> None:
    """TensorFlow's AutoGraph converts a function by its source."""
    with code_kept():
        early = load_function("net.py:early", folder, KEY)
        (folder / "net.py").write_text("\n\ndef other(x):\n    return 7 * x\n")
        assert inspect.getsource(early) == "def early(x):\n    return 2 * x\n"
