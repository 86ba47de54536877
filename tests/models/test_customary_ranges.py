"""The customary ranges: one for each optimizer, of params that are active for it and values that they may have."""

from typing import Any

import pytest

from nightune.models.recipe.params import KEYS, params_of, read_recipe
from nightune.models.techniques.optimizers.optimizers import OPTIMIZERS
from nightune.models.techniques.optimizers.search_ranges import LEVELS, RANGES, customary_ranges, customary_spaces
from tests.rows import missing_rows


def ends(domain: Any) -> list[Any]:
    return [domain["low"], domain["high"]] if isinstance(domain, dict) else list(domain)


def test_every_optimizer_has_its_ranges_and_the_default_ones_are_known() -> None:
    assert missing_rows(OPTIMIZERS, RANGES, "RANGES in models/techniques/optimizers/search_ranges.py") == []
    assert set(RANGES) <= set(OPTIMIZERS)
    assert set(LEVELS["article"]) < set(LEVELS["default"]) < set(LEVELS["full"]) == set(OPTIMIZERS)


def test_a_higher_level_searches_all_that_a_lower_one_does() -> None:
    spaces = customary_spaces()
    for lower, higher in (("article", "default"), ("default", "full")):
        for optimizer, ranges in spaces[lower].items():
            assert ranges.items() <= spaces[higher][optimizer].items()
    assert spaces["article"]["sgd"] == {"learning_rate.peak": {"low": 1e-4, "high": 1.0, "scale": "log"}}


@pytest.mark.parametrize("optimizer", RANGES)
def test_every_end_of_a_range_gives_a_valid_recipe(optimizer: str) -> None:
    ranges = customary_ranges(optimizer)
    assert next(iter(ranges)) == "learning_rate.peak" or optimizer in ("prodigy", "dog")  # which find it
    for end in (0, -1):
        params = {"optimizer": optimizer, **{param: ends(domain)[end] for param, domain in ranges.items()}}
        if params.get("weight_average.kind") == "none":
            del params["weight_average.one_minus_decay"]
        assert read_recipe(params).optimizer.kind == optimizer


@pytest.mark.parametrize("optimizer", RANGES)
def test_a_range_rises_and_holds_the_default_of_its_param(optimizer: str) -> None:
    averaged = {} if optimizer == "schedule_free" else {"weight_average.kind": "exponential"}
    defaults = params_of(read_recipe({"optimizer": optimizer, **averaged}))
    for param, domain in customary_ranges(optimizer).items():
        if isinstance(domain, dict):
            assert 0.0 < domain["low"] < domain["high"], param
        far = {
            ("lion", "weight_decay.strength"),
            ("adadelta", "learning_rate.peak"),
            ("adamw", "weight_decay.strength"),
        }
        if (optimizer, param) not in far:  # our general default is outside the ranges of these
            assert min(ends(domain)) <= defaults[param] <= max(ends(domain)), param
        assert all(KEYS[param].problem(end) is None for end in ends(domain)), param


def test_ranges_are_copies() -> None:
    customary_ranges("adam")["learning_rate.peak"]["low"] = 1.0
    assert customary_ranges("adam")["learning_rate.peak"]["low"] == 1e-5
