"""Batch sizes: every policy uses every example once an epoch, and grows as in its golden table."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightune.models.techniques.batch_sizes.keys import KEYS
from nightune.models.techniques.batch_sizes.policies import (
    LAWS,
    POLICIES,
    REMAINDERS,
    Batches,
    Moment,
    batch_sizes,
    grown,
    whole,
)
from nightune.models.techniques.batch_sizes.settings import BatchSizeSettings
from tests.models.controllers import controller, train


def sizes_of(
    policy: str, examples: int, epoch: int = 1, epochs: int = 10, plateaus: int = 0, **settings: object
) -> Batches:
    moment = Moment(examples, epoch, epochs, plateaus, order_seed=7)
    return batch_sizes(BatchSizeSettings(policy=policy, **settings), moment)


def first_sizes(policy: str, epochs: int, examples: int = 10_000, **settings: object) -> list[int]:
    """The size of the first update of each epoch."""
    return [int(sizes_of(policy, examples, epoch, epochs, **settings).sizes[0]) for epoch in range(1, epochs + 1)]


@pytest.mark.parametrize("policy", POLICIES)
@given(
    examples=st.integers(1, 500),
    size=st.integers(1, 600),
    maximum=st.integers(1, 600),
    epoch=st.integers(1, 30),
    plateaus=st.integers(0, 5),
)
def test_every_policy_sums_to_the_examples_and_respects_the_cap(
    policy: str, examples: int, size: int, maximum: int, epoch: int, plateaus: int
) -> None:
    settings = BatchSizeSettings(policy=policy, size=size, minimum=size, maximum=maximum, factor=1.5, interval=3)
    moment = Moment(examples, epoch, 30, plateaus, order_seed=1)
    batches = batch_sizes(settings, moment)
    assert batches.sizes.sum() == examples
    assert batches.sizes.min() >= 1
    assert batches.sizes.max() <= (size if policy == "fixed" else maximum)
    assert batches.sizes.dtype == np.int32
    assert len(batches.scaling_sizes) == len(batches.sizes)
    assert 0.0 < batches.rate_multiplier <= 1.0
    np.testing.assert_array_equal(batch_sizes(settings, moment).sizes, batches.sizes)


def test_a_fixed_batch_size_keeps_the_remainder() -> None:
    assert sizes_of("fixed", 100, size=32).sizes.tolist() == [32, 32, 32, 4]
    assert sizes_of("fixed", 96, size=32).sizes.tolist() == [32, 32, 32]
    assert sizes_of("fixed", 3, size=1).sizes.tolist() == [1, 1, 1]


def test_a_remainder_is_dropped_or_filled_up_where_there_is_another_update() -> None:
    dropped, wrapped = (sizes_of("fixed", 100, size=32, remainder=name) for name in ("drop", "wrap"))
    assert (dropped.sizes.tolist(), wrapped.sizes.tolist()) == ([32, 32, 32], [32, 32, 32, 32])
    assert (len(dropped.scaling_sizes), len(wrapped.scaling_sizes)) == (3, 4)
    for name in ("drop", "wrap"):
        assert sizes_of("fixed", 10, size=32, remainder=name).sizes.tolist() == [10]
        assert sizes_of("fixed", 64, size=32, remainder=name).sizes.tolist() == [32, 32]
    kept, dropped, wrapped = (
        sizes_of("random", 100, minimum=8, ratio=4, remainder=name) for name in ("keep", "drop", "wrap")
    )
    assert kept.sizes[-1] < kept.scaling_sizes[-1]
    np.testing.assert_array_equal(dropped.sizes, kept.sizes[:-1])
    np.testing.assert_array_equal(dropped.scaling_sizes, dropped.sizes)
    np.testing.assert_array_equal(wrapped.sizes, kept.scaling_sizes)


def test_a_plan_without_remainder_uses_the_epochs_first_examples_or_twice() -> None:
    params = {"batch_size.size": 8, "learning_rate.schedule": "linear"}
    kept, dropped, wrapped = (
        train(controller({**params, "batch_size.remainder": name}), [1.0] * 8) for name in REMAINDERS
    )
    for whole_epoch, cut, longer in zip(kept, dropped, wrapped, strict=True):
        np.testing.assert_array_equal(cut.order, whole_epoch.order[:16])
        np.testing.assert_array_equal(longer.order, [*whole_epoch.order, *whole_epoch.order[:4]])
        np.testing.assert_array_equal(cut.learning_rates, whole_epoch.learning_rates[:2])
        np.testing.assert_array_equal(longer.learning_rates, whole_epoch.learning_rates)


def test_a_size_above_the_examples_is_one_update() -> None:
    assert sizes_of("fixed", 10, size=32).sizes.tolist() == [10]
    assert whole(10).sizes.tolist() == [10]


@pytest.mark.parametrize("law", LAWS)
def test_random_sizes_lie_between_their_bounds_and_only_the_last_is_cut_short(law: str) -> None:
    batches = sizes_of("random", 20_000, minimum=8, ratio=4, law=law)
    assert set(batches.scaling_sizes.tolist()) == set(range(8, 33))
    np.testing.assert_array_equal(batches.sizes[:-1], batches.scaling_sizes[:-1])
    assert batches.sizes[-1] <= batches.scaling_sizes[-1]


def test_random_sizes_follow_their_distribution() -> None:
    uniform = sizes_of("random", 1_000_000, minimum=8, maximum=32).scaling_sizes
    assert uniform.mean() == pytest.approx(20.0, rel=0.01)
    log_uniform = sizes_of("random", 1_000_000, minimum=8, maximum=31, law="log_uniform").scaling_sizes
    assert np.mean(log_uniform < 16) == pytest.approx(0.5, abs=0.01)  # as many in 8..15 as in 16..31


def test_random_sizes_depend_on_the_seed_and_the_epoch() -> None:
    settings = BatchSizeSettings("random", minimum=1, maximum=100)
    drawn = {
        (seed, epoch): tuple(batch_sizes(settings, Moment(1000, epoch, 10, 0, seed)).sizes.tolist())
        for seed in (1, 2)
        for epoch in (1, 2)
    }
    assert len(set(drawn.values())) == 4


def test_geometric_grows_by_a_fifth_and_never_stalls() -> None:
    assert first_sizes("geometric", 7, size=4, factor=1.2) == [4, 5, 6, 7, 8, 9, 10]
    assert first_sizes("geometric", 6, size=32, factor=1.2) == [32, 38, 45, 54, 64, 76]
    assert first_sizes("geometric", 6, size=32, factor=1.2, maximum=50) == [32, 38, 45, 50, 50, 50]


def test_plateau_grow_gives_the_unused_factor_to_the_rate() -> None:
    settings = {"size": 32, "factor": 5.0, "maximum": 512}
    grown_batches = [sizes_of("plateau_grow", 10_000, plateaus=count, **settings) for count in range(5)]
    assert [int(batches.sizes[0]) for batches in grown_batches] == [32, 160, 512, 512, 512]
    rates = [0.1 * batches.rate_multiplier for batches in grown_batches]
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.064, 0.0128, 0.00256])


def test_the_number_of_examples_caps_the_growth() -> None:
    batches = sizes_of("plateau_grow", 100, plateaus=1, size=32, factor=5.0, maximum=512)
    assert (batches.sizes.tolist(), batches.rate_multiplier) == ([100], pytest.approx(100 / 160))


def test_schedule_grow_grows_where_a_step_schedule_would_lower_the_rate() -> None:
    settings = {"size": 10, "factor": 2.0, "step_first": 0.5, "step_gap": 0.5, "step_count": 2}
    assert first_sizes("schedule_grow", 8, **settings) == [10, 10, 10, 10, 20, 20, 40, 40]
    assert sizes_of("schedule_grow", 1000, 8, 8, **settings).rate_multiplier == 1.0


def test_adabatch_keeps_the_ratio_of_rate_to_size_also_where_it_is_capped() -> None:
    settings = {"size": 32, "interval": 2, "factor": 2.0, "rate_factor": 0.75, "maximum": 100}
    assert first_sizes("adabatch", 7, **settings) == [32, 32, 64, 64, 100, 100, 100]
    for epoch in range(1, 8):
        batches = sizes_of("adabatch", 10_000, epoch, **settings)
        ratio = 32 * batches.rate_multiplier / batches.sizes[0]
        assert ratio == pytest.approx(0.375 ** ((epoch - 1) // 2))


def test_a_small_size_grows_by_one_at_least() -> None:
    assert grown(1, 1.2, times=3, cap=100).size == 4
    assert grown(50, 2.0, times=0, cap=20).size == 20


def test_the_rate_is_scaled_by_the_first_size_and_by_each_size_drawn() -> None:
    growing = sizes_of("geometric", 100, epoch=5, size=16, factor=2.0)
    assert (int(growing.sizes[0]), set(growing.scaling_sizes.tolist())) == (100, {16})
    assert sizes_of("fixed", 10, size=32).scaling_sizes.tolist() == [10]
    assert sizes_of("fixed", 40, size=32).scaling_sizes.tolist() == [32, 32]


def test_the_largest_size_is_known_without_the_examples() -> None:
    assert BatchSizeSettings(size=64).largest == 64
    assert BatchSizeSettings("random", minimum=8, ratio=4).largest == 32
    assert BatchSizeSettings("random", minimum=8, maximum=100).largest == 100
    assert BatchSizeSettings("geometric", maximum=256).largest == 256


def test_every_key_of_a_batch_size_is_active_for_a_known_policy() -> None:
    for name, key in KEYS.items():
        assert set(key.when.get("batch_size.policy", POLICIES)) <= set(POLICIES), name
