"""Weight decay: the remainder of a weight when only the decay acts on it."""

import numpy as np
import pytest

from nightune.models.recipe.params import read_recipe
from nightune.models.techniques.weight_decays.weight_decays import (
    COUPLINGS,
    PROFILES,
    WeightDecaySettings,
    decay_shrinks,
    decay_strengths,
    with_strength_by_time,
)
from nightune.models.training.controller import Controller

FALLING = np.array([0.1, 0.075, 0.05, 0.025])
CONSTANT = np.full(5, 0.1)


def left_of_one(rates: np.ndarray, peak: float = 0.1, horizon: int = 4, **settings: object) -> np.ndarray:
    """A weight of 1 after each update, with zero gradients."""
    decay = WeightDecaySettings(**settings)
    progress = np.arange(len(rates)) / horizon
    strengths = decay_strengths(decay, progress, rates / peak)
    return np.cumprod(1.0 - decay_shrinks(decay, strengths, rates, rates / peak))


# profile, coupling, strength, rates, remainder
GOLDENS = {
    "fixed": ({"profile": "fixed", "strength": 0.1}, CONSTANT, [0.99, 0.9801, 0.970299, 0.960596, 0.95099]),
    "exponential": (
        {"profile": "exponential", "strength": 0.1, "final_fraction": 0.5},
        CONSTANT,
        [0.99, 0.981675, 0.974734, 0.968938, 0.964093],
    ),
    "by learning rate": ({"profile": "fixed", "strength": 0.1}, FALLING, [0.99, 0.982575, 0.977662, 0.975218]),
    "by schedule": (
        {"profile": "fixed", "strength": 0.01, "coupling": "schedule"},
        FALLING,
        [0.99, 0.982575, 0.977662, 0.975218],
    ),
    "independent": (
        {"profile": "fixed", "strength": 0.01, "coupling": "independent"},
        FALLING,
        [0.99, 0.9801, 0.970299, 0.960596],
    ),
    # tied: s = 0.01 × (1, 0.5625, 0.25, 0.0625), the square of the rate
    "tied": (
        {"profile": "tied", "strength": 0.1},
        FALLING,
        np.cumprod([1 - 0.01, 1 - 0.005625, 1 - 0.0025, 1 - 0.000625]),
    ),
    "none": ({"profile": "none"}, FALLING, [1, 1, 1, 1]),
}


@pytest.mark.parametrize("name", GOLDENS)
def test_decay_profiles_match_their_golden_values(name: str) -> None:
    settings, rates, expected = GOLDENS[name]
    np.testing.assert_allclose(left_of_one(rates, **settings), expected, atol=6e-7)


def test_a_tied_decay_that_is_independent_of_the_rate_equals_a_fixed_one_coupled_by_schedule() -> None:
    tied = left_of_one(FALLING, profile="tied", strength=0.01, coupling="independent")
    np.testing.assert_allclose(tied, left_of_one(FALLING, profile="fixed", strength=0.01, coupling="schedule"))


@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_with_every_coupling_shrinks_and_never_flips_a_weight(profile: str, coupling: str) -> None:
    left = left_of_one(FALLING, profile=profile, coupling=coupling)
    assert left.shape == FALLING.shape
    assert np.all(left > 0.9)
    assert np.all(np.diff(left, prepend=1.0) <= 0.0)


@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize("size", [5, 20, 50])
def test_a_decay_given_as_a_time_scale_does_not_depend_on_the_batch_size_and_rate(coupling: str, size: int) -> None:
    params = {
        "optimizer": "sgd",
        "learning_rate.peak": 0.03,
        "batch_size.size": size,
        "stopping.rule": "none",
        "weight_decay.profile": "fixed",
        "weight_decay.measure": "time_scale",
        "weight_decay.time_scale": 0.5,
        "weight_decay.coupling": coupling,
    }
    controller = Controller(read_recipe(params), 100, 10, 0, "val_loss", "minimize", "regression")
    lost = 0.0
    while plan := controller.next_epoch():
        lost += float(plan.shrinks.sum())
        controller.observe({"loss": 1.0, "val_loss": 1.0})
    assert lost == pytest.approx(1.0 / 0.5, rel=1e-5)


def test_a_strength_is_used_unchanged() -> None:
    settings = WeightDecaySettings("fixed", strength=0.3)
    assert with_strength_by_time(settings, 0.1, 100) is settings
