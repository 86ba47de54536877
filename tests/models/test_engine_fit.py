"""The engine of plain `fit`: equal to hand-written Keras, and true to its plan."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset, Examples
from nightune.models.recipe.params import read_recipe
from nightune.models.recipe.recipe import Recipe
from nightune.models.training.plan import EpochPlan
from nightune.models.training.seeds import Seeds
from tests.models.conftest import in_backend


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, batch_feeds, FitEngine, FitState
    import keras

    from nightune.models.engines.fit import batch_feeds
    from nightune.models.engines.fit.engine import FitEngine
    from nightune.models.engines.fit.fitted_epoch import FitState


MakeDataset = Callable[..., Dataset]
MakePlan = Callable[..., EpochPlan]
MakeRecipe = Callable[..., Recipe]
SEEDS = Seeds(weights=1, order=2, dropout=3)

LINEAR = """
def build(input_shape, output_size, bias: bool = True):
    return keras.Sequential([keras.Input(input_shape), layers.Dense(output_size, use_bias=bias)])
"""


def plain_training(recipe: Recipe, dataset: Dataset, optimizer: Any, plans: list[EpochPlan]) -> list[np.ndarray]:
    """Return the weights after a handwritten training, from the same initial weights in the same order."""
    model = FitEngine(dataset, Path()).start(recipe, SEEDS).model
    plain = keras.models.clone_model(model)
    plain.set_weights(model.get_weights())
    loss = {
        "multiclass": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "binary": keras.losses.BinaryCrossentropy(from_logits=True),
        "regression": "mse",
    }[dataset.task]
    plain.compile(optimizer, loss)
    for plan in plans:
        inputs, targets = (array[plan.order] for array in (dataset.train.inputs, dataset.train.targets))
        targets = targets[:, None] if dataset.task == "binary" else targets
        plain.fit(inputs, targets, batch_size=int(plan.batch_sizes[0]), epochs=1, shuffle=False, verbose=0)
    return plain.get_weights()


def trained(engine: FitEngine, recipe: Recipe, plans: list[EpochPlan]) -> FitState:
    state = engine.start(recipe, SEEDS)
    for plan in plans:
        state, _ = engine.run_epoch(state, plan)
    return state


def assert_close(first: list[np.ndarray], second: list[np.ndarray], tolerance: float = 1e-6) -> None:
    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


OPTIMIZERS: dict[str, tuple[dict[str, Any], Callable[[], Any]]] = {
    "sgd": ({"optimizer": "sgd"}, lambda: keras.optimizers.SGD(0.05)),
    "momentum": ({"optimizer": "sgd", "one_minus_momentum": 0.1}, lambda: keras.optimizers.SGD(0.05, momentum=0.9)),
    "nesterov": (
        {"optimizer": "sgd", "one_minus_momentum": 0.1, "nesterov": True},
        lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    ),
    "adam": ({"optimizer": "adam"}, lambda: keras.optimizers.Adam(0.05)),
    "rmsprop": ({"optimizer": "rmsprop"}, lambda: keras.optimizers.RMSprop(0.05)),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_weights_equal_those_of_a_plain_keras_training(
    make_dataset: MakeDataset, make_plan: MakePlan, recipe: MakeRecipe, kind: str
) -> None:
    params, optimizer = OPTIMIZERS[kind]
    dataset = make_dataset(task="binary" if kind == "rmsprop" else "multiclass")
    plans = [make_plan(rates=0.05, epoch=epoch) for epoch in (1, 2, 3)]
    state = trained(FitEngine(dataset, Path()), recipe(**params), plans)
    assert_close(state.model.get_weights(), plain_training(recipe(**params), dataset, optimizer(), plans))
    assert int(state.model.optimizer.iterations) == 9


def test_gd_follows_the_closed_form_in_one_update_an_epoch(make_plan: MakePlan, recipe: MakeRecipe) -> None:
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(16, 3)).astype(np.float32)
    solution = np.array([1.0, -2.0, 0.5])
    examples = Examples(inputs, (inputs @ solution).astype(np.float32))
    engine = FitEngine(Dataset(examples, examples, examples, "regression", None, "", (), None, {}), Path())
    state = engine.start(recipe(optimizer="gd", model__units=[]), SEEDS)
    kernel, bias = state.model.layers[-1].kernel, state.model.layers[-1].bias
    bias.trainable = False
    state.model.optimizer.build([kernel])
    start = kernel.numpy()[:, 0].astype(np.float64)
    hessian = 2 * inputs.T.astype(np.float64) @ inputs / 16
    for epoch in range(1, 26):
        state, _ = engine.run_epoch(state, make_plan(sizes=[16], epoch=epoch))
    expected = solution + np.linalg.matrix_power(np.eye(3) - 0.1 * hessian, 25) @ (start - solution)
    np.testing.assert_allclose(kernel.numpy()[:, 0], expected, atol=1e-6)
    assert int(state.model.optimizer.iterations) == 25


GRADIENT_ONE = """
class Probe(keras.Model):
    def __init__(self):
        super().__init__()
        self.theta = self.add_weight(shape=(1, 1), initializer="zeros", name="kernel")

    def call(self, inputs):
        return inputs[:, :1] + self.theta

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(y_pred)

def build(): return Probe()
"""


def test_each_update_follows_the_plan(
    make_dataset: MakeDataset, make_plan: MakePlan, recipe: MakeRecipe, user_model: Callable[[str], str], tmp_path: Path
) -> None:
    engine = FitEngine(make_dataset("regression"), tmp_path)
    probe = recipe(model__architecture=user_model(GRADIENT_ONE), weight_decay__profile="fixed")
    rates, shrinks = np.array([0.1, 0.1, 0.03, 0.2]), np.array([0.0, 0.5, 0.5, 0.1])
    state, theta = engine.start(probe, SEEDS), 0.0
    for epoch, sizes in enumerate(([7, 7, 7, 1], [1, 9, 2, 10]), start=1):
        plan = make_plan(sizes=sizes, rates=rates, shrinks=shrinks, epoch=epoch)
        state, _ = engine.run_epoch(state, plan)
        for rate, shrink in zip(rates, shrinks, strict=True):
            theta = theta * (1 - shrink) - rate
        assert float(state.model.get_weights()[0][0, 0]) == pytest.approx(theta, rel=1e-6)
        assert float(state.model.optimizer.learning_rate) == pytest.approx(plan.recorded["learning_rate"])


def test_one_trace_serves_every_epoch_and_size(
    make_dataset: MakeDataset, make_plan: MakePlan, recipe: MakeRecipe, user_model: Callable[[str], str], tmp_path: Path
) -> None:
    reference = user_model(
        """
CALLS = []

class Counting(layers.Dense):
    def call(self, inputs, training=None):
        CALLS.append(training)
        return super().call(inputs)

def build(output_size): return keras.Sequential([keras.Input((5,)), Counting(output_size)])
"""
    )
    engine = FitEngine(make_dataset(), tmp_path)
    counted = recipe(model__architecture=reference, weight_decay__profile="fixed", penalty__kind="l1")
    state = engine.start(counted, SEEDS)
    calls = sys.modules[type(state.model.layers[-1]).__module__].CALLS
    state, _ = engine.run_epoch(state, make_plan(l1=0.1))
    first = len(calls)
    for epoch, sizes in enumerate([(8, 8, 6), (22,), (4, 9, 9), (5, 5, 5, 7)], start=2):
        plan = make_plan(epoch=epoch, sizes=sizes, rates=0.1 / epoch, shrinks=0.01 / epoch, l1=0.1 / epoch)
        state, _ = engine.run_epoch(state, plan)
    assert len(calls) == first


@pytest.mark.parametrize("feed", ["ArrayFeed", "BatchFeed", "StreamFeed", "TensorFlowFeed"])
def test_every_feed_gives_the_batches_of_the_plan(make_plan: MakePlan, feed: str) -> None:
    seen: list[np.ndarray] = []

    class Recording(keras.Model):
        def train_step(self, data: Any) -> dict[str, Any]:
            seen.append(np.stack([np.array(part).reshape(-1) for part in data]))
            return {"loss": 0.0}

    model = Recording()
    model.compile("sgd", "mse", run_eagerly=True)
    inputs = np.arange(22, dtype=np.float32)[:, None]
    given = getattr(batch_feeds, feed)(inputs, -inputs)
    weights = inputs[:, 0] / 2
    of_weighted = (True,) if feed == "TensorFlowFeed" else ()
    weighing = getattr(batch_feeds, feed)(inputs, -inputs, *of_weighted)
    for epoch, sizes in enumerate([(8, 8, 6), (3, 9, 10), (22,)], start=1):
        plan = make_plan(epoch=epoch, sizes=sizes)
        seen.clear()
        model.fit(**given.arguments(plan.order, plan.batch_sizes), epochs=1, verbose=0)
        assert [batch[0].tolist() for batch in seen] == [batch.tolist() for batch in plan.batches()]
        assert all(np.array_equal(batch[0], -batch[1]) for batch in seen)
        seen.clear()
        model.fit(**weighing.arguments(plan.order, plan.batch_sizes, weights), epochs=1, verbose=0)
        assert [batch[2].tolist() for batch in seen] == [(batch / 2).tolist() for batch in plan.batches()]


def test_trials_leave_no_graphs_behind(make_dataset: MakeDataset, make_plan: MakePlan, recipe: MakeRecipe) -> None:
    engine = FitEngine(make_dataset(), Path())
    counts = []
    for seed in (1, 2, 3):
        engine.run_epoch(engine.start(recipe(optimizer="adam"), Seeds(seed, 2, 3)), make_plan())
        gc.collect()
        counts.append(sum(type(kept).__name__ == "FuncGraph" for kept in gc.get_objects()))
    assert counts[1] == counts[2]


def test_weights_are_copies_in_the_models_order(
    make_dataset: MakeDataset, make_plan: MakePlan, recipe: MakeRecipe
) -> None:
    engine = FitEngine(make_dataset(), Path())
    state = engine.start(recipe(), SEEDS)
    kept = engine.weights(state)
    before = [weight.copy() for weight in kept]
    engine.run_epoch(state, make_plan())
    assert_close(kept, before, 0)
    assert_close(engine.weights(state), state.model.get_weights(), 0)


def test_large_validation_splits_are_predicted_in_parts(
    make_dataset: MakeDataset, make_plan: MakePlan, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nightune.models.engines.prediction.PREDICTION_BYTES", 1)
    dataset = make_dataset(examples=75)
    engine = FitEngine(dataset, Path())
    state, output = engine.run_epoch(engine.start(recipe(), SEEDS), make_plan(sizes=[75]))
    expected = state.model.predict_on_batch(dataset.validation.inputs)
    np.testing.assert_allclose(output.outputs, expected, atol=1e-6)


def test_a_plan_that_the_recipe_did_not_announce_is_refused(
    make_dataset: MakeDataset, make_plan: MakePlan, recipe: MakeRecipe
) -> None:
    engine = FitEngine(make_dataset(), Path())
    state = engine.start(recipe(), SEEDS)
    with pytest.raises(ValueError, match="the plan decays weights"):
        engine.run_epoch(state, make_plan(shrinks=0.1))
    with pytest.raises(ValueError, match="the plan penalizes weights"):
        engine.run_epoch(state, make_plan(l2=0.1))


def test_training_prints_nothing_over_many_trials(
    make_dataset: MakeDataset,
    make_plan: MakePlan,
    recipe: MakeRecipe,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = FitEngine(make_dataset(), Path())
    for _ in range(6):  # TensorFlow complains of retracing from the fifth model on
        engine.run_epoch(engine.start(recipe(), SEEDS), make_plan(sizes=[22]))
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""
    assert caplog.messages == []


def train_and_save(path: Path) -> None:
    """Run a fixed training on this process' backend from fixed weights, and write the results."""
    generator = np.random.default_rng(0)
    split = Examples(generator.normal(size=(22, 5)).astype(np.float32), generator.integers(0, 3, 22).astype(np.int32))
    engine = FitEngine(Dataset(split, split, split, "multiclass", (0, 1, 2), "", (), None, {}), Path())
    params = {"optimizer": "adam", "penalty.kind": "elastic", "weight_decay.profile": "fixed", "model.units": [4]}
    state = engine.start(read_recipe(params), SEEDS)
    state.model.set_weights([generator.normal(size=weight.shape) for weight in engine.weights(state)])
    losses = []
    for epoch, sizes in enumerate(([8, 8, 6], [6, 8, 8]), start=1):  # JAX compiles for each size
        order, steps = generator.permutation(22).astype(np.int32), np.arange(1, len(sizes) + 1, dtype=np.float32)
        strengths = (0.0, 0.01 * epoch, 0.1 / epoch, 0.0)  # λ, l1, l2, penalty
        plan = EpochPlan(epoch, order, np.array(sizes, np.int32), 0.02 * steps, 0.01 * steps, *strengths)
        state, output = engine.run_epoch(state, plan)
        losses.append(output.loss)
    np.savez(path, *engine.weights(state), output.outputs, np.array(losses))


@pytest.mark.nights
def test_tensorflow_and_jax_train_the_same_plan_alike(tmp_path: Path) -> None:
    here, there = tmp_path / "here.npz", tmp_path / "there.npz"
    train_and_save(here)
    in_backend("jax", __name__, "train_and_save(Path(sys.argv[1]) / 'there.npz')", tmp_path)
    with np.load(here) as first, np.load(there) as second:
        assert_close(list(first.values()), list(second.values()), tolerance=2e-5)
