"""Proximal L1 and other effects on weights in an update of `fit`: golden numbers, scikit-learn, exact zeros."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import ElasticNet, Lasso, Ridge

from nightune.models.data.dataset import Dataset, Examples
from nightune.models.recipe.params import read_recipe
from nightune.models.recipe.recipe import Recipe
from nightune.models.techniques.penalties.penalties import PenaltySettings, keras_strengths
from nightune.models.training.controller import Controller
from nightune.models.training.plan import EpochPlan
from nightune.models.training.seeds import Seeds


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, FitEngine, ZERO_SHARE, build_recipe_optimizer
    import keras

    from nightune.models.engines.fit.engine import FitEngine
    from nightune.models.engines.keras_parts.penalty_measurements import ZERO_SHARE
    from nightune.models.engines.keras_parts.updates import build_recipe_optimizer


MakePlan = Callable[..., EpochPlan]
MakeRecipe = Callable[..., Recipe]
SEEDS = Seeds(1, 2, 3)
PROXIMAL: dict[str, Any] = {"penalty__kind": "l1_proximal", "model__units": []}


def regression(inputs: np.ndarray, targets: np.ndarray) -> Dataset:
    examples = Examples(inputs.astype(np.float32), targets.astype(np.float32))
    return Dataset(examples, examples, examples, "regression", None, "", (), None, {})


def one_weight() -> keras.Model:
    return keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])


# target of ½(w − target)², first w, the first w after each update
GOLDENS = {
    "from above": (1.0, 0.0, [0.35, 0.525, 0.6125, 0.65625]),
    "to an exact zero": (0.25, 0.2, [0.075, 0.0125, 0.0, 0.0]),
    "from below": (-0.25, -0.2, [-0.075, -0.0125, 0.0, 0.0]),
}


@pytest.mark.parametrize("name", GOLDENS)
def test_proximal_steps_match_their_golden_values(recipe: MakeRecipe, name: str) -> None:
    target, weight, expected = GOLDENS[name]
    model = one_weight()
    optimizer = build_recipe_optimizer(recipe(**PROXIMAL), model)
    optimizer.build(model.trainable_variables)
    optimizer.learning_rate = 0.5
    optimizer.proximal.assign(0.3)
    (kernel,) = model.trainable_variables
    kernel.assign([[weight]])
    passed = []
    for _ in range(30):
        optimizer.apply([kernel - target])
        passed.append(float(kernel.numpy()[0, 0]))
    np.testing.assert_allclose(passed[:4], expected, atol=1e-7)
    if 0.0 in expected:
        assert passed[2:] == [0.0] * 28
    else:
        assert passed[-1] == pytest.approx(0.7, abs=1e-6)


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "lion"])
def test_a_declared_threshold_is_that_of_the_rate_for_every_optimizer(recipe: MakeRecipe, optimizer: str) -> None:
    model = one_weight()
    declared = recipe(**PROXIMAL, optimizer=optimizer, penalty__threshold="decoupled", weight_decay__profile="none")
    built = build_recipe_optimizer(declared, model)
    built.build(model.trainable_variables)
    built.learning_rate = 0.1
    built.proximal.assign(0.2)
    (kernel,) = model.trainable_variables
    kernel.assign([[0.05]])
    for expected in (0.03, 0.01, 0.0, 0.0):
        built.apply([keras.ops.zeros((1, 1))])  # without a gradient none of them changes
        assert float(kernel.numpy()[0, 0]) == pytest.approx(expected, abs=1e-8)
    assert float(kernel.numpy()[0, 0]) == 0.0


UPDATES = 60  # per epoch: the data repeats the examples so that every batch contains all of them


def solution(
    make_plan: MakePlan, tiny: Recipe, inputs: np.ndarray, targets: np.ndarray, **strengths: float
) -> tuple[np.ndarray, float, dict[str, float]]:
    """Return the kernel and bias that `fit` reaches with falling rates, and the last measurements."""
    tiled = regression(np.tile(inputs, (UPDATES, 1)), np.tile(targets, UPDATES))
    engine = FitEngine(tiled, Path())
    state = engine.start(tiny, SEEDS)
    rates = 0.2 * 0.5 * (1 + np.cos(np.pi * np.arange(12 * UPDATES) / (12 * UPDATES)))
    for epoch, part in enumerate(np.split(rates, 12)):
        plan = make_plan(sizes=[len(inputs)] * UPDATES, rates=part, **strengths)
        plan = EpochPlan(**{**vars(plan), "epoch": epoch + 1, "order": np.arange(len(tiled.train), dtype=np.int32)})
        state, output = engine.run_epoch(state, plan)
    kernel, bias = engine.weights(state)
    return kernel[:, 0], float(bias[0]), dict(output.statistics)


@pytest.fixture
def problem() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(60, 4)).astype(np.float32)
    return inputs, (inputs @ [2.0, -1.0, 0.0, 0.5] + 3 + 0.1 * generator.normal(size=60)).astype(np.float32)


ALPHA = 0.2

# penalty and its strength in the article's convention, scikit-learn's own, and the tolerance: a subgradient never
# settles at a zero
ORACLES = {
    "ridge": ("l2", ALPHA / 60, Ridge(ALPHA), 1e-5),
    "lasso": ("l1", ALPHA, Lasso(ALPHA, tol=1e-10), 5e-3),
    "elastic net": ("elastic", ALPHA, ElasticNet(ALPHA, l1_ratio=0.3, tol=1e-10), 5e-3),
    "proximal lasso": ("l1_proximal", ALPHA, Lasso(ALPHA, tol=1e-10), 1e-4),
}


@pytest.mark.parametrize("name", ORACLES)
def test_a_trained_linear_model_matches_scikit_learn(
    make_plan: MakePlan, recipe: MakeRecipe, problem: tuple[np.ndarray, np.ndarray], name: str
) -> None:
    kind, strength, oracle, tolerance = ORACLES[name]
    inputs, targets = problem
    settings = PenaltySettings(kind, strength, l1_ratio=0.3, convention="article")
    strengths = asdict(keras_strengths(settings, "regression"))
    kernel, bias, measured = solution(
        make_plan, recipe(penalty__kind=kind, model__units=[]), inputs, targets, **strengths
    )
    oracle.fit(inputs.astype(np.float64), targets)
    np.testing.assert_allclose(kernel, oracle.coef_, atol=tolerance)
    assert bias == pytest.approx(oracle.intercept_, abs=tolerance)
    if kind == "l1_proximal":
        assert np.array_equal(kernel == 0.0, oracle.coef_ == 0.0)
        assert measured[ZERO_SHARE] == np.mean(oracle.coef_ == 0.0) > 0.0


def test_a_proximal_step_with_the_wrong_factor_misses_the_optimum(
    make_plan: MakePlan, recipe: MakeRecipe, problem: tuple[np.ndarray, np.ndarray]
) -> None:
    inputs, targets = problem
    kernel, _, _ = solution(make_plan, recipe(**PROXIMAL), inputs, targets, proximal=ALPHA)
    assert np.abs(kernel - Lasso(ALPHA).fit(inputs, targets).coef_).max() > 0.05


def test_metrics_and_the_logged_loss_exclude_penalties(
    make_dataset: Callable[..., Dataset], make_plan: MakePlan, recipe: MakeRecipe
) -> None:
    dataset = make_dataset()

    def measured(**penalty: Any) -> tuple[float, dict[str, float]]:
        engine = FitEngine(dataset, Path())
        penalized = recipe(**penalty)
        state = engine.start(penalized, SEEDS)
        strengths = asdict(keras_strengths(replace(penalized.penalty, strength=0.5), "multiclass"))
        _, output = engine.run_epoch(state, make_plan(rates=0.0, **strengths))
        return output.loss, output.head.metrics("multiclass", output.outputs, dataset.validation.targets)

    plain = measured()
    for penalty in (
        {"penalty__kind": "elastic"},
        {"penalty__kind": "l1_proximal"},
        {"penalty__kind": "l2", "penalty__label_smoothing": 0.3},
        {"penalty__label_smoothing": 0.5},
    ):
        found = measured(**penalty)
        assert found[0] == pytest.approx(plain[0], rel=1e-6)
        assert found[1] == pytest.approx(plain[1], rel=1e-6)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_smoothed_labels_are_the_gradient_of_the_smoothed_loss(
    make_dataset: Callable[..., Dataset], make_plan: MakePlan, recipe: MakeRecipe, task: str
) -> None:
    dataset = make_dataset(task)
    engine = FitEngine(dataset, Path())
    state = engine.start(recipe(penalty__label_smoothing=0.2, model__units=[]), SEEDS)
    kernel, bias = engine.weights(state)
    inputs, labels = dataset.train.inputs, dataset.train.targets
    logits = inputs @ kernel + bias
    if task == "binary":
        errors = 1 / (1 + np.exp(-logits)) - (0.8 * labels[:, None] + 0.2 / 2)
    else:
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        errors = probabilities - (0.8 * np.eye(3)[labels] + 0.2 / 3)
    state, _ = engine.run_epoch(state, make_plan(sizes=[22], rates=0.5))
    np.testing.assert_allclose(engine.weights(state)[0], kernel - 0.5 * inputs.T @ errors / 22, atol=1e-6)


def test_smoothing_a_regression_is_refused(make_dataset: Callable[..., Dataset]) -> None:
    smoothed = read_recipe({"penalty.label_smoothing": 0.1})
    with pytest.raises(ValueError, match=r"penalty\.label_smoothing: regression has no classes"):
        Controller(smoothed, 20, 3, 0, "val_loss", "minimize", "regression")


def test_decay_of_scope_all_includes_biases_and_scales(recipe: MakeRecipe) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.BatchNormalization()])
    model.layers[0].bias.assign([1.0, 2.0])
    for scope, kept in (("kernels", 1.0), ("all", 0.75)):
        built = build_recipe_optimizer(recipe(weight_decay__profile="fixed", weight_decay__scope=scope), model)
        built.build(model.trainable_variables)
        built.shrink.assign(0.25)
        before = [variable.numpy() for variable in model.trainable_variables]
        built.apply([keras.ops.zeros(variable.shape) for variable in model.trainable_variables])
        for variable, value in zip(model.trainable_variables, before, strict=True):
            part = 0.75 if variable.name == "kernel" else kept
            np.testing.assert_allclose(variable.numpy(), part * value, rtol=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("is_nesterov", [False, True])
def test_a_mirrored_momentum_follows_the_plan_at_every_update(
    make_plan: MakePlan, recipe: MakeRecipe, optimizer: str, is_nesterov: bool
) -> None:
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(22, 2))
    targets = inputs @ [1.0, -1.0]
    engine = FitEngine(regression(inputs, targets), Path())
    settings = {"nesterov": is_nesterov} if optimizer == "sgd" else {}
    cycled = {"learning_rate__schedule": "one_cycle", "learning_rate__one_cycle_momentum": "mirrored"}
    state = engine.start(recipe(optimizer=optimizer, model__units=[], **settings, **cycled), SEEDS)
    weights = np.vstack(engine.weights(state)).astype(np.float64)[:, 0]
    velocity, squares, count = np.zeros(3), np.zeros(3), 0
    for epoch, momenta in ((1, [0.95, 0.9, 0.85]), (2, [0.85, 0.9, 0.95])):
        plan = make_plan(rates=0.05, momenta=np.array(momenta, np.float32), epoch=epoch)
        for batch, momentum in zip(plan.batches(), momenta, strict=True):
            design = np.column_stack([inputs[batch], np.ones(len(batch))])
            gradient = 2 * design.T @ (design @ weights - targets[batch]) / len(batch)
            count += 1
            if optimizer == "sgd":
                velocity = momentum * velocity - 0.05 * gradient
                weights = weights + (momentum * velocity - 0.05 * gradient if is_nesterov else velocity)
            else:
                velocity = momentum * velocity + (1 - momentum) * gradient
                squares = 0.999 * squares + 0.001 * gradient**2
                corrected = 0.05 * np.sqrt(1 - 0.999**count) / (1 - momentum**count)
                weights = weights - corrected * velocity / (np.sqrt(squares) + 1e-7)
        state, _ = engine.run_epoch(state, plan)
    np.testing.assert_allclose(np.vstack(engine.weights(state))[:, 0], weights, atol=2e-5)
