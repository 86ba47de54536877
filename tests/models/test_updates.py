"""Weight decay and penalties inside an update: golden numbers, scikit-learn and Keras' own regularizers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from nightune.models.data.dataset import Dataset, Examples
from nightune.models.engines.make import make_engine
from nightune.models.recipe.recipe import Recipe
from nightune.models.techniques.optimizers.optimizers import OptimizerSettings, build_optimizer
from nightune.models.training.plan import EpochPlan
from nightune.models.training.seeds import Seeds
from tests.models.conftest import BACKEND, FEW_RULES


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, layers, FitEngine, Penalty, decayed_weights, decaying
    import keras
    from keras import layers

    from nightune.models.engines.fit.engine import FitEngine
    from nightune.models.engines.keras_parts.updates import Penalty, decayed_weights, decaying


MakeDataset = Callable[..., Dataset]
MakePlan = Callable[..., EpochPlan]
MakeRecipe = Callable[..., Recipe]
SEEDS = Seeds(weights=1, order=2, dropout=3)


def trained_weights(engine: FitEngine, recipe: Recipe, plans: list[EpochPlan]) -> list[np.ndarray]:
    state = engine.start(recipe, SEEDS)
    for plan in plans:
        state, _ = engine.run_epoch(state, plan)
    return engine.weights(state)


def assert_close(first: list[np.ndarray], second: list[np.ndarray]) -> None:
    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


def test_penalties_equal_keras_regularizers_and_stay_out_of_the_loss(
    make_dataset: MakeDataset, make_plan: MakePlan, recipe: MakeRecipe
) -> None:
    dataset = make_dataset("regression")
    tiny = recipe(penalty__kind="elastic", model__units=[])
    plan = make_plan(sizes=[22], l1=0.03, l2=0.2)
    engine = FitEngine(dataset, Path())
    state = engine.start(tiny, SEEDS)
    before = state.model.predict_on_batch(dataset.train.inputs)[:, 0]
    plain = keras.Sequential(
        [keras.Input((5,)), layers.Dense(1, kernel_regularizer=keras.regularizers.L1L2(l1=0.03, l2=0.2))]
    )
    plain.set_weights(state.model.get_weights())
    plain.compile(keras.optimizers.SGD(0.1), "mse")
    plain.train_on_batch(dataset.train.inputs, dataset.train.targets)
    state, output = engine.run_epoch(state, plan)
    assert_close(state.model.get_weights(), plain.get_weights())
    assert output.loss == pytest.approx(np.mean((before - dataset.train.targets) ** 2), rel=1e-5)


def test_strengths_that_change_between_epochs_are_used(
    make_dataset: MakeDataset, make_plan: MakePlan, recipe: MakeRecipe
) -> None:
    tiny = recipe(penalty__kind="l2")
    engine = FitEngine(make_dataset(), Path())
    changing, constant = (
        trained_weights(engine, tiny, [make_plan(), make_plan(epoch=2, l2=last)]) for last in (0.5, 0.0)
    )
    assert max(np.abs(one - other).max() for one, other in zip(changing, constant, strict=True)) > 1e-3


def test_a_users_own_regularizer_is_kept_and_ours_is_not_saved(
    make_dataset: MakeDataset, make_plan: MakePlan, recipe: MakeRecipe, user_model: Callable[[str], str], tmp_path: Path
) -> None:
    reference = user_model(
        "def build(output_size):\n"
        " return keras.Sequential([keras.Input((5,)), layers.Dense(output_size, kernel_regularizer='l2')])"
    )
    engine = FitEngine(make_dataset(), tmp_path)
    regularized = recipe(model__architecture=reference, penalty__kind="l1")
    state = engine.start(regularized, SEEDS)
    kernel = state.model.get_weights()[0].astype(np.float64)
    assert state.penalty
    state.penalty.write(0.5, 0.0)
    assert float(sum(state.model.losses)) == pytest.approx(
        0.01 * (kernel**2).sum() + 0.5 * np.abs(kernel).sum(), rel=1e-5
    )
    model = engine.model(regularized, engine.weights(state))
    assert float(sum(model.losses)) == pytest.approx(0.01 * (kernel**2).sum(), rel=1e-5)


@pytest.mark.parametrize(
    ("rates", "shrinks", "expected"),
    [
        (0.1, [0.01] * 5, [0.99, 0.9801, 0.970299, 0.960596, 0.950990]),
        (0.1, 0.01 * 0.5 ** (np.arange(5) / 4), [0.99, 0.981675, 0.974734, 0.968938, 0.964093]),
        ([0.1, 0.075, 0.05, 0.025], [0.01, 0.0075, 0.005, 0.0025], [0.99, 0.982575, 0.977662, 0.975218]),
        ([0.1, 0.075, 0.05, 0.025], [0.01] * 4, [0.99, 0.9801, 0.970299, 0.960596]),
    ],
    ids=["fixed", "exponential", "schedule", "independent"],
)
def test_fit_decays_weights_to_the_golden_values(
    make_plan: MakePlan, recipe: MakeRecipe, rates: Any, shrinks: Any, expected: Any
) -> None:
    zeros = Examples(np.zeros((len(shrinks), 2), np.float32), np.zeros(len(shrinks), np.float32))
    engine = FitEngine(Dataset(zeros, zeros, zeros, "regression", None, "", (), None, {}), Path())
    tiny = recipe(weight_decay__profile="fixed", model__units=[])
    rates = np.broadcast_to(rates, len(shrinks))
    passed = []
    state = engine.start(tiny, SEEDS)
    state.model.set_weights([np.ones((2, 1)), np.ones(1)])
    state.model.layers[-1].bias.assign([0.0])  # no gradient: inputs, targets and outputs are 0
    for rate, shrink in zip(rates, shrinks, strict=True):
        state, _ = engine.run_epoch(state, make_plan(sizes=[len(shrinks)], rates=rate, shrinks=shrink))
        passed.append(float(state.model.get_weights()[0][0, 0]))
    np.testing.assert_allclose(passed, expected, atol=1e-6)


def everything() -> keras.Model:
    inputs = keras.Input((4, 3))
    hidden = layers.MultiHeadAttention(2, 2, name="attention")(inputs, inputs)
    hidden = layers.Bidirectional(layers.GRU(2, return_sequences=True), name="gru")(hidden)
    hidden = layers.LayerNormalization(axis=[1, 2])(layers.Conv1D(2, 2, name="conv")(hidden))
    hidden = layers.PReLU()(layers.BatchNormalization()(hidden))
    inner = keras.Sequential([keras.Input((6,)), layers.Dense(2, name="inner")])
    return keras.Model(inputs, layers.Dense(2, name="last")(inner(layers.Flatten()(hidden))))


def test_only_kernels_are_decayed() -> None:
    model = everything()
    found = {variable.path for variable in decayed_weights(model)}
    kernels = {variable.path for variable in model.trainable_variables if variable.name.endswith("kernel")}
    assert found == kernels
    assert len(kernels) == 4 + 4 + 1 + 1 + 1
    table = keras.Sequential([keras.Input((3,)), layers.Embedding(5, 2), layers.Flatten(), layers.Dense(1)])
    assert [variable.name for variable in decayed_weights(table)] == ["kernel"]


@pytest.mark.parametrize("kind", ["sgd", "adam", "rmsprop"])
def test_without_gradients_all_but_kernels_stays_bit_equal(kind: str) -> None:
    model = everything()
    decayed = decayed_weights(model)
    plain = build_optimizer(OptimizerSettings(kind=kind))
    optimizer = decaying(type(plain), decayed).from_config(plain.get_config())
    optimizer.build(model.trainable_variables)
    optimizer.learning_rate = 0.1
    before = [variable.numpy() for variable in model.trainable_variables]
    for shrink in (0.1, 0.2, 1e-6):
        optimizer.shrink.assign(shrink)
        optimizer.apply([keras.ops.zeros(variable.shape) for variable in model.trainable_variables])
    kept = 0.9 * 0.8 * (1 - 1e-6)
    for variable, value in zip(model.trainable_variables, before, strict=True):
        if any(variable is kernel for kernel in decayed):
            np.testing.assert_allclose(variable.numpy(), value * kept, rtol=3e-7)
        else:
            assert np.array_equal(variable.numpy(), value)


def test_decay_is_l2_for_sgd_and_is_not_for_adam(
    make_dataset: MakeDataset, make_plan: MakePlan, recipe: MakeRecipe
) -> None:
    dataset, engine = make_dataset(), FitEngine(make_dataset(), Path())
    assert dataset.task == "multiclass"

    def weights(kind: str, is_decay: bool) -> list[np.ndarray]:
        strengths = {"shrinks": 0.1 * 0.2} if is_decay else {"l2": 0.1}
        plans = [make_plan(epoch=epoch, sizes=[4, 4, 4, 10], **strengths) for epoch in range(1, 6)]
        extra = {"weight_decay__profile": "fixed"} if is_decay else {"penalty__kind": "l2"}
        return trained_weights(engine, recipe(optimizer=kind, **extra), plans)

    assert_close(weights("sgd", True), weights("sgd", False))
    pairs = zip(weights("adam", True), weights("adam", False), strict=True)
    assert max(np.abs(one - other).max() for one, other in pairs) > 1e-2


@pytest.mark.parametrize("name", ["fit", BACKEND])
def test_a_decay_that_changes_is_honoured_without_a_new_trace(
    make_dataset: MakeDataset,
    make_plan: MakePlan,
    recipe: MakeRecipe,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    calls = 0
    plain = layers.Dense.call

    @functools.wraps(plain)
    def counted(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        return plain(*given, **named)

    engine = make_engine(name, make_dataset(), Path(), rules=FEW_RULES)
    monkeypatch.setattr(layers.Dense, "call", counted)
    state = engine.start(recipe(weight_decay__profile="fixed"), SEEDS)
    before = engine.weights(state)
    state, _ = engine.run_epoch(state, make_plan(rates=0.0, shrinks=[0.1, 0.2, 0.0]))
    traced = calls
    state, _ = engine.run_epoch(state, make_plan(epoch=2, rates=0.0, shrinks=[0.3, 0.0, 0.4]))
    assert calls == traced > 0
    for value, weight in zip(before, engine.weights(state), strict=True):
        kept = 0.9 * 0.8 * 0.7 * 0.6 if value.ndim == 2 else 1.0
        np.testing.assert_allclose(weight, kept * value, rtol=1e-6)


def test_ridge_matches_scikit_learn(make_plan: MakePlan, recipe: MakeRecipe) -> None:
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(40, 3)).astype(np.float32)
    targets = (inputs @ [1.0, -2.0, 0.5] + generator.normal(size=40) + 3).astype(np.float32)
    examples = Examples(inputs, targets)
    engine = FitEngine(Dataset(examples, examples, examples, "regression", None, "", (), None, {}), Path())
    alpha = 4.0
    plans = [make_plan(sizes=[40], epoch=epoch, rates=0.2, l2=alpha / 40) for epoch in range(1, 61)]
    kernel, bias = trained_weights(engine, recipe(penalty__kind="l2", model__units=[]), plans)
    ridge = Ridge(alpha=alpha).fit(inputs, targets)
    np.testing.assert_allclose(kernel[:, 0], ridge.coef_, atol=1e-5)
    assert bias[0] == pytest.approx(ridge.intercept_, abs=1e-5)


def test_penalties_of_no_weights_are_none() -> None:
    assert Penalty([]).write(0.0, 0.0) is False
