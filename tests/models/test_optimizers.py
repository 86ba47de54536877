"""Optimizers: the numbers of each rule, on the Keras optimizers of an engine."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nightune.models.recipe.params import read_recipe
from nightune.models.techniques.optimizers.keys import KEYS
from nightune.models.techniques.optimizers.optimizers import (
    GRADIENT_CLIPS,
    OPTIMIZERS,
    OptimizerSettings,
    build_optimizer,
)
from nightune.models.training.controller import Controller


@pytest.fixture(scope="module")
def keras() -> Any:
    return pytest.importorskip("keras")


def trajectory(
    keras: Any,
    settings: OptimizerSettings,
    gradient: Callable[[np.ndarray], np.ndarray],
    updates: int,
    rate: float = 0.1,
    start: tuple[float, ...] = (1.0,),
) -> np.ndarray:
    """The parameters after each update, (updates, parameters)."""
    optimizer = build_optimizer(settings)
    parameters = keras.Variable(np.array(start, np.float32))
    optimizer.build([parameters])
    optimizer.learning_rate = rate

    def values() -> np.ndarray:
        return keras.ops.convert_to_numpy(parameters + 0.0)  # a variable itself makes NumPy warn

    passed = []
    for _ in range(updates):
        slope = gradient(values()).astype(np.float32)
        optimizer.apply([keras.ops.convert_to_tensor(slope)], [parameters])
        passed.append(values().astype(np.float64))
    return np.array(passed)


def quadratic(parameters: np.ndarray) -> np.ndarray:
    """The gradient of ½aθ² with a = 4."""
    return 4.0 * parameters


def ones(parameters: np.ndarray) -> np.ndarray:
    return np.ones_like(parameters)


def test_gradient_descent_on_a_quadratic(keras: Any) -> None:
    gd = OptimizerSettings(kind="gd")
    np.testing.assert_allclose(trajectory(keras, gd, quadratic, 3)[:, 0], [0.6, 0.36, 0.216], atol=1e-6)
    assert abs(trajectory(keras, gd, quadratic, 5, rate=0.49)[-1, 0]) < 1.0
    assert abs(trajectory(keras, gd, quadratic, 5, rate=0.51)[-1, 0]) > 1.0


def test_gd_takes_one_update_an_epoch_and_follows_the_closed_form(keras: Any) -> None:
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(16, 3))
    solution = np.array([1.0, -2.0, 0.5])
    targets = inputs @ solution
    controller = Controller(
        read_recipe({"optimizer": "gd", "learning_rate.peak": 0.1, "stopping.rule": "none"}),
        examples=16,
        epochs=25,
        order_seed=0,
        monitor="val_loss",
        direction="minimize",
        task="regression",
    )
    while controller.next_epoch():
        controller.observe({"val_loss": 1.0})
    assert controller.updates == 25

    def mean_squared_error_gradient(parameters: np.ndarray) -> np.ndarray:
        return 2 * inputs.T @ (inputs @ parameters - targets) / 16

    reached = trajectory(
        keras, OptimizerSettings(kind="gd"), mean_squared_error_gradient, controller.updates, start=(0.0, 0.0, 0.0)
    )
    hessian = 2 * inputs.T @ inputs / 16
    expected = solution - np.linalg.matrix_power(np.eye(3) - 0.1 * hessian, 25) @ solution
    np.testing.assert_allclose(reached[-1], expected, atol=1e-6)


def test_momentum_on_a_quadratic(keras: Any) -> None:
    momentum = OptimizerSettings(kind="sgd", one_minus_momentum=0.1)
    passed = trajectory(keras, momentum, quadratic, 20)[:, 0]
    np.testing.assert_allclose(passed[:5], [0.6, 0.0, -0.54, -0.81, -0.729], atol=1e-6)
    areas = passed[:-2] * passed[2:] - passed[1:-1] ** 2  # follows the determinant μ of the two-step map
    np.testing.assert_allclose(np.sqrt(areas[1:] / areas[:-1]), math.sqrt(0.9), rtol=1e-4)


def test_velocity_and_nesterov_under_a_constant_gradient(keras: Any) -> None:
    plain = OptimizerSettings(kind="sgd", one_minus_momentum=0.1)
    nesterov = OptimizerSettings(kind="sgd", one_minus_momentum=0.1, nesterov=True)
    np.testing.assert_allclose(trajectory(keras, plain, ones, 3)[:, 0] - 1, [-0.1, -0.29, -0.561], atol=1e-6)
    np.testing.assert_allclose(trajectory(keras, nesterov, ones, 3)[:, 0] - 1, [-0.19, -0.461, -0.8049], atol=1e-6)


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_adam_steps_by_the_rate_under_a_constant_gradient(keras: Any, kind: str) -> None:
    settings = OptimizerSettings(kind=kind, epsilon=1e-12)
    passed = trajectory(keras, settings, lambda _: np.array([1.0, -7.0]), 5, start=(0.0, 0.0))
    expected = np.outer(np.arange(1, 6), [-0.1, 0.1])
    np.testing.assert_allclose(passed, expected, rtol=1e-5)  # 1 − β₂ in float32 is 1.3e-5 off, its root half of it


def test_adam_ignores_the_scale_of_the_gradient(keras: Any) -> None:
    settings = OptimizerSettings(kind="adam", epsilon=1e-12)
    plain = trajectory(keras, settings, quadratic, 10)
    scaled = trajectory(keras, settings, lambda parameters: 1000 * quadratic(parameters), 10)
    np.testing.assert_allclose(scaled, plain, rtol=1e-5)


def test_rmsprop_has_epsilon_inside_the_root(keras: Any) -> None:
    rmsprop = OptimizerSettings(kind="rmsprop")
    np.testing.assert_allclose(trajectory(keras, rmsprop, ones, 2)[:, 0], [0.683772, 0.454357], atol=1e-6)
    tiny = trajectory(keras, rmsprop, lambda parameters: np.full_like(parameters, 1e-4), 1, rate=1.0, start=(0.0,))
    assert tiny[0, 0] == pytest.approx(-0.3147, abs=1e-3)


# optimizer: its settings, and 1 after each update under the gradient 1 with the rate 0.1
GOLDENS: dict[str, tuple[dict[str, Any], list[float]]] = {
    "adagrad": ({}, [0.904654, 0.835647]),
    "adamax": ({}, [0.9, 0.8]),
    "nadam": ({}, [0.893721, 0.816362]),
}


@pytest.mark.parametrize("kind", GOLDENS)
def test_optimizers_match_their_golden_trajectories(keras: Any, kind: str) -> None:
    params, expected = GOLDENS[kind]
    settings = read_recipe({"optimizer": kind, **params}).optimizer
    np.testing.assert_allclose(trajectory(keras, settings, ones, 2)[:, 0], expected, atol=1e-6)


def test_lamb_makes_steps_as_long_as_the_weights(keras: Any) -> None:
    passed = trajectory(keras, OptimizerSettings(kind="lamb"), ones, 2)[:, 0]
    np.testing.assert_allclose(passed, [0.9, 0.81], atol=1e-6)


def test_the_articles_adam_starts_more_than_three_times_too_fast(keras: Any) -> None:
    literal = read_recipe({"optimizer": "adam", "bias_correction": False}).optimizer
    moved = trajectory(keras, literal, ones, 5)[:, 0] - 1
    np.testing.assert_allclose(moved, [-0.31623, -0.74118, -1.23621, -1.78037, -2.36008], atol=1e-5)
    assert moved[0] / -0.1 == pytest.approx(0.1 / math.sqrt(0.001), rel=1e-5)


def test_lion_steps_by_the_rate_and_its_decay_comes_before(keras: Any) -> None:
    gradients = iter([3.0, -0.001])  # the second is outweighed by the momentum of the first
    lion = read_recipe({"optimizer": "lion"}).optimizer
    steps = np.diff(trajectory(keras, lion, lambda _: np.array([next(gradients)]), 2, start=(0.0,))[:, 0], prepend=0.0)
    weight, passed = 1.0, []
    for step in steps:
        weight = weight * (1 - 0.1 * 0.5) + step  # the plan's shrink of a decay of 0.5
        passed.append(weight)
    np.testing.assert_allclose(passed, [0.85, 0.7075], atol=1e-6)


@pytest.mark.parametrize(("batch", "expected"), [(1, 0.052632), (4, 0.013158)])
def test_noise_keeps_sgd_at_its_stationary_variance(keras: Any, batch: int, expected: float) -> None:
    tensorflow = pytest.importorskip("tensorflow")
    curvature, rate, warm_up, updates = 1.0, 0.1, 100, 100_000
    assert expected == pytest.approx(rate / (curvature * (2 - rate * curvature) * batch), abs=1e-6)
    optimizer = build_optimizer(OptimizerSettings(kind="sgd"))
    weights = keras.Variable(np.zeros(16, np.float32))
    optimizer.build([weights])
    optimizer.learning_rate = rate

    @tensorflow.function
    def mean_square() -> Any:
        squares = tensorflow.constant(0.0)
        for update in tensorflow.range(updates):
            noise = tensorflow.random.stateless_normal((16,), [batch, update]) / math.sqrt(batch)
            optimizer.apply([curvature * weights.value + noise], [weights])
            squares += tensorflow.reduce_mean(weights.value**2) if update >= warm_up else 0.0
        return squares / (updates - warm_up)

    assert float(mean_square()) == pytest.approx(expected, rel=0.05)


# clip: the gradients (3, 0.5) and (4) of two variables after clipping at the limit 1
CLIPS = {
    "none": [3.0, 0.5, 4.0],
    "norm": [3.0 / math.hypot(3.0, 0.5), 0.5 / math.hypot(3.0, 0.5), 1.0],
    "value": [1.0, 0.5, 1.0],
    "global_norm": [part / math.sqrt(25.25) for part in (3.0, 0.5, 4.0)],
}


@pytest.mark.parametrize("clip", GRADIENT_CLIPS)
def test_a_clip_limits_what_its_name_says(keras: Any, clip: str) -> None:
    optimizer = build_optimizer(OptimizerSettings(kind="sgd", gradient_clip_kind=clip))
    variables = [keras.Variable(np.zeros(2, np.float32)), keras.Variable(np.zeros(1, np.float32))]
    optimizer.build(variables)
    optimizer.learning_rate = 1.0
    gradients = [np.array([3.0, 0.5], np.float32), np.array([4.0], np.float32)]
    optimizer.apply([keras.ops.convert_to_tensor(gradient) for gradient in gradients], variables)
    reached = np.concatenate([keras.ops.convert_to_numpy(variable + 0.0) for variable in variables])
    np.testing.assert_allclose(-reached, CLIPS[clip], rtol=1e-6)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_every_optimizer_takes_every_clip(keras: Any, kind: str) -> None:
    for clip, argument in GRADIENT_CLIPS.items():
        optimizer = build_optimizer(OptimizerSettings(kind=kind, gradient_clip_kind=clip, gradient_clip_limit=0.5))
        for each in ("clipnorm", "clipvalue", "global_clipnorm"):
            assert getattr(optimizer, each) == (0.5 if each == argument else None)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_every_optimizer_is_built_without_decay_and_with_a_rate_that_can_be_written(keras: Any, kind: str) -> None:
    optimizer = build_optimizer(OptimizerSettings(kind=kind, one_minus_momentum=0.1))
    assert optimizer.weight_decay is None
    assert float(optimizer.learning_rate) == 0.0
    optimizer.learning_rate = 0.25
    assert float(optimizer.learning_rate) == 0.25
    if kind != "gd":
        assert getattr(optimizer, "momentum", 0.9) == 0.9
    else:
        assert optimizer.momentum == 0.0
    assert getattr(optimizer, "adam_weight_decay", None) is None


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_every_optimizer_descends_a_quadratic(keras: Any, kind: str) -> None:
    passed = trajectory(keras, OptimizerSettings(kind=kind), quadratic, 5, rate=0.05)
    assert abs(passed[-1, 0]) < 1.0


def test_the_default_constants_are_those_of_the_papers_to_the_last_bit(keras: Any) -> None:
    adam = build_optimizer(OptimizerSettings(kind="adam"))
    assert (adam.beta_1, adam.beta_2, adam.epsilon) == (0.9, 0.999, 1e-7)
    rmsprop = build_optimizer(OptimizerSettings(kind="rmsprop"))
    assert (rmsprop.rho, rmsprop.momentum, rmsprop.epsilon, rmsprop.centered) == (0.9, 0.0, 1e-7, False)
    lion, adadelta = (build_optimizer(read_recipe({"optimizer": kind}).optimizer) for kind in ("lion", "adadelta"))
    assert (lion.beta_1, lion.beta_2) == (0.9, 0.99)
    assert (adadelta.rho, adadelta.epsilon) == (0.95, 1e-7)


def test_the_structure_contains_everything_that_changes_the_graph() -> None:
    assert OptimizerSettings(kind="gd").structure == "sgd"
    assert OptimizerSettings(kind="sgd", one_minus_momentum=0.3, nesterov=True).structure == "sgd"
    assert OptimizerSettings(kind="adamw", one_minus_beta_1=0.3).structure == "adam"
    assert OptimizerSettings(kind="rmsprop", one_minus_momentum=0.3, centered=True).structure == "rmsprop centered"
    assert OptimizerSettings(kind="adam", centered=True).structure == "adam"
    assert OptimizerSettings(kind="muon", nesterov=True).structure == "muon Nesterov"
    assert OptimizerSettings(kind="adagrad", initial_accumulator=0.2).structure == "adagrad"
    clipped = OptimizerSettings(kind="gd", gradient_clip_kind="norm", gradient_clip_limit=0.25)
    assert clipped.structure == "sgd clipped by norm"


def test_every_key_of_an_optimizer_is_active_for_a_known_optimizer() -> None:
    for name, key in KEYS.items():
        assert set(key.when.get("optimizer", ())) <= set(OPTIMIZERS), name
