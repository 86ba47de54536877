"""The files that a builder names are part of its identity: what it does not reach is not."""

from pathlib import Path

import pytest

from nightune.models.kept_code import code_kept, newly_changed
from nightune.models.training.unnamed_reads import unnamed_reads
from nightune.models.user_code import load_function, read_digests, source_digest

FILES = ("vocabulary.txt", "backbone.keras", "data.csv", "assets/deep/table.npz", "listed_7.txt", "other.txt")
LIBRARY = """
WORDS = "other.txt"
def read(name="vocabulary.txt"):
    return name
"""
CODE = '''
"""See data.csv."""
from pathlib import Path
import library
from library import read as read_words
HERE = Path(__file__).parent
DATA = HERE / "data.csv"
SIZES = ["mlp", ".", "assets"]

def load():
    return DATA.read_text()

def by_name(input_shape, output_size):
    """Not data.csv."""
    return HERE.joinpath("backbone.keras").read_bytes()

def by_helper(input_shape, output_size):
    return table()

def table():
    return (HERE / "assets" / "deep" / "table.npz").read_bytes()

def by_import(input_shape, output_size):
    return read_words()

def by_module(input_shape, output_size):
    return library.read()

def by_method(input_shape, output_size):
    return Reader().read()

class Reader:
    name = "backbone.keras"
    def read(self):
        return HERE / self.name

def nothing(input_shape, output_size):
    return SIZES

def hidden(input_shape, output_size, size=7):
    return (HERE / f"listed_{size}.txt").read_text()
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "assets" / "deep").mkdir(parents=True)
    for name in FILES:
        (tmp_path / name).write_text(name)
    (tmp_path / "library.py").write_text(LIBRARY)
    (tmp_path / "net.py").write_text(CODE)
    return tmp_path


def digest(folder: Path, function: str) -> str:
    return source_digest(f"net.py:{function}", folder)


@pytest.mark.parametrize(
    ("function", "names"),
    [
        ("by_name", ["backbone.keras"]),
        ("by_helper", ["assets/deep/table.npz"]),
        ("by_import", ["vocabulary.txt"]),
        ("by_module", ["other.txt", "vocabulary.txt"]),
        ("by_method", ["backbone.keras"]),
        ("load", ["data.csv"]),
        ("nothing", []),
        ("hidden", []),
    ],
)
def test_files_that_a_function_reaches_are_named(folder, function, names):
    assert list(read_digests(f"net.py:{function}", folder)) == names
    before = digest(folder, function)
    for name in FILES:
        content = (folder / name).read_text()
        (folder / name).write_text("changed content")
        assert (digest(folder, function) != before) == (name in names)
        (folder / name).write_text(content)
    assert digest(folder, function) == before


def test_a_list_of_the_module_names_files_that_the_code_puts_together(folder):
    with unnamed_reads("net.py:hidden", folder) as remarks:
        load_function("net.py:hidden", folder, "model.architecture")((2,), 1)
    assert ["listed_7.txt" in remark and "FILES" in remark for remark in remarks] == [True]
    (folder / "net.py").write_text(f'{CODE}\nFILES = ["listed_7.txt"]\n')
    with unnamed_reads("net.py:hidden", folder) as remarks:
        load_function("net.py:hidden", folder, "model.architecture")((2,), 1)
    assert remarks == []
    assert list(read_digests("net.py:hidden", folder)) == ["listed_7.txt"]


def test_a_log_that_a_library_only_writes_to_is_not_read(folder):
    code = """
import os
from pathlib import Path
def build(input_shape, output_size):
    os.close(os.open(Path(__file__).with_name("native" + ".log"), os.O_WRONLY | os.O_APPEND))
    os.close(os.open(Path(__file__).with_name("listed" + "_7.txt"), os.O_RDONLY))
"""
    (folder / "native.log").write_text("kept")
    (folder / "net.py").write_text(code)
    with unnamed_reads("net.py:build", folder) as remarks:
        load_function("net.py:build", folder, "model.architecture")((2,), 1)
    assert [("listed_7.txt" in remark, "native.log" in remark) for remark in remarks] == [(True, False)]


STARRED = "from library import *\ndef build(input_shape, output_size):\n    return read()\n"
CHANGED = """
WORDS = []
SIZES = {}
OTHER = 1
def fill(name):
    global OTHER
    OTHER = open(name).read()
WORDS.extend(open("vocabulary.txt"))
SIZES["a"] = open("listed_7.txt").read()
fill("other.txt")
print("backbone.keras")
if __name__ == "__main__":
    WORDS.append(open("data.csv"))
def words(input_shape, output_size):
    return WORDS
def sizes(input_shape, output_size):
    return SIZES
def other(input_shape, output_size):
    return OTHER
def none(input_shape, output_size):
    return print(1)
"""


def test_names_are_followed_through_stars_and_folders_above(folder):
    (folder / "net.py").write_text(STARRED)
    assert list(read_digests("net.py:build", folder)) == ["vocabulary.txt"]
    (folder / "parts" / "deep").mkdir(parents=True)
    (folder / "parts" / "n.py").write_text("def f():\n    return 'backbone.keras'\n")
    (folder / "parts" / "deep" / "m.py").write_text("from ..n import f\ndef g():\n    return f()\n")
    code = "from parts.deep.m import g\ndef build(input_shape, output_size):\n    return g()\n"
    (folder / "net.py").write_text(code)
    assert list(read_digests("net.py:build", folder)) == ["backbone.keras"]


@pytest.mark.parametrize(
    ("function", "names"),
    [("words", ["vocabulary.txt"]), ("sizes", ["listed_7.txt"]), ("other", ["other.txt"]), ("none", [])],
)
def test_what_changes_a_value_when_its_module_is_imported_counts(folder, function, names):
    (folder / "net.py").write_text(CHANGED)
    assert list(read_digests(f"net.py:{function}", folder)) == names


@pytest.mark.parametrize("name", ["WRITTEN", "WRITTEN: list[str]"])
def test_a_file_that_the_function_writes_is_named_as_such(folder, name):
    code = """
from pathlib import Path
CACHE = Path(__file__).with_name("cache.txt")
def build(input_shape, output_size):
    if not CACHE.exists():
        CACHE.write_text("words")
    return CACHE.read_text()
"""
    (folder / "net.py").write_text(code)
    with unnamed_reads("net.py:build", folder) as remarks:
        load_function("net.py:build", folder, "model.architecture")((2,), 1)
    assert ["WRITTEN" in remark and "cache.txt" in remark for remark in remarks] == [True]
    (folder / "cache.txt").unlink()
    (folder / "net.py").write_text(f'{code}\n{name} = ["cache.txt"]\n')
    before = digest(folder, "build")
    for _ in range(2):
        with unnamed_reads("net.py:build", folder) as remarks:
            load_function("net.py:build", folder, "model.architecture")((2,), 1)
        assert remarks == []
    assert digest(folder, "build") == before


def test_a_file_that_changes_in_a_sweep_keeps_its_digest_and_is_reported_once(folder):
    with code_kept():
        before = digest(folder, "by_name")
        (folder / "backbone.keras").write_text("changed content")
        assert digest(folder, "by_name") == before
        assert [path.name for path in newly_changed()] == ["backbone.keras"]
        assert newly_changed() == []
    assert digest(folder, "by_name") != before
