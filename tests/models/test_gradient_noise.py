"""Gradient noise: estimators against the truth, and sizes that follow them."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightune.models.techniques.batch_sizes.gradient_noise import (
    WANTED,
    Measured,
    NoiseState,
    diversity,
    example_estimates,
    next_noise_state,
    two_size_estimates,
)
from nightune.models.techniques.batch_sizes.settings import BatchSizeSettings
from tests.models.controllers import controller

FOUR_GRADIENTS = np.array([[1.0, 0.0], [3.0, 0.0], [2.0, 1.0], [2.0, -1.0]])


def measured(square: float = 1.0, variance: float = 64.0, **more: float) -> Measured:
    values: dict[str, Any] = {"updates": 10, "rate": 0.1, "loss": 1.0, "square": square, "variance": variance, **more}
    return Measured(**values)


def sizes_after(policy: str, seen: list[Measured], examples: int = 10_000, **settings: Any) -> list[int]:
    given_settings = BatchSizeSettings(policy=policy, **settings)
    state, sizes = NoiseState(), []
    for each in seen:
        state = next_noise_state(given_settings, state, each, examples)
        sizes.append(state.size)
    return sizes


def test_four_gradients_have_the_variance_the_norm_and_the_diversity_of_the_table() -> None:
    square, variance = example_estimates(FOUR_GRADIENTS)
    assert variance == pytest.approx(4 / 3)
    assert square == pytest.approx(11 / 3)
    mean = FOUR_GRADIENTS.mean(axis=0)
    assert variance / float(mean @ mean) == pytest.approx(1 / 3)  # B_simple without the correction of |G|²
    assert diversity(FOUR_GRADIENTS) == pytest.approx(0.3125)
    assert 4 * diversity(FOUR_GRADIENTS) == pytest.approx(1.25)


def test_the_two_size_estimates_of_a_batch_and_its_examples_are_those_of_the_examples() -> None:
    mean = FOUR_GRADIENTS.mean(axis=0)
    small = float(np.mean(np.sum(FOUR_GRADIENTS**2, axis=1)))
    assert two_size_estimates(float(mean @ mean), small, 4, 1) == pytest.approx(example_estimates(FOUR_GRADIENTS))


def test_two_sizes_find_the_noise_scale_of_gaussian_gradients() -> None:
    """d = 20, G = ½·1, Σ = 4I: |G|² = 5, tr Σ = 80 and the noise scale 16, within 3 % of 4000 draws."""
    generator = np.random.default_rng(0)
    draws, size, parts, dimensions = 4000, 64, 16, 20
    micro = 0.5 + generator.normal(size=(draws, parts, dimensions)) * math.sqrt(4.0 / (size / parts))
    small = float(np.mean(np.sum(micro**2, axis=2)))
    large = float(np.mean(np.sum(micro.mean(axis=1) ** 2, axis=1)))
    square, variance = two_size_estimates(large, small, size, size / parts)
    assert square == pytest.approx(5.0, rel=0.03)
    assert variance == pytest.approx(80.0, rel=0.03)
    assert variance / square == pytest.approx(16.0, rel=0.03)


def test_parts_of_unlike_sizes_are_as_good_as_equal_ones() -> None:
    """A batch of 64 in parts of 40, 20 and 4 examples, weighted by them, counts as three of 64/3."""
    generator = np.random.default_rng(1)
    sizes = np.array([40, 20, 4])
    micro = 0.5 + generator.normal(size=(40_000, 3, 20)) * np.sqrt(4.0 / sizes)[:, None]
    shares = sizes / 64
    small = float(np.mean(np.sum(micro**2, axis=2) @ shares))
    large = float(np.mean(np.sum(np.einsum("dps,p->ds", micro, shares) ** 2, axis=1)))
    square, variance = two_size_estimates(large, small, 64, 64 / 3)
    assert square == pytest.approx(5.0, rel=0.03)
    assert variance == pytest.approx(80.0, rel=0.03)


def test_gns_goes_to_the_noise_scale_by_doublings_and_stays() -> None:
    assert sizes_after("gns", [measured(1.0, 200.0)] * 5, size=32) == [64, 128, 256, 256, 256]
    assert sizes_after("gns", [measured(1.0, 8.0)] * 4, size=64, minimum=4) == [32, 16, 8, 8]
    assert sizes_after("gns", [measured(1.0, 8.0)] * 4, size=64, minimum=4, noise_multiple=4.0) == [32, 32, 32, 32]


def test_gns_averages_numerator_and_denominator_separately() -> None:
    """Two epochs of noise scales 1000 and 0.1: the ratio of the averages is far from the average of the ratios."""
    first, second = measured(0.1, 100.0, updates=1), measured(100.0, 10.0, updates=1)
    settings = BatchSizeSettings("gns", noise_decay=0.5)
    state = next_noise_state(settings, next_noise_state(settings, NoiseState(), first, 10_000), second, 10_000)
    assert state.variance / state.square == pytest.approx((0.25 * 100 + 0.5 * 10) / (0.25 * 0.1 + 0.5 * 100))
    assert state.weight == pytest.approx(0.75)


def test_an_average_forgets_by_updates_not_by_epochs() -> None:
    settings = BatchSizeSettings("gns", noise_decay=0.9)
    twice = NoiseState()
    for _ in range(2):
        twice = next_noise_state(settings, twice, measured(updates=5), 10_000)
    once = next_noise_state(settings, NoiseState(), measured(updates=10), 10_000)
    assert (twice.square, twice.variance, twice.weight) == pytest.approx((once.square, once.variance, once.weight))


@pytest.mark.parametrize("square", [-1.0, 0.0, math.nan])
def test_gns_holds_while_the_gradients_norm_is_not_positive(square: float) -> None:
    assert sizes_after("gns", [measured(square)] * 2, size=48) == [48, 48]


def test_cabs_is_rate_times_variance_over_loss() -> None:
    assert sizes_after("cabs", [measured(variance=640.0, rate=0.1, loss=1.0)] * 2, size=32) == [64, 64]
    assert sizes_after("cabs", [measured(variance=640.0, rate=0.1, loss=2.0)] * 2, size=32) == [32, 32]
    assert sizes_after("cabs", [measured(variance=640.0, loss=0.0)] * 3, size=32, maximum=100) == [64, 100, 100]
    assert sizes_after("cabs", [measured(square=math.nan, variance=math.nan)], size=32) == [32]


def test_cabs_corrects_the_start_of_its_average() -> None:
    seen = [measured(variance=640.0, rate=0.1, updates=1)] * 2
    assert sizes_after("cabs", seen, size=32, noise_decay=0.99) == [64, 64]


def test_divebatch_is_the_examples_times_the_diversity_of_the_epoch() -> None:
    """|G|² + tr Σ = 20/4 and |ḡ|² = 64/16 of the four gradients: N·Δ = 1.25 for every N."""
    seen = measured(square=11 / 3, variance=4 / 3, epoch_square=4.0)
    assert sizes_after("divebatch", [seen] * 6, size=32, minimum=1) == [16, 8, 4, 2, 1, 1]
    assert sizes_after("divebatch", [seen] * 3, size=32, noise_multiple=80.0) == [64, 128, 128]
    assert sizes_after("divebatch", [measured(epoch_square=0.0)], size=32) == [32]
    assert sizes_after("divebatch", [measured(epoch_square=math.nan)], size=32) == [32]


@given(
    policy=st.sampled_from(list(WANTED)),
    examples=st.integers(1, 300),
    size=st.integers(1, 300),
    minimum=st.integers(1, 300),
    maximum=st.integers(1, 300),
    numbers=st.lists(st.sampled_from([math.nan, -1.0, 0.0, 1e-30, 0.5, 3.0, 1e30]), min_size=5, max_size=5),
)
def test_a_measured_size_keeps_its_bounds_and_at_most_doubles(
    policy: str, examples: int, size: int, minimum: int, maximum: int, numbers: list[float]
) -> None:
    settings = BatchSizeSettings(policy, size=size, minimum=minimum, maximum=maximum)
    cap = min(maximum, examples)
    before = min(size, cap)
    seen = Measured(3, 0.1, numbers[0], numbers[1], abs(numbers[2]), numbers[3])
    after = next_noise_state(settings, NoiseState(), seen, examples).size
    assert 1 <= after <= cap
    assert after in (min(minimum, cap), cap, before) or (after & (after - 1) == 0 and before / 2 <= after <= 2 * before)


def test_the_controller_plans_the_size_that_was_measured_and_scales_the_rate_by_it() -> None:
    params = {"batch_size.policy": "gns", "batch_size.size": 32, "learning_rate.batch_scaling": "linear"}
    trained = controller({**params, "learning_rate.peak": 0.1, "learning_rate.reference_batch_size": 32}, examples=500)
    seen = []
    for square in (0.1, 0.1, -100.0, 100.0):
        plan = trained.next_epoch()
        assert plan is not None
        seen.append((int(plan.batch_sizes[0]), round(float(plan.learning_rates[0]), 6)))
        trained.observe({"loss": 1.0, "val_score": 1.0, "gradient_square": square, "gradient_variance": 25.0})
    assert seen == [(32, 0.1), (64, 0.2), (128, 0.4), (128, 0.4)]


def test_the_rate_follows_the_noise_also_where_the_size_does_not() -> None:
    """η/(1 + 𝓑/B): 𝓑 is the reference at first, then as measured, and stays where |G|² is not positive."""
    params = {"learning_rate.batch_scaling": "gns", "batch_size.size": 32, "learning_rate.reference_batch_size": 96}
    trained = controller({**params, "learning_rate.peak": 0.1}, examples=320)
    rates = []
    for square, variance in ((1.0, 32.0), (1.0, 288.0), (-1000.0, 1.0), (1.0, 1.0)):
        plan = trained.next_epoch()
        assert plan is not None
        assert plan.batch_sizes.tolist() == [32] * 10
        rates.append(float(plan.learning_rates[0]))
        trained.observe({"loss": 1.0, "val_score": 1.0, "gradient_square": square, "gradient_variance": variance})
    kept = 0.9**10
    averaged = (kept * 32 + 288) / (1 + kept)
    assert rates == pytest.approx([0.1 / 4, 0.1 / 2, *[0.1 / (1 + averaged / 32)] * 2])


@pytest.mark.parametrize("params", [{"batch_size.policy": "gns"}, {"learning_rate.batch_scaling": "gns"}])
def test_a_recipe_without_its_measurements_is_an_error(params: dict[str, Any]) -> None:
    trained = controller(params)
    trained.next_epoch()
    with pytest.raises(ValueError, match="needs gradient_variance among the metrics"):
        trained.observe({"loss": 1.0, "val_score": 1.0})
