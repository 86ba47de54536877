"""Arguments of a study reach the loader by name; others are refused with its signature."""

from pathlib import Path

import pytest

from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.errors import InputError

LOADER = """
import numpy as np
def load(year, rows=60, *, names=()):
    x = np.arange(rows * 2.0).reshape(rows, 2) + year
    return x, np.arange(rows) % 3
def anything(**given):
    return load(**given)
def test(year):
    return load(year, rows=12)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "load.py").write_text(LOADER)
    return tmp_path


@pytest.mark.parametrize("function", ["load", "anything"])
def test_arguments_are_those_of_the_function(folder, function):
    sets = [
        load_dataset(DataSettings(f"load.py:{function}", arguments=arguments), folder)
        for arguments in ({"year": 2025}, {"year": 2025, "rows": 60, "names": ["a"]}, {"year": 2024})
    ]
    assert sets[0].version == sets[1].version != sets[2].version
    assert sum(sets[0].sizes.values()) == 60


@pytest.mark.parametrize("arguments", [{}, {"yaer": 2025}, {"year": 2025, "seed": 1}])
def test_missing_and_unknown_arguments_are_refused_with_the_signature(folder, arguments):
    with pytest.raises(InputError, match=r"load\(year, rows=60, \*, names=\(\)\)") as caught:
        load_dataset(DataSettings("load.py:load", arguments=arguments), folder)
    assert caught.value.key == "data.arguments"


def test_arguments_of_a_file_are_refused(folder):
    (folder / "t.csv").write_text("x,y\n1,2\n")
    with pytest.raises(InputError, match="functions") as caught:
        load_dataset(DataSettings("t.csv", target="y", arguments={"a": 1}), folder)
    assert caught.value.key == "data.arguments"


def test_functions_of_other_splits_get_the_arguments_too(folder):
    split = Split("fixed", test="load.py:test")
    data = load_dataset(DataSettings("load.py:load", arguments={"year": 3}, split=split), folder)
    assert data.sizes["test"] == 12
