"""The learning-rate range test: known numbers on a quadratic, noise, and the state after it."""

import itertools
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.recipe.recipe import Recipe
from nightune.models.techniques.learning_rates.range_test import (
    UPDATES,
    RangeTest,
    is_over,
    range_to_test,
    read_range_test,
    rising_rates,
    smoothed,
)
from nightune.models.techniques.optimizers.optimizers import OPTIMIZERS
from tests.models.conftest import MakeDataset

HERE = Path()


def quadratic_test(curvature: float, updates: int) -> RangeTest:
    """The test on ½aθ² with SGD from θ = 1, ηa from 1e-4 to 100."""
    rates = rising_rates(1e-4 / curvature, 100.0 / curvature, updates)
    weight, losses = 1.0, []
    for rate in rates:
        losses.append(0.5 * curvature * weight**2)
        if is_over(losses):
            break
        weight -= rate * curvature * weight
    return read_range_test(rates, losses)


@pytest.mark.parametrize("curvature", [1.0, 4.0])
@pytest.mark.parametrize(("updates", "suggested", "stopped"), [(100, 0.187, 65.8), (200, 0.090, 14.3)])
def test_the_range_test_on_a_quadratic_suggests_and_stops_at_known_rates(
    curvature: float, updates: int, suggested: float, stopped: float
) -> None:
    test = quadratic_test(curvature, updates)
    assert test.suggestion is not None
    assert test.suggestion * curvature == pytest.approx(suggested, rel=5e-3)
    assert test.rates[-1] * curvature == pytest.approx(stopped, rel=5e-3)


@pytest.mark.parametrize("curvature", [0.1, 1.0, 4.0, 300.0])
@pytest.mark.parametrize("updates", [100, 150, 200, 400])
def test_the_suggested_rate_is_stable_although_the_range_test_stops_far_beyond_stability(
    curvature: float, updates: int
) -> None:
    test = quadratic_test(curvature, updates)
    assert test.range is not None
    assert test.range.low < test.suggestion <= test.range.high < 2.0 / curvature
    assert test.rates[-1] > 2.0 / curvature


def test_rates_rise_by_a_constant_ratio_between_both_ends() -> None:
    rates = rising_rates(1e-4, 1.0, 5)
    np.testing.assert_allclose(rates, [1e-4, 1e-3, 1e-2, 1e-1, 1.0], rtol=1e-12)
    for low, high, updates in ((0.0, 1.0, 5), (1.0, 1.0, 5), (0.1, 1.0, 1)):
        with pytest.raises(ValueError, match="0 < low < high"):
            rising_rates(low, high, updates)


def test_smoothing_is_corrected_for_its_start() -> None:
    np.testing.assert_allclose(smoothed([3.0, 3.0, 3.0]), [3.0, 3.0, 3.0], rtol=1e-12)
    np.testing.assert_allclose(smoothed([1.0, 2.0])[1], (0.98 * 1.0 + 2.0) / 1.98, rtol=1e-12)


def test_a_test_is_over_where_the_loss_explodes_or_is_not_finite() -> None:
    assert not is_over([])
    assert not is_over([1.0, 3.9])
    assert is_over([1.0, math.inf])
    assert is_over([1.0] * 3 + [100.0])


def test_values_that_are_not_finite_are_left_out() -> None:
    test = read_range_test(rising_rates(1e-3, 1.0, 4), [1.0, 0.5, math.nan])
    assert len(test.rates) == len(test.losses) == len(test.smoothed) == 2
    assert read_range_test(rising_rates(1e-3, 1.0, 4), [math.nan]).suggestion is None


def test_a_loss_that_never_falls_suggests_nothing() -> None:
    rates = rising_rates(1e-3, 1.0, 20)
    for losses in ([1.0] * 20, list(np.linspace(1.0, 2.0, 20))):
        test = read_range_test(rates, losses)
        assert test.suggestion is None
        assert test.range is None


def test_noise_of_the_first_losses_does_not_decide() -> None:
    rates = rising_rates(1e-5, 1.0, 100)
    quiet = np.where(rates < 1e-2, 1.0, np.exp(-20.0 * (rates - 1e-2)))
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(0.0, 0.1, size=100)
        test = read_range_test(rates, list(quiet + noise))
        assert test.suggestion is not None
        assert test.suggestion > 5e-3


def test_the_range_ends_where_the_smoothed_loss_was_lowest() -> None:
    rates = rising_rates(1e-4, 1e-1, 40)
    losses = [1.0] * 20 + [0.1] * 2 + [3.0] * 18
    test = read_range_test(rates, losses)
    assert test.range is not None
    assert test.range.high == pytest.approx(rates[21], rel=0.05)
    assert test.range.low == pytest.approx(test.suggestion / 10, rel=0.05)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_with_a_rate_to_search_is_tested_beyond_its_customary_range(optimizer: str) -> None:
    from nightune.models.techniques.optimizers.search_ranges import customary_ranges

    tested, customary = range_to_test(optimizer), customary_ranges(optimizer).get("learning_rate.peak")
    if isinstance(customary, dict):
        assert tested is not None
        assert tested.low < customary["low"] < customary["high"] < tested.high
    else:
        assert tested is None


PROBED: dict[str, dict[str, Any]] = {
    "momentum": {"optimizer": "sgd", "one_minus_momentum": 0.1, "model__dropout": 0.3},
    "adam and noise": {"optimizer": "adam", "model__dropout": 0.3, "model__batch_normalization": True},
    "decaying": {"optimizer": "rmsprop", "weight_decay__profile": "fixed", "penalty__kind": "l1"},
}


@pytest.mark.parametrize("name", PROBED)
def test_weights_slots_and_random_state_are_bit_equal_after_a_range_test(
    name: str, make_dataset: MakeDataset, recipe: Callable[..., Recipe]
) -> None:
    from nightune.models.engines.fit.engine import FitEngine
    from nightune.models.engines.fit.range_test_run import (
        probed_dataset,
        probed_recipe,
        run_range_test,
        shuffled_batches,
    )
    from nightune.models.training.seeds import Seeds

    dataset = make_dataset()
    engine = FitEngine(probed_dataset(dataset), HERE)
    state = engine.start(probed_recipe(recipe(**PROBED[name])), Seeds(1, 2, 3))
    variables = [*state.model.variables, *state.model.optimizer.variables]
    before = [np.array(variable) for variable in variables]

    def generators() -> Any:
        return random.getstate(), np.random.get_state()[1].tolist()

    def draws_nothing() -> bool:
        drawn = generators()
        tested = run_range_test(
            engine, state, rising_rates(1e-4, 1.0, 12), shuffled_batches(len(dataset.train), 8, seed=1)
        )
        assert len(tested.losses) > 2
        return generators() == drawn

    assert any(draws_nothing() for _ in range(5))  # a thread of another test may draw at the same time
    assert all(np.array_equal(old, np.array(new)) for old, new in zip(before, variables, strict=True))


def test_a_range_test_is_repeatable_and_trains_with_the_rates_that_it_reports(
    make_dataset: MakeDataset, recipe: Callable[..., Recipe]
) -> None:
    from nightune.models.engines.fit.engine import FitEngine
    from nightune.models.engines.fit.range_test_run import run_range_test, shuffled_batches
    from nightune.models.training.seeds import Seeds

    dataset = make_dataset("regression")
    engine = FitEngine(dataset, HERE)
    state = engine.start(recipe(optimizer="sgd"), Seeds(1, 2, 3))
    rates = rising_rates(1e-3, 10.0, UPDATES)
    first, second = (
        run_range_test(engine, state, rates, shuffled_batches(len(dataset.train), 8, seed=1)) for _ in range(2)
    )
    np.testing.assert_array_equal(first.losses, second.losses)
    assert len(first.rates) < UPDATES  # the loss explodes before the last rate
    assert first.suggestion is not None
    kept = engine.weights(state)
    batch = next(shuffled_batches(len(dataset.train), 8, seed=1))
    outputs = np.array(engine.model(recipe(optimizer="sgd"), kept).predict_on_batch(dataset.train.inputs[batch]))
    assert first.losses[0] == pytest.approx(np.mean((outputs.ravel() - dataset.train.targets[batch]) ** 2), rel=1e-5)


def test_batches_go_through_all_examples_repeatedly() -> None:
    batches = list(itertools.islice(shuffled(22, 8), 6))
    assert [len(batch) for batch in batches] == [8] * 6
    for start in (0, 2, 4):
        assert len(set(np.concatenate(batches[start : start + 2]).tolist())) == 16
    assert [len(batch) for batch in itertools.islice(shuffled(5, 8), 2)] == [5, 5]


def shuffled(examples: int, size: int) -> Any:
    from nightune.models.engines.fit.range_test_run import shuffled_batches

    return shuffled_batches(examples, size, seed=4)
