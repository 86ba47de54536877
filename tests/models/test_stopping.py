"""Stopping rules on their own: when they stop, and what they treat as an improvement."""

import math

import numpy as np
import pytest

from nightune.models.techniques.stopping.keys import KEYS
from nightune.models.techniques.stopping.rules import RULES, generalization_loss_percent, training_progress
from nightune.models.techniques.stopping.settings import StoppingSettings
from nightune.models.techniques.stopping.state import Observation, StoppingState
from nightune.models.techniques.stopping.stopping import actions, next_stopping_state


def stops_after(
    scores: list[float],
    losses: list[float] | None = None,
    sign: float = 1.0,
    earlier: tuple[tuple[float, ...], ...] = ((1.0,), (2.0,)),
    epochs: int = 100,
    **settings: object,
) -> int | None:
    """The epoch, counted from 1, after which the rule stops; None = never."""
    stopping = StoppingSettings(**settings)
    state = StoppingState()
    for epoch, score in enumerate(scores, start=1):
        loss = losses[epoch - 1] if losses else score
        state = next_stopping_state(stopping, state, Observation(epoch, score, loss, 0, sign, epochs, earlier))
        if state.reason:
            return epoch
    return None


# scores, settings, last epoch; epochs count from 0
ROWS = {
    "patience 2": ([5, 4, 4.5, 4.2, 3, 2], {"patience": 2}, 4),
    "improves in time": ([5, 4, 4.5, 3.9, 4, 3], {"patience": 2}, None),
    "min_delta": ([5, 4.6, 4.5, 4.2], {"patience": 2, "min_delta": 0.5}, 3),
    "ties": ([1, 1, 1], {"patience": 2}, 3),
    "patience 0": ([3, 3, 2], {"patience": 0}, 2),
    "patience 1": ([3, 3, 2], {"patience": 1}, 2),
    "start_epoch hides what was before": ([1, 9, 8, 9, 9], {"patience": 2, "start_epoch": 3}, 5),
    "nan is no improvement": ([3, math.nan, 2, math.nan, math.nan], {"patience": 2}, 5),
    "nan first": ([math.nan, 3, 2, 1, 0.5], {"patience": 3}, None),
}


@pytest.mark.parametrize("name", ROWS)
def test_patience_stops_after_the_intended_epoch(name: str) -> None:
    scores, settings, last_epoch = ROWS[name]
    assert stops_after(scores, **settings) == last_epoch


def test_the_rule_none_never_stops() -> None:
    assert stops_after([1.0] * 100, rule="none") is None


@pytest.mark.parametrize("rule", RULES)
def test_no_rule_stops_while_every_epoch_improves(rule: str) -> None:
    falling = [1.0 / epoch for epoch in range(1, 100)]
    numbers = {"patience": 1, "limit": 2.0, "target": 0.0, "strip": 1, "successive": 1, "alpha": 1e-9}
    assert stops_after(falling, rule=rule, noise_factor=0.0, warmup_trials=1, **numbers) is None


def test_the_reason_names_duration_and_difference() -> None:
    state = StoppingState(reference=1.0, wait=4)
    settings = StoppingSettings(patience=5, min_delta=0.01)
    assert (
        next_stopping_state(settings, state, Observation(9, 0.995)).reason
        == "no improvement by more than 0.01 for 5 epochs"
    )


# Prechelt's rules: errors in validation and training of epochs 0, 1, 2, …
VALIDATION = [1, 0.8, 0.6, 0.5, 0.55, 0.52, 0.6, 0.7, 0.65, 0.8]
TRAINING = [1, 0.8, 0.65, 0.55, 0.48, 0.43, 0.39, 0.36, 0.34, 0.33]
LOSSES = [0, 0, 0, 0, 10, 4, 20, 40, 30, 60]
PROGRESS = [450, 353.488, 282.051, 227.778, 176.471, 121.212]  # P₅ from epoch 4 on
QUOTIENTS = [0.02222, 0.01132, 0.07091, 0.17561, 0.17, 0.495]


def test_generalization_loss_and_progress_goldens() -> None:
    losses = [
        generalization_loss_percent(error, min(VALIDATION[: epoch + 1])) for epoch, error in enumerate(VALIDATION)
    ]
    np.testing.assert_allclose(losses, LOSSES, atol=1e-9)
    progress = [training_progress(tuple(TRAINING[end - 5 : end])) for end in range(5, 11)]
    np.testing.assert_allclose(progress, PROGRESS, atol=5e-4)
    np.testing.assert_allclose(np.array(losses[4:]) / progress, QUOTIENTS, atol=5e-6)


# settings, the epoch counted from 0 after which the rule stops
PRECHELT = {
    "GL 5": ({"rule": "generalization_loss", "alpha": 5.0}, 4),
    "GL 20 is strict": ({"rule": "generalization_loss", "alpha": 20.0}, 7),
    "GL 60": ({"rule": "generalization_loss", "alpha": 60.0 + 1e-9}, None),
    "PQ at the first strip's end": ({"rule": "productivity", "alpha": 0.02}, 4),
    "PQ at strip ends only": ({"rule": "productivity", "alpha": 0.1}, 9),
    "PQ above all": ({"rule": "productivity", "alpha": 0.5}, None),
    "PQ by strips of two": ({"rule": "productivity", "alpha": 0.5, "strip": 2}, 7),
    "UP 1": ({"rule": "successive_increase", "strip": 2, "successive": 1}, 5),
    "UP 2": ({"rule": "successive_increase", "strip": 2, "successive": 2}, 7),
    "UP 3": ({"rule": "successive_increase", "strip": 2, "successive": 3}, 9),
    "UP 4": ({"rule": "successive_increase", "strip": 2, "successive": 4}, None),
}


@pytest.mark.parametrize("name", PRECHELT)
def test_prechelts_rules_stop_after_the_intended_epoch(name: str) -> None:
    settings, last_epoch = PRECHELT[name]
    stopped = stops_after(VALIDATION, TRAINING, **settings)
    assert (None if stopped is None else stopped - 1) == last_epoch


def test_productivity_without_any_progress_stops_at_the_first_loss() -> None:
    assert stops_after([1, 1, 1.1], [0.5] * 3, rule="productivity", strip=1) == 3


def test_an_error_of_zero_is_not_divided_by_and_a_negative_one_is_refused() -> None:
    assert stops_after([0, 0, 0], [0, 0, 0], rule="productivity", strip=2) is None
    assert stops_after([0, 0.1], rule="generalization_loss") == 2
    with pytest.raises(ValueError, match=r"error metric.* -1"):
        stops_after([-1.0], rule="generalization_loss")


# scores (where maximized: minus the metric), settings, sign, last epoch
LIMITS = {
    "threshold": ([1, 2, 3, 2], {"rule": "threshold", "limit": 2.0}, 1, 3),
    "threshold of a maximized metric": ([-0.9, -0.5, -0.4], {"rule": "threshold", "limit": 0.5}, -1, 3),
    "threshold by the first": ([2, 1, 4, 4.1], {"rule": "threshold", "limit": 2.0, "limit_of": "first"}, 1, 4),
    "threshold by the best": ([2, 1, 2, 2.1], {"rule": "threshold", "limit": 2.0, "limit_of": "best"}, 1, 4),
    "maximized by the best": (
        [-0.5, -0.9, -0.7, -0.8],
        {"rule": "threshold", "limit": 0.8, "limit_of": "best"},
        -1,
        3,
    ),
    "threshold from an epoch on": ([9, 1, 1], {"rule": "threshold", "limit": 2.0, "start_epoch": 2}, 1, None),
    "target": ([3, 2, 1], {"rule": "target", "target": 2.0}, 1, 2),
    "target of a maximized metric": ([-0.5, -0.8, -0.95], {"rule": "target", "target": 0.9}, -1, 3),
    "divergence": ([2, 1, 10, 10.1], {"rule": "divergence", "successive": 1}, 1, 4),
    "divergence for a while": ([1, 20, 1, 20, 20], {"rule": "divergence", "successive": 2}, 1, 5),
    "divergence by another factor": ([1, 2.5], {"rule": "divergence", "successive": 1, "loss_factor": 2.0}, 1, 2),
}


@pytest.mark.parametrize("name", LIMITS)
def test_rules_of_a_limit_stop_after_the_intended_epoch(name: str) -> None:
    scores, settings, sign, last_epoch = LIMITS[name]
    assert stops_after(scores, sign=sign, **settings) == last_epoch


def test_the_reason_is_in_the_units_of_the_metric() -> None:
    settings = StoppingSettings("threshold", limit=0.5)
    state = next_stopping_state(settings, StoppingState(), Observation(1, -0.25, sign=-1.0))
    assert state.reason == "0.25 is worse than the limit 0.5"


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("rate", [(0, 0), (1, 0), (2, 0), (3, 0), (3, 0)]),
        ("batch", [(0, 0), (0, 1), (0, 2), (0, 3), (0, 3)]),
        ("alternate", [(0, 0), (1, 0), (1, 1), (2, 1), (2, 1)]),
    ],
)
def test_combined_acts_by_the_number_of_plateaus(action: str, expected: list[tuple[int, int]]) -> None:
    settings = StoppingSettings("combined", action=action, max_actions=3)
    taken = [actions(settings, plateaus) for plateaus in range(5)]
    assert [(each.rates, each.batches) for each in taken] == expected


def test_every_key_of_a_rule_is_active_for_a_known_rule() -> None:
    for name, key in KEYS.items():
        assert set(key.when.get("stopping.rule", RULES)) <= set(RULES), name
