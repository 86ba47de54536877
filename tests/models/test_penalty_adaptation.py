"""Adaptive penalties: where a controlled strength converges, and what controls it."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset, Examples
from nightune.models.recipe.params import read_recipe
from nightune.models.recipe.recipe import Recipe
from nightune.models.techniques.penalties.adaptation import (
    HELD_OUT_LOSS,
    HYPERGRADIENT,
    TRAIN_LOSS,
    Measured,
    divide,
    next_strength,
)
from nightune.models.techniques.penalties.penalties import PenaltySettings
from nightune.models.training.controller import Controller
from nightune.models.training.loop import train
from nightune.models.training.plan import EpochPlan
from nightune.models.training.seeds import Seeds


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global FitEngine
    from nightune.models.engines.fit.engine import FitEngine


GAP = {"penalty.kind": "l2", "penalty.adaptation": "gap_control", "penalty.strength": 1e-3}


def measured(curvature: float = 1.0, rate: float = 0.1, **statistics: float) -> Measured:
    return Measured(statistics, rate, curvature)


@pytest.mark.parametrize("start", [1e-6, 1e-3, 0.5])
@pytest.mark.parametrize("target", [0.2, 1.0])
def test_gap_control_reaches_the_target_gap(start: float, target: float) -> None:
    settings = PenaltySettings("l1", start, adaptation="gap_control", target_gap=target, minimum=1e-9, maximum=10.0)
    strength = start
    for _ in range(600):
        gap = 2.0 - math.log10(strength / 1e-3) if strength > 0 else 2.0  # falls straight with log λ
        strength = next_strength(settings, strength, measured(**{TRAIN_LOSS: 0.5, HELD_OUT_LOSS: 0.5 * (1.0 + gap)}))
    assert 2.0 - math.log10(strength / 1e-3) == pytest.approx(target, rel=0.05)


def test_gap_control_takes_limited_steps_and_keeps_its_bounds() -> None:
    settings = PenaltySettings("l1", 0.1, adaptation="gap_control", minimum=0.05, maximum=0.12)
    wide, narrow = {TRAIN_LOSS: 1.0, HELD_OUT_LOSS: 9.0}, {TRAIN_LOSS: 1.0, HELD_OUT_LOSS: 0.5}
    assert next_strength(settings, 0.1, measured(**wide)) == pytest.approx(0.1 * math.exp(0.1))
    assert next_strength(settings, 0.1, measured(**narrow)) == pytest.approx(0.1 * math.exp(-0.1))
    assert next_strength(settings, 0.12, measured(**wide)) == 0.12
    assert next_strength(settings, 0.05, measured(**narrow)) == 0.05
    assert next_strength(settings, 0.1, measured(**{TRAIN_LOSS: 0.0, HELD_OUT_LOSS: math.nan})) == 0.1


def test_a_missing_measurement_is_an_error() -> None:
    settings = PenaltySettings("l1", 0.1, adaptation="gap_control")
    with pytest.raises(ValueError, match=f"gap_control needs '{TRAIN_LOSS}', which was not measured"):
        next_strength(settings, 0.1, measured())


@pytest.mark.parametrize("curvature", [0.5, 1.0])
def test_t1t2_finds_the_penalty_that_minimizes_the_held_out_loss(curvature: float) -> None:
    """½(w − 2)² in training and ½(w − 1)² held out want λ = 1, so that w = 1."""
    settings = PenaltySettings("l2", 0.0, adaptation="t1t2", adaptation_rate=1.0, maximum=10.0)
    weight, strength, rate = 0.0, 0.0, 0.1
    for _ in range(2000):
        before = weight
        weight -= rate * ((weight - 2.0) + 2.0 * curvature * strength * weight)
        statistics = {HELD_OUT_LOSS: 0.5 * (weight - 1.0) ** 2, HYPERGRADIENT: (weight - 1.0) * before}
        strength = next_strength(settings, strength, measured(curvature, rate, **statistics))
    assert (2.0 * curvature * strength, weight) == pytest.approx((1.0, 1.0), abs=1e-4)


def test_t1t2_never_goes_below_zero() -> None:
    settings = PenaltySettings("l2", 0.01, adaptation="t1t2")
    assert next_strength(settings, 0.01, measured(**{HELD_OUT_LOSS: 1.0, HYPERGRADIENT: -9.0})) == 0.0


def test_rule_c13_the_examples_held_out_are_fixed_and_never_trained_on() -> None:
    settings = PenaltySettings("l2", adaptation="t1t2", held_out_fraction=0.2)
    division = divide(settings, 50)
    assert len(division.held_out) == 10
    assert sorted([*division.trained, *division.held_out]) == list(range(50))
    assert np.array_equal(division.held_out, divide(settings, 50).held_out)
    assert set(division.sample) <= set(division.trained)
    assert len(divide(PenaltySettings(), 50).trained) == 50
    recipe = read_recipe({**GAP, "penalty.adaptation": "t1t2", "penalty.held_out_fraction": 0.2})
    plan = Controller(recipe, 50, 3, 0, "val_loss", "minimize", "regression").next_epoch()
    assert plan
    assert sorted(plan.order.tolist()) == division.trained.tolist()


def test_a_training_split_that_is_all_held_out_is_refused() -> None:
    with pytest.raises(ValueError, match="held_out_fraction: 1 of 1"):
        divide(PenaltySettings("l2", adaptation="t1t2"), 1)


def test_an_adapted_strength_resumes_bit_equal() -> None:
    def controller() -> Controller:
        return Controller(read_recipe(GAP), 50, 9, 0, "val_loss", "minimize", "regression")

    unbroken = controller()
    for epoch in range(6):
        resumed = controller()
        resumed.restore(json.loads(json.dumps(unbroken.state(), allow_nan=False)))
        plans = unbroken.next_epoch(), resumed.next_epoch()
        assert plans[0]
        assert plans[1]
        assert (plans[0].l2, plans[0].penalty) == (plans[1].l2, plans[1].penalty)
        assert plans[0].recorded["penalty"] == plans[0].penalty
        unbroken.observe({"loss": 1.0, "val_loss": 1.0, TRAIN_LOSS: 1.0, HELD_OUT_LOSS: 1.05 + 0.03 * epoch})
    assert plans[0].penalty != 1e-3


def linear(inputs: np.ndarray, targets: np.ndarray) -> Dataset:
    examples = Examples(inputs.astype(np.float32), targets.astype(np.float32))
    return Dataset(examples, examples, examples, "regression", None, "", (), None, {})


def test_the_hypergradient_of_fit_is_the_analytic_one(
    make_plan: Callable[..., EpochPlan], recipe: Callable[..., Recipe]
) -> None:
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(40, 3))
    dataset = linear(inputs, inputs @ [1.0, -2.0, 0.5] + 1.0)
    adapting = recipe(penalty__kind="l2", penalty__adaptation="t1t2", model__units=[])
    division = divide(adapting.penalty, 40)
    order = division.trained
    plan = make_plan(sizes=[18, 18], rates=0.05)
    plan = EpochPlan(**{**vars(plan), "order": order})
    engine = FitEngine(dataset, Path())
    state = engine.start(adapting, Seeds(1, 2, 3))
    kernel, bias = (weight.astype(np.float64) for weight in engine.weights(state))
    state, output = engine.run_epoch(state, plan)

    def gradient(indices: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        errors = inputs[indices] @ kernel + bias - dataset.train.targets[indices, None]
        return 2 * inputs[indices].T @ errors / len(indices), 2 * errors.mean(axis=0)

    steps = []
    for batch in np.split(order, 2):
        steps.append(kernel)
        along, offset = gradient(batch, kernel, bias)
        kernel, bias = kernel - 0.05 * along, bias - 0.05 * offset
    expected = float(np.sum(gradient(division.held_out, kernel, bias)[0] * steps[-1]))
    assert output.statistics[HYPERGRADIENT] == pytest.approx(expected, rel=1e-3)
    np.testing.assert_allclose(engine.weights(state)[0], kernel, atol=1e-6)  # the probe did not change them


def test_fit_trains_with_the_strength_that_the_gap_requires(
    make_dataset: Callable[..., Dataset], recipe: Callable[..., Recipe]
) -> None:
    dataset = make_dataset(examples=40)
    adapting: dict[str, Any] = {"penalty__kind": "l2", "penalty__strength": 0.01, "penalty__adaptation": "gap_control"}
    outcome = train(
        FitEngine(dataset, Path()),
        recipe(**adapting, learning_rate__peak=0.3, penalty__held_out_fraction=0.25, stopping__rule="none"),
        dataset,
        epochs=5,
        seed=0,
        monitor="val_loss",
        direction="minimize",
    )
    curves = outcome.curves
    assert curves["penalty"][0] == 0.01
    assert outcome.examples == 5 * 30
    for epoch in range(4):
        gap = curves[HELD_OUT_LOSS][epoch] / curves[TRAIN_LOSS][epoch] - 1.0
        step = np.clip((gap - 0.1) / 0.1, -1.0, 1.0)
        assert curves["penalty"][epoch + 1] == pytest.approx(curves["penalty"][epoch] * math.exp(0.1 * step), rel=1e-9)
