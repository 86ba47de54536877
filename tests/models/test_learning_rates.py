"""The learning rate: every schedule against its golden table, a closed form and optax; clocks and scaling."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from nightune.models.techniques.keys import Key
from nightune.models.techniques.learning_rates.batch_scaling import SCALINGS
from nightune.models.techniques.learning_rates.keys import KEYS
from nightune.models.techniques.learning_rates.learning_rates import (
    LearningRateSettings,
    batch_scales,
    learning_rates,
    momenta,
    plateau_multiplier,
    plateau_rule,
)
from nightune.models.techniques.learning_rates.schedules import SCHEDULES, Progress
from nightune.models.techniques.plateaus import PlateauState, next_plateau_state
from nightune.vocabulary import row_of
from tests.models.controllers import controller, train
from tests.rows import missing_rows


def one_example_updates(count: int) -> Progress:
    """A budget of `count` updates of one example each: `before` is t/T."""
    return Progress.count(0, np.ones(count, np.int32), count)


def rates(total: int, **settings: object) -> np.ndarray:
    return learning_rates(LearningRateSettings(**{"peak": 1.0, **settings}), one_example_updates(total))


# schedule: settings, updates of the budget, the rates of the first updates
TABLE = "GOLDENS in tests/models/test_learning_rates.py"
GOLDENS: dict[str, tuple[dict[str, object], int, list[float]]] = {
    "fixed": ({}, 3, [1, 1, 1]),
    "exponential": ({"final_fraction": 0.5**4}, 4, [1, 0.5, 0.25, 0.125]),
    "step": ({"step_factor": 0.1, "step_count": 2, "step_first": 0.5, "step_gap": 0.5}, 4, [1, 1, 0.1, 0.01]),
    "plateau": ({}, 3, [1, 1, 1]),
    "cosine": ({"final_fraction": 0.0}, 4, [1, 0.8536, 0.5, 0.1464]),
    "cosine_restarts": (
        {"final_fraction": 0.0, "restart_cycles": 3, "restart_growth": 2.0},
        14,  # cycles of 2, 4 and 8 updates
        [1, 0.5, 1, 0.8536, 0.5, 0.1464, 1],
    ),
    "linear": ({"final_fraction": 0.0}, 4, [1, 0.75, 0.5, 0.25]),
    "polynomial": ({"final_fraction": 0.1, "power": 2.0}, 4, [1, 0.60625, 0.325, 0.15625]),
    "inverse_time": ({"final_fraction": 1 / 3.5}, 5, [1, 0.6667, 0.5, 0.4, 0.3333]),  # γ = 0.5 an update
    "inverse_sqrt": ({"warmup_fraction": 0.5}, 8, [0.25, 0.5, 0.75, 1, 0.8944, 0.8165, 0.7559, 0.7071]),
    "one_cycle": ({}, 10, [0.04, 0.52, 1, 0.9505, 0.8117, 0.6113, 0.3887, 0.1883, 0.0495, 4e-6]),
    "wsd": (
        {"warmup_fraction": 0.2, "decay_fraction": 0.4},
        10,
        [0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25],
    ),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_gives_its_golden_table(schedule: str) -> None:
    settings, total, expected = row_of(GOLDENS, schedule, TABLE)
    np.testing.assert_allclose(rates(total, schedule=schedule, **settings)[: len(expected)], expected, atol=5e-5)


def test_the_exponential_schedule_matches_its_table() -> None:
    exponential = rates(2501, peak=0.1, schedule="exponential", final_fraction=0.96**2.501)
    np.testing.assert_allclose(exponential[[0, 500, 1000, 2500]], [0.1, 0.09798, 0.096, 0.090298], atol=5e-7)


def test_cosine_after_warmup_matches_its_table() -> None:
    expected = [0.3333, 0.6667, 1, 1, 0.9505, 0.8117, 0.6113, 0.3887, 0.1883, 0.0495]
    cosine = rates(10, schedule="cosine", final_fraction=0.0, warmup_fraction=0.3)
    np.testing.assert_allclose(cosine, expected, atol=5e-5)


def _optax_warm_cosine(optax: object, total: int) -> Callable[[int], float]:
    """optax starts a warm-up from 0; ours gives the first update 1/W."""
    warmup = optax.linear_schedule(1 / 3, 1.0, 2)  # type: ignore[attr-defined]
    return optax.join_schedules([warmup, optax.cosine_decay_schedule(1.0, total - 3)], [3])  # type: ignore[attr-defined]


def _optax_restarts(optax: object, total: int) -> Callable[[int], float]:
    cycles = [optax.cosine_decay_schedule(0.5**cycle, 3 * 2**cycle) for cycle in range(3)]  # type: ignore[attr-defined]
    return optax.join_schedules(cycles, [3, 9])  # type: ignore[attr-defined]


# name: our settings, optax' schedule of (optax, total updates); 21 updates in total
OPTAX = {
    "fixed": ({"schedule": "fixed"}, lambda optax, _: optax.constant_schedule(1.0)),
    "exponential": (
        {"schedule": "exponential", "final_fraction": 0.01},
        lambda optax, total: optax.exponential_decay(1.0, total, 0.01),
    ),
    "step": (
        {"schedule": "step", "step_first": 1 / 3, "step_gap": 0.5, "step_factor": 0.1},
        lambda optax, _: optax.piecewise_constant_schedule(1.0, {7: 0.1, 14: 0.1}),
    ),
    "cosine": (
        {"schedule": "cosine", "final_fraction": 0.1},
        lambda optax, total: optax.cosine_decay_schedule(1.0, total, 0.1),
    ),
    "warm cosine": ({"schedule": "cosine", "final_fraction": 0.0, "warmup_fraction": 3 / 21}, _optax_warm_cosine),
    "restarts": (
        {"schedule": "cosine_restarts", "final_fraction": 0.0, "restart_peak_factor": 0.5},
        _optax_restarts,
    ),
    "linear": (
        {"schedule": "linear", "final_fraction": 0.1},
        lambda optax, total: optax.linear_schedule(1.0, 0.1, total),
    ),
    "polynomial": (
        {"schedule": "polynomial", "final_fraction": 0.1, "power": 1.7},
        lambda optax, total: optax.polynomial_schedule(1.0, 0.1, 1.7, total),
    ),
    "wsd": (
        {"schedule": "wsd", "decay_fraction": 6 / 21},
        lambda optax, total: optax.join_schedules(
            [optax.constant_schedule(1.0), optax.linear_schedule(1.0, 0.0, 6)], [total - 6]
        ),
    ),
}


@pytest.mark.parametrize("name", OPTAX)
def test_schedules_match_optax_at_every_update(name: str) -> None:
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    settings, make_reference = OPTAX[name]
    with jax.enable_x64(True):
        reference = make_reference(optax, 21)
        expected = [float(reference(update)) for update in range(21)]
    np.testing.assert_allclose(rates(21, **settings), expected, atol=1e-7)


def test_the_momentum_mirrors_the_one_cycle_rate_as_in_pytorch() -> None:
    settings = LearningRateSettings(schedule="one_cycle", one_cycle_momentum="mirrored")
    progress = Progress.count(0, np.ones(10, np.int32), 10)
    # 0.95 at both ends, 0.85 at the peak, half of the way down after one of two updates of the rise
    expected = [0.95, 0.9, 0.85, 0.854952, 0.868826, 0.888874, 0.911126, 0.931174, 0.945048, 0.95]
    np.testing.assert_allclose(momenta(settings, progress), expected, atol=1e-6)
    assert momenta(LearningRateSettings(schedule="one_cycle"), progress) is None
    assert momenta(LearningRateSettings(one_cycle_momentum="mirrored"), progress) is None


def test_one_cycle_matches_the_closed_form_of_pytorch() -> None:
    total, rise, start, final = 40, 0.25, 1 / 10, 1 / (10 * 100)
    peak_update, last = rise * total - 1, total - 1

    def anneal(low: float, high: float, part: float) -> float:
        return high + (low - high) / 2 * (1 + math.cos(math.pi * part))

    expected = [
        anneal(start, 1.0, update / peak_update)
        if update <= peak_update
        else anneal(1.0, final, (update - peak_update) / (last - peak_update))
        for update in range(total)
    ]
    settings = {"one_cycle_rise": rise, "one_cycle_start_divisor": 10.0, "one_cycle_final_divisor": 100.0}
    np.testing.assert_allclose(rates(total, schedule="one_cycle", **settings), expected, atol=1e-12)


@pytest.mark.parametrize("schedule", [name for name in SCHEDULES if name not in ("one_cycle", "inverse_sqrt")])
def test_the_rate_at_equal_examples_does_not_depend_on_the_batch_size(schedule: str) -> None:
    settings = LearningRateSettings(schedule=schedule)
    small, large = (Progress.count(0, np.full(640 // size, size), 640) for size in (32, 64))
    np.testing.assert_array_equal(learning_rates(settings, small)[::2], learning_rates(settings, large))


@pytest.mark.parametrize("scaling", [name for name in SCALINGS if name != "gns"])  # whose factor the noise moves
def test_scaling_by_the_batch_size_is_one_factor_at_equal_examples(scaling: str) -> None:
    params = {
        "learning_rate.schedule": "cosine",
        "learning_rate.warmup_fraction": 0.25,
        "learning_rate.batch_scaling": scaling,
    }
    small, large = (
        np.concatenate(
            [
                plan.learning_rates
                for plan in train(controller({**params, "batch_size.size": size}, examples=640, epochs=4), [1.0] * 4)
            ]
        )
        for size in (32, 64)
    )
    factor = {"none": 1.0, "linear": 2.0, "sqrt": math.sqrt(2.0)}[scaling]
    after_warmup = 10  # with a factor of (t+1)/W, a larger update is further in the schedule
    np.testing.assert_allclose(small[::2][after_warmup:] * factor, large[after_warmup:], rtol=1e-6)


def test_scaling_is_relative_to_the_reference_size() -> None:
    sizes = np.array([16, 64, 256], np.int32)

    def scales(scaling: str) -> list[float]:
        settings = LearningRateSettings(batch_scaling=scaling, reference_batch_size=64)
        return [float(scale) for scale in batch_scales(settings, sizes)]

    assert scales("none") == [1.0, 1.0, 1.0]
    assert scales("linear") == [0.25, 1.0, 4.0]
    assert scales("sqrt") == [0.5, 1.0, 2.0]
    assert scales("gns") == [0.2, 0.5, 0.8]  # nothing measured: the reference


def test_the_remainder_of_an_epoch_has_the_rate_of_a_full_batch() -> None:
    params = {"learning_rate.batch_scaling": "linear", "learning_rate.reference_batch_size": 4, "batch_size.size": 8}
    plan = train(controller({**params, "learning_rate.peak": 0.1}), [1.0])[0]
    assert plan.batch_sizes.tolist() == [8, 8, 4]
    np.testing.assert_allclose(plan.learning_rates, [0.2, 0.2, 0.2], rtol=1e-6)


def test_random_sizes_scale_the_rate_of_each_update() -> None:
    params = {"learning_rate.batch_scaling": "linear", "learning_rate.peak": 0.64, "batch_size.policy": "random"}
    plan = train(controller({**params, "batch_size.minimum": 2, "batch_size.maximum": 6}, examples=100), [1.0])[0]
    np.testing.assert_allclose(plan.learning_rates[:-1], plan.batch_sizes[:-1] / 100, rtol=1e-6)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_stays_positive_and_below_its_peak(schedule: str) -> None:
    warmup = 0.0 if schedule == "one_cycle" else 0.1
    for total in (1, 2, 7, 100):
        trained = rates(total, peak=0.3, schedule=schedule, warmup_fraction=warmup)
        assert np.all(trained > 0.0)
        assert np.all(trained <= 0.3 * (1 + 1e-12))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_is_the_same_whether_computed_by_epochs_or_at_once(schedule: str) -> None:
    settings = LearningRateSettings(schedule=schedule, warmup_fraction=0.0 if schedule == "one_cycle" else 0.1)
    sizes = np.array([32, 32, 32, 4], np.int32)  # a ragged last batch
    at_once = learning_rates(settings, Progress.count(0, np.tile(sizes, 5), 500))
    by_epochs = [learning_rates(settings, Progress.count(100 * epoch, sizes, 500)) for epoch in range(5)]
    np.testing.assert_array_equal(at_once, np.concatenate(by_epochs))


def test_warmup_takes_its_share_of_examples_also_with_ragged_batches() -> None:
    sizes = np.array([40, 40, 20] * 4, np.int32)
    trained = learning_rates(LearningRateSettings(peak=1.0, warmup_fraction=0.5), Progress.count(0, sizes, 400))
    np.testing.assert_allclose(trained, [0.2, 0.4, 0.5, 0.7, 0.9, 1, 1, 1, 1, 1, 1, 1])


def test_a_milestone_applies_to_the_update_that_starts_there() -> None:
    for total in range(2, 200):  # rounding moves the milestone for no total
        trained = rates(total * 10, schedule="step", step_first=0.3, step_gap=0.4, step_count=2, step_factor=0.1)
        assert list(np.flatnonzero(np.diff(trained)) + 1) == [3 * total, math.ceil(5.8 * total - 1e-9)]


def plateau_multipliers(scores: list[float], **settings: object) -> list[float]:
    """The multiplier after each epoch."""
    plateau = LearningRateSettings(schedule="plateau", **{"peak": 0.1, "plateau_factor": 0.5, **settings})
    state, multipliers = PlateauState(), []
    for epoch, score in enumerate(scores, start=1):
        state = next_plateau_state(plateau_rule(plateau), state, epoch, score)
        multipliers.append(plateau_multiplier(plateau, state.count))
    return multipliers


def test_plateau_with_a_nan_in_the_first_epoch_never_lowers_the_rate() -> None:
    assert plateau_multipliers([math.nan, 3, 2, 1], plateau_patience=2) == [1, 1, 1, 1]


def test_a_tie_is_a_plateau_and_an_improvement_below_min_delta_too() -> None:
    assert plateau_multipliers([1, 1], plateau_patience=1) == [1, 0.5]
    assert plateau_multipliers([1, 0.75, 0.375], plateau_patience=1, plateau_min_delta=0.25) == [1, 0.5, 0.5]


def test_a_plateau_never_raises_a_rate_that_is_below_its_minimum() -> None:
    assert plateau_multipliers([1, 1, 1], plateau_patience=1, plateau_minimum=0.2) == [1, 1, 1]


def test_every_schedule_has_a_row_and_names_its_settings() -> None:
    assert missing_rows(SCHEDULES, GOLDENS, TABLE) == []
    assert set(GOLDENS) <= set(SCHEDULES)
    for name, key in KEYS.items():
        assert isinstance(key, Key)
        assert set(key.when.get("learning_rate.schedule", ())) <= set(SCHEDULES), name
        assert key.when.get("learning_rate.schedule") != (), f"no schedule reads {name}"


def rates_by_examples(size: int, **params: object) -> dict[int, float]:
    """η of each update of a whole training, by the examples seen before it."""
    given_params = {"learning_rate.peak": 0.1, "batch_size.size": size, **params}
    plans = train(controller(given_params, examples=640, epochs=4), [1.0] * 4)
    rates = np.concatenate([plan.learning_rates for plan in plans])
    seen = np.cumsum([0, *np.concatenate([plan.batch_sizes for plan in plans])])[:-1]
    return dict(zip(seen.tolist(), rates.tolist(), strict=True))


# those that depend on the progress before an update; the others also on that after it, which a batch moves
@pytest.mark.parametrize(
    "schedule",
    ["exponential", "step", "cosine", "cosine_restarts", "linear", "polynomial", "inverse_time", "wsd"],
)
def test_the_examples_clock_ignores_the_batch_size_and_the_updates_clock_does_not(schedule: str) -> None:
    params = {"learning_rate.schedule": schedule}
    small, large = (rates_by_examples(size, **params) for size in (32, 64))
    assert {seen: small[seen] for seen in large} == large
    by_updates = {**params, "learning_rate.clock": "updates"}
    small_by_updates, large_by_updates = (rates_by_examples(size, **by_updates) for size in (32, 64))
    assert large_by_updates == pytest.approx(large)  # 64 is the clock's own size
    assert any(small_by_updates[seen] != large_by_updates[seen] for seen in large)
    half = [seen for seen in large if 2 * seen < 4 * 640]
    assert [small_by_updates[seen] for seen in half] == pytest.approx([large[2 * seen] for seen in half])


def test_on_the_updates_clock_a_schedule_stays_at_its_end() -> None:
    params = {"learning_rate.schedule": "linear", "learning_rate.final_fraction": 0.2, "learning_rate.clock": "updates"}
    rates = rates_by_examples(32, **params)
    assert [rate for seen, rate in rates.items() if seen >= 2 * 640] == pytest.approx([0.02] * 40)
