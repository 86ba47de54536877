"""The study that trains the params of one trial again."""

import tomllib
from typing import Any

import pytest

from nightune.tuning.study.repeat import Seeds, repeating_study

TEXT = """# my study
name = "flowers"
question = "Which?"
[data]
source = "iris"  # kept
[space]
optimizer = ["adam", "sgd"]
learning_rate.peak = { low = 1e-4, high = 0.1 }
[search]
method = "pbt"
population = 4
epochs = 9
[confirmation]
finalists = 2
"""
PARAMS: dict[str, Any] = {
    "model.architecture": "mlp",
    "model.units": [8, 4],
    "model.norm": None,
    "optimizer": "adam",
    "learning_rate.peak": 1e-5,
    "stopping.rule": "none",
    "training.class_weight": {"no": 1.0, "a b": 0.5},
    "training.changes": {"10": {"learning_rate.peak": 0.02, "model.dropout": 0.1}, "4": {"learning_rate.peak": 0.01}},
}


def test_all_params_are_fixed_and_data_and_what_follows_the_search_are_kept() -> None:
    text = repeating_study(TEXT, "Again?", Seeds(8, 7), 9, PARAMS)
    assert text is not None
    assert "# kept" in text
    tables = tomllib.loads(text)
    assert (tables["question"], tables["seed"], "name" in tables) == ("Again?", 8, False)
    assert (tables["data"], tables["confirmation"]) == (
        {"source": "iris", "split": {"seed": 7}},
        {"finalists": 2},
    )
    assert tables["model"] == {"architecture": "mlp", "units": [[8, 4]]}
    assert tables["space"] == {"optimizer": "adam", "learning_rate": {"peak": 1e-5}}
    assert tables["stopping"] == {"rule": "none"}
    assert tables["search"] == {"method": "random", "trials": 3, "epochs": 9}
    assert tables["training"]["class_weight"] == {"no": 1.0, "a b": 0.5}
    assert tables["training"]["changes"] == {
        "4": {"learning_rate": {"peak": 0.01}},
        "10": {"learning_rate": {"peak": 0.02}, "model": {"dropout": 0.1}},
    }


@pytest.mark.parametrize("split", ["split.seed = 3", "split = { seed = 3, test = 0.1 }", "[data.split]\nseed = 3"])
def test_a_split_with_a_seed_keeps_it(split: str) -> None:
    text = repeating_study(TEXT.replace("[space]", f"{split}\n[space]"), "Again?", Seeds(8, 7), 9, PARAMS)
    assert text is not None
    assert tomllib.loads(text)["data"]["split"]["seed"] == 3


@pytest.mark.parametrize("split", ["split.test = 0.1", "split = { test = 0.1 }", "[data.split]\ntest = 0.1"])
def test_a_split_without_a_seed_gets_that_of_the_study(split: str) -> None:
    text = repeating_study(TEXT.replace("[space]", f"{split}\n[space]"), "Again?", Seeds(8, 7), 9, PARAMS)
    assert text is not None
    assert tomllib.loads(text)["data"]["split"] == {"test": 0.1, "seed": 7}


def test_a_text_without_a_place_for_the_values_is_not_written() -> None:
    assert repeating_study("data = {}\n[[search]]\n", "Again?", Seeds(8, 7), 9, PARAMS | {"": None}) is None
