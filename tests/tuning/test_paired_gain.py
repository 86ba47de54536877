"""The paired comparison: exact where a closed form exists, and with the promised error rates over simulated nights."""

from functools import cache

import numpy as np
import pytest

from nightune.tuning.analysis.paired_gain import Gain, compare

ROWS, MODELS, NIGHTS = 1000, 8, 100
SEED_SHIFT, SEED_NOISE = 0.1, 0.3  # of a row's margin: the effects of a seed on all rows together, and on each row

Margins = np.ndarray


@cache
def margins(night: int) -> Margins:
    """Margin of each of a night's test rows over its rival class."""
    return np.random.default_rng([night, 1]).normal(2.5, 2.5, ROWS)


def losses(margins: Margins, seed: tuple[int, ...], better_by: float = 0.0, other_rows: float = 0.0) -> np.ndarray:
    """Log losses of MODELS models of one configuration; another configuration is also right about other rows."""
    generator = np.random.default_rng(seed)
    config = better_by + other_rows * generator.normal(0, 1, ROWS)
    shift = generator.normal(0, SEED_SHIFT, (MODELS, 1))
    noise = generator.normal(0, SEED_NOISE, (MODELS, ROWS))
    return np.logaddexp(0.0, -(margins + config + shift + noise))


@cache
def champions_losses(night: int) -> np.ndarray:
    return losses(margins(night), (night, 3))


@cache
def two_seed_deviations() -> float:
    """The shift of the margins that lowers the mean loss by two standard deviations of one model's loss over seeds."""
    rows = margins(10_000)
    scores = np.concatenate([losses(rows, (9, seed)).mean(axis=1) for seed in range(40)])
    wanted = scores.mean() - 2 * scores.std(ddof=1)
    low, high = 0.0, 3.0
    for _ in range(30):
        middle = (low + high) / 2
        mean = np.mean([losses(rows, (9, seed), better_by=middle).mean() for seed in range(10)])
        low, high = (middle, high) if mean > wanted else (low, middle)
    return low


def promoted_nights(better_by: float, other_rows: float) -> int:
    """Count the nights in which the challenger is significantly better than the champion."""
    nights = 0
    for night in range(NIGHTS):
        challenger = losses(margins(night), (night, 2), better_by, other_rows)
        nights += compare(challenger, champions_losses(night), 0.95, seed=night).is_above(0.0)
    return nights


@pytest.mark.slow
def test_an_equal_challenger_is_refused_in_95_of_100_nights() -> None:
    assert promoted_nights(better_by=0.0, other_rows=0.0) <= 5


@pytest.mark.slow
def test_an_improvement_of_two_seed_deviations_is_promoted_in_90_of_100_nights() -> None:
    assert promoted_nights(better_by=two_seed_deviations(), other_rows=0.1) >= 90


@pytest.mark.nights
def test_a_worse_challenger_is_never_promoted() -> None:
    assert promoted_nights(better_by=-two_seed_deviations(), other_rows=0.1) == 0


@pytest.mark.nights
def test_rows_alone_would_promote_lucky_seeds() -> None:
    """Why the interval contains the spread over seeds: with one model per side, luck promotes in many nights."""
    lucky = 0
    for night in range(NIGHTS):
        one, other = losses(margins(night), (night, 2))[:1], champions_losses(night)[:1]
        lucky += compare(one, other, 0.95, seed=night).is_above(0.0)
    assert lucky > 10


def test_the_interval_of_one_model_a_side_is_that_of_the_paired_differences() -> None:
    generator = np.random.default_rng(4)
    champion = generator.exponential(1.0, (1, 4000))
    challenger = champion - generator.normal(0.1, 1.0, (1, 4000))
    gain = compare(challenger, champion, 0.95, seed=0)
    difference = (champion - challenger)[0]
    error = difference.std(ddof=1) / np.sqrt(4000)
    assert gain.gain == pytest.approx(difference.mean())
    assert gain.low == pytest.approx(difference.mean() - 1.96 * error, abs=0.1 * error)
    assert gain.high == pytest.approx(difference.mean() + 1.96 * error, abs=0.1 * error)
    assert np.isnan(gain.seed_deviation)


def test_a_shift_by_seeds_widens_the_interval_by_students_distribution() -> None:
    shifts = np.random.default_rng(1).normal(0, 1, (12, 1))
    challenger, champion = np.zeros((6, 500)) + shifts[:6], np.zeros((6, 500)) + shifts[6:]
    gain = compare(challenger, champion, 0.95, seed=0)
    pooled = np.sqrt((shifts[:6].var(ddof=1) + shifts[6:].var(ddof=1)) / 2)
    reach = 2.228 * pooled * np.sqrt(2 / 6)  # Student's quantile at 10 degrees of freedom
    assert gain.seed_deviation == pytest.approx(pooled)
    assert (gain.high - gain.low) / 2 == pytest.approx(reach, rel=0.06)


def test_equal_losses_give_no_gain() -> None:
    same = np.random.default_rng(0).exponential(1.0, (3, 50))
    gain = compare(same, same, 0.95, seed=0)
    assert gain.gain == 0.0
    assert gain.low <= 0.0 <= gain.high
    assert not gain.is_above(0.0)


def test_the_same_arguments_give_the_same_numbers() -> None:
    one, other = (np.random.default_rng(seed).exponential(1.0, (2, 70)) for seed in (1, 2))
    first = compare(one, other, 0.9, seed=3)
    assert isinstance(first, Gain)
    assert compare(one, other, 0.9, seed=3) == first
    assert compare(one, other, 0.9, seed=4) != first


@pytest.mark.parametrize(
    ("challenger", "opponent", "words"),
    [
        (np.zeros((1, 3)), np.zeros((1, 4)), "3 and 4 rows"),
        (np.zeros((0, 3)), np.zeros((1, 3)), "challenger: losses of shape"),
        (np.zeros((1, 3)), np.full((1, 3), np.nan), "opponent: losses are not all finite"),
    ],
)
def test_losses_that_cannot_be_compared_are_refused(challenger: np.ndarray, opponent: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        compare(challenger, opponent, 0.95, seed=0)
    with pytest.raises(ValueError, match="confidence"):
        compare(np.zeros((1, 3)), np.zeros((1, 3)), 1.0, seed=0)
