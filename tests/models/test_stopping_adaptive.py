"""Rules that set their own margins, and a user's own: when they stop, and their reasons."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.errors import InputError
from nightune.models.recipe.params import params_of, read_recipe
from nightune.models.techniques.stopping.adaptive_rules import chance_of_improvement, score_noise
from nightune.models.techniques.stopping.settings import StoppingSettings
from nightune.models.techniques.stopping.state import Observation, StoppingInputs, StoppingState
from nightune.models.techniques.stopping.stopping import next_stopping_state
from nightune.models.techniques.stopping.user_rules import load_stop_function
from nightune.models.training.controller import Controller


def ends(scores: list[float], settings: dict[str, Any], **seen: Any) -> tuple[int, str] | None:
    """Return the epoch, counted from 1, after which the rule stops, and the reason; None = never."""
    state = StoppingState()
    for epoch, score in enumerate(scores, start=1):
        observation = Observation(epoch, score, **{"epochs": 100, **seen})
        state = next_stopping_state(StoppingSettings(**settings), state, observation)
        if state.reason:
            return epoch, state.reason
    return None


EARLIER = ((4.0, 2.0, 1.0), (3.0, 3.0, 3.0), (5.0, 5.0))  # means over 2 epochs: 3, 3, 5


def test_median_stops_a_trial_that_is_worse_than_half_of_the_earlier_ones() -> None:
    rule = {"rule": "median", "warmup_trials": 3}
    assert ends([4.0, 2.0, 2.0], rule, earlier=EARLIER) is None  # means 4, 3, 2.67 against medians 4, 3, 3
    stopped = ends([4.0, 2.1, 1.0], rule, earlier=EARLIER)
    assert stopped == (2, "its mean so far, 3.05, is worse than 3, the median of earlier trials")
    assert ends([9.0] * 5, {"rule": "median", "warmup_trials": 4}, earlier=EARLIER) is None
    assert ends([9.0] * 5, rule) is None  # no earlier trials


def test_median_uses_the_available_epochs_of_a_shorter_trial() -> None:
    assert ends([1.0, 1.0, 2.5], {"rule": "median", "warmup_trials": 1}, earlier=((1.5,),)) is None
    assert ends([1.0, 1.0, 2.6], {"rule": "median", "warmup_trials": 1}, earlier=((1.5,),)) == (
        3,
        "its mean so far, 1.53333, is worse than 1.5, the median of earlier trials",
    )


def test_median_does_not_look_before_its_start_epoch() -> None:
    rule = {"rule": "median", "warmup_trials": 1, "start_epoch": 3}
    assert ends([9.0, 9.0, 0.5, 0.5], rule, earlier=((1.0, 1.0, 1.0, 1.0),)) is None
    assert ends([0.0, 0.0, 1.5], rule, earlier=((0.0, 0.0, 1.0),)) is not None


def test_a_maximized_metric_is_compared_by_its_earlier_curves_too() -> None:
    recipe = read_recipe({"stopping.rule": "median", "stopping.warmup_trials": 1})
    inputs = StoppingInputs(earlier_curves=[[0.5, 0.7], [math.nan, 0.9], [0.6, 0.8]])
    controller = Controller(recipe, 20, 8, 0, "val_accuracy", "maximize", "multiclass", stopping=inputs)
    for accuracy in (0.5, 0.6):
        assert controller.next_epoch()
        controller.observe({"loss": 1.0, "val_accuracy": accuracy})
    # A NaN is the worst there is: that trial's mean is −∞.
    assert controller.message == "val_accuracy: its mean so far, 0.55, is worse than 0.6, the median of earlier trials"


def power_law(epochs: int, floor: float = 0.3, height: float = 1.0, exponent: float = 1.0) -> list[float]:
    return [floor + height * epoch**-exponent for epoch in range(1, epochs + 1)]


def test_extrapolation_continues_while_the_curve_falls_and_stops_at_a_plateau() -> None:
    rule = {"rule": "extrapolation"}
    assert ends(power_law(60), rule, epochs=60) is None
    assert ends([1.0] * 9, rule) == (5, "the probability of improvement by epoch 100 is 0.0%")
    settled = [score + 0.02 * (-1) ** epoch for epoch, score in enumerate(power_law(40, exponent=3.0))]
    stopped = ends(settled, rule, epochs=40)
    assert stopped
    assert 5 <= stopped[0] <= 20


def test_extrapolation_requires_an_improvement_by_more_than_min_delta() -> None:
    curve = power_law(60)
    assert ends(curve, {"rule": "extrapolation", "min_delta": 0.01}, epochs=60)
    assert ends(curve, {"rule": "extrapolation", "min_delta": 1e-5}, epochs=61) is None


def test_the_probability_is_that_of_a_noisy_curve_and_repeatable() -> None:
    generator = np.random.default_rng(0)
    falling = np.array(power_law(12)) + 0.01 * generator.normal(size=12)
    level = np.full(30, 0.3) + 0.05 * generator.normal(size=30)
    assert chance_of_improvement(falling, 100, falling.min()) > 0.95
    assert chance_of_improvement(level, 100, level.min()) < 0.05
    assert chance_of_improvement(falling, 100, falling.min()) == chance_of_improvement(falling, 100, falling.min())
    middle = chance_of_improvement(falling, 100, 0.38)
    assert chance_of_improvement(falling, 100, 0.30) <= middle <= chance_of_improvement(falling, 100, 0.45)
    assert chance_of_improvement(np.array([1.0, math.inf, 1.0, 1.0, 1.0]), 9, 1.0) == 0.0


def test_noise_patience_ignores_improvements_within_the_noise() -> None:
    noisy = [1.0, 1.2, 0.99, 1.2, 0.98, 1.2, 0.97, 1.2, 0.96]
    assert ends(noisy, {"rule": "patience", "patience": 4}) is None
    stopped = ends(noisy, {"rule": "noise_patience", "patience": 4})
    assert stopped
    assert (stopped[0], stopped[1].split(" by ")[0]) == (5, "no improvement")
    assert ends(noisy, {"rule": "noise_patience", "patience": 4, "noise_factor": 0.0}) is None


def test_the_noise_is_that_of_the_differences_and_a_trend_has_none() -> None:
    assert score_noise((1.0, 2.0)) == 0.0
    assert score_noise((1.0, 2.0, 3.0, 4.0)) == pytest.approx(0.0, abs=1e-15)
    generator = np.random.default_rng(1)
    scores = tuple(0.5 * generator.normal(size=4000) - 0.1 * np.arange(4000))
    assert score_noise(scores) == pytest.approx(0.5, rel=0.05)
    steady = [10.0 - epoch for epoch in range(10)]
    assert ends(steady, {"rule": "noise_patience", "patience": 1, "noise_factor": 3.0}) is None


USERS = """
def stop(curves):
    if len(curves["val_loss"]) >= 3 and curves["val_loss"][-1] > curves["loss"][-1]:
        return "validation is above training"

def wrong(curves):
    return curves["val_los"]

def number(curves):
    return 3
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    (tmp_path / "rules.py").write_text(USERS, encoding="utf-8")
    return tmp_path


def users_controller(folder: Path, function: str) -> Controller:
    reference = f"rules.py:{function}"
    recipe = read_recipe({"stopping.rule": reference})
    inputs = StoppingInputs(function=load_stop_function(reference, folder))
    return Controller(recipe, 20, 8, 0, "val_loss", "minimize", "regression", stopping=inputs)


def observe(controller: Controller, loss: float, val_loss: float) -> None:
    assert controller.next_epoch()
    controller.observe({"loss": loss, "val_loss": val_loss, "val_auc": math.nan})


def test_a_users_own_rule_sees_the_curves_and_gives_the_reason(rules: Path) -> None:
    controller = users_controller(rules, "stop")
    for val_loss in (2.0, 2.0, 1.0, 2.0):
        assert controller.status == "training"
        observe(controller, 1.0, val_loss)
    assert (controller.status, controller.message) == ("stopped_early", "val_loss: validation is above training")


def test_a_users_own_rule_resumes_with_its_curves(rules: Path) -> None:
    first, second = users_controller(rules, "stop"), users_controller(rules, "stop")
    for val_loss in (2.0, 0.5):
        observe(first, 1.0, val_loss)
    second.restore(first.state())
    assert second.state() == first.state()
    observe(second, 1.0, 2.0)
    assert second.message == "val_loss: validation is above training"


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("wrong", r"stopping\.rule: wrong\(\) of rules\.py raised KeyError: 'val_los' \(line 7 of rules\.py\)"),
        ("number", r"stopping\.rule: rules\.py:number returned 3 .*text"),
        ("stopp", r"unknown function 'stopp'; did you mean 'stop'"),
    ],
)
def test_an_error_in_a_users_rule_names_file_and_function(rules: Path, function: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        observe(users_controller(rules, function), 1.0, 1.0)


def test_a_users_rule_requires_its_function() -> None:
    recipe = read_recipe({"stopping.rule": "rules.py:stop"})
    assert params_of(recipe)["stopping.rule"] == "rules.py:stop"
    with pytest.raises(ValueError, match=r"rules\.py:stop needs its function"):
        Controller(recipe, 20, 8, 0, "val_loss", "minimize", "regression")


def test_a_misspelt_rule_is_not_taken_for_a_users_rule() -> None:
    with pytest.raises(ValueError, match=r"did you mean 'patience'.*or path/to/file\.py:function"):
        read_recipe({"stopping.rule": "patiense"})
