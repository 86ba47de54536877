"""Accumulation: micro-batches make the update of the whole batch, without new compilation."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightune.models.data.dataset import Dataset, Examples
from nightune.models.recipe.params import read_recipe
from nightune.models.recipe.recipe import Recipe
from nightune.models.training.engine import EpochOutput
from nightune.models.training.plan import EpochPlan
from nightune.models.training.seeds import Seeds


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, Cut, FitEngine, FitState
    import keras

    from nightune.models.engines.fit.accumulation import Cut
    from nightune.models.engines.fit.engine import FitEngine
    from nightune.models.engines.fit.fitted_epoch import FitState


MakeDataset = Callable[..., Dataset]
MakePlan = Callable[..., EpochPlan]
MakeRecipe = Callable[..., Recipe]
SEEDS = Seeds(weights=1, order=2, dropout=3)

EVERYTHING = {
    "sgd": {"optimizer": "sgd", "one_minus_momentum": 0.1, "nesterov": True, "gradient_clip.kind": "global_norm"},
    "adam": {"optimizer": "adam", "weight_decay.profile": "fixed", "penalty.kind": "elastic"},
    "rmsprop": {"optimizer": "rmsprop", "centered": True, "one_minus_momentum": 0.1},
    "gd": {"optimizer": "gd"},
}


def trained(engine: FitEngine, recipe: Recipe, plans: list[EpochPlan]) -> tuple[FitState, list[EpochOutput]]:
    state, outputs = engine.start(recipe, SEEDS), []
    for plan in plans:
        state, output = engine.run_epoch(state, plan)
        outputs.append(output)
    return state, outputs


def assert_same_weights(engine: FitEngine, first: FitState, second: FitState, tolerance: float = 1e-6) -> None:
    for one, other in zip(engine.weights(first), engine.weights(second), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


@pytest.mark.parametrize("kind", EVERYTHING)
def test_micro_batches_make_the_update_of_the_whole_batch(
    make_dataset: MakeDataset, make_plan: MakePlan, kind: str
) -> None:
    """Batches of 8 in four micro-batches of 2, of 7 in three and a ragged one; slots, decay and penalties once each."""
    params = {"model.units": [4], **EVERYTHING[kind]}
    decays = {"shrinks": [0.01, 0.02, 0.01], "l1": 0.01, "l2": 0.02} if kind == "adam" else {}
    plans = [make_plan([8, 7, 7], rates=[0.05, 0.02, 0.05], epoch=epoch, **decays) for epoch in (1, 2)]
    engine = FitEngine(make_dataset(), Path())
    whole, expected = trained(engine, read_recipe(params), plans)
    cut, outputs = trained(engine, read_recipe({**params, "batch_size.micro_size": 2}), plans)
    # Centered RMSprop divides by a difference of two numbers, so that the last bits of a sum weigh more.
    assert_same_weights(engine, whole, cut, tolerance=1e-5 if kind == "rmsprop" else 1e-6)
    optimizers = whole.model.optimizer, cut.model.optimizer
    for one, other in zip(optimizers[0].variables, optimizers[1].variables, strict=False):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=0, atol=1e-6)
    assert [int(optimizer.iterations) for optimizer in optimizers] == [6, 6]
    for one, other in zip(expected, outputs, strict=True):
        assert other.loss == pytest.approx(one.loss, rel=1e-5)
        assert (one.statistics, other.statistics) == ({}, {"micro_batch_size": 2.0})


def test_the_table_of_an_embedding_is_accumulated_too(
    make_dataset: MakeDataset, make_plan: MakePlan, recipe: MakeRecipe, user_model: Callable[[str], str], tmp_path: Path
) -> None:
    """TensorFlow returns its gradient as a list of rows, which may repeat."""
    reference = user_model(
        "def build(output_size):\n"
        " words = [keras.Input((5,)), layers.Lambda(lambda x: ops.cast(ops.clip(x + 3, 0, 6), 'int32'))]\n"
        " return keras.Sequential([*words, layers.Embedding(7, 2), layers.Flatten(), layers.Dense(output_size)])"
    )
    engine, plans = FitEngine(make_dataset(), tmp_path), [make_plan([8, 7, 7], rates=0.05)]
    words = recipe(model__architecture=reference, one_minus_momentum=0.1)
    cut = recipe(
        model__architecture=reference, one_minus_momentum=0.1, batch_size__policy="gns", batch_size__micro_size=2
    )
    assert_same_weights(engine, trained(engine, words, plans)[0], trained(engine, cut, plans)[0])


def test_accumulation_carries_nothing_into_the_next_epoch(
    make_dataset: MakeDataset, make_plan: MakePlan, recipe: MakeRecipe
) -> None:
    engine = FitEngine(make_dataset(), Path())
    state, _ = trained(engine, recipe(batch_size__micro_size=3), [make_plan([8, 8, 6])])
    assert all(not np.any(total.numpy()) for total in state.model.optimizer.accumulated)


@given(
    sizes=st.lists(st.integers(1, 70), min_size=1, max_size=20),
    cap=st.integers(0, 40),
    parts=st.integers(1, 5),
    in_powers=st.booleans(),
)
def test_a_cut_epoch_has_every_example_once_in_its_own_update(
    sizes: list[int], cap: int, parts: int, in_powers: bool
) -> None:
    batch_sizes = np.array(sizes, np.int32)
    micro = Cut(cap, parts, in_powers).of(batch_sizes)
    np.testing.assert_array_equal(np.bincount(micro.updates, weights=micro.sizes), batch_sizes)
    np.testing.assert_allclose(np.bincount(micro.updates, weights=micro.shares), 1.0, atol=1e-5)
    np.testing.assert_array_equal(np.flatnonzero(micro.is_last), np.cumsum(np.bincount(micro.updates)) - 1)
    assert np.all(np.diff(micro.updates) >= 0)
    assert micro.sizes.max() <= (cap or batch_sizes.max())
    if parts <= batch_sizes[0] == batch_sizes.max():
        assert (micro.updates == 0).sum() >= parts or -(-batch_sizes[0] // parts) * (parts - 1) >= batch_sizes[0]
    if in_powers:
        assert all(size & (size - 1) == 0 for size in micro.sizes.tolist())
        assert len(set(micro.sizes.tolist())) <= int(batch_sizes.max()).bit_length()


COUNTING = """
calls = []

def build(output_size):
    class Counting(keras.layers.Layer):
        def call(self, inputs):
            calls.append(inputs.shape[0])
            return inputs

    return keras.Sequential([keras.Input((5,)), Counting(), layers.Dense(output_size)])
"""


def random_plans(examples: int, make_plan: MakePlan) -> list[EpochPlan]:
    """Return epochs with 50 different sizes in total."""
    sizes = np.random.default_rng(0).permutation(np.arange(1, 51)).tolist()
    plans = []
    while sizes:
        epoch: list[int] = []
        while sizes and sum(epoch) + sizes[0] <= examples:
            epoch.append(sizes.pop(0))
        left_over = examples - sum(epoch)
        plans.append(make_plan([*epoch, left_over] if left_over else epoch, rates=0.01, epoch=len(plans) + 1))
    return plans


@pytest.mark.parametrize("micro_size", [0, 8])
def test_fifty_batch_sizes_are_traced_no_more_often_than_one(
    make_dataset: MakeDataset,
    make_plan: MakePlan,
    recipe: MakeRecipe,
    user_model: Callable[[str], str],
    tmp_path: Path,
    micro_size: int,
) -> None:
    reference = user_model(COUNTING)
    engine = FitEngine(make_dataset(examples=100), tmp_path)
    counting = recipe(model__architecture=reference, batch_size__micro_size=micro_size, batch_size__policy="random")
    state = engine.start(counting, SEEDS)
    calls = sys.modules[type(state.model.layers[0]).__module__].calls
    state, _ = engine.run_epoch(state, make_plan([30, 30, 30, 10]))
    first = len(calls)
    plans = random_plans(100, make_plan)
    assert len({size for plan in plans for size in plan.batch_sizes.tolist()}) >= 50
    for plan in plans:
        state, _ = engine.run_epoch(state, plan)
    assert len(calls) == first


def test_linear_scaling_is_exact_in_the_limit_of_small_rates(
    make_dataset: MakeDataset, make_plan: MakePlan, recipe: MakeRecipe
) -> None:
    """Four updates of (B, η) against one of (4B, 4η), on a linear model: halving η halves their difference."""
    dataset = make_dataset("regression", examples=32)
    engine = FitEngine(dataset, Path())
    linear = recipe(model__units=[], optimizer="sgd")
    start = np.concatenate([weight.ravel() for weight in engine.weights(engine.start(linear, SEEDS))])

    def displacement(sizes: list[int], rate: float) -> np.ndarray:
        state, _ = trained(engine, linear, [make_plan(sizes, rates=rate)])
        return np.concatenate([weight.ravel() for weight in engine.weights(state)]).astype(np.float64) - start

    differences = []
    for rate in (0.02, 0.01):
        many, once = displacement([8] * 4, rate), displacement([32], 4 * rate)
        differences.append(np.linalg.norm(many - once) / np.linalg.norm(once))
    assert differences[0] < 0.2
    assert differences[0] / differences[1] == pytest.approx(2.0, abs=0.2)


def test_batch_normalization_sees_micro_batches(
    make_dataset: MakeDataset, make_plan: MakePlan, recipe: MakeRecipe, user_model: Callable[[str], str], tmp_path: Path
) -> None:
    """As declared: the moving mean takes in one micro-batch after the other."""
    reference = user_model(
        "def build(output_size):\n"
        " return keras.Sequential([keras.Input((5,)), layers.BatchNormalization(), layers.Dense(output_size)])"
    )
    dataset, plan = make_dataset(), make_plan([11, 11])
    engine = FitEngine(dataset, tmp_path)
    state, _ = trained(engine, recipe(model__architecture=reference, batch_size__micro_size=4), [plan])
    moving = np.zeros(5)
    for indices in np.split(plan.order, np.cumsum([4, 4, 3, 4, 4])):
        moving = 0.99 * moving + 0.01 * dataset.train.inputs[indices].mean(axis=0)
    np.testing.assert_allclose(state.model.layers[0].moving_mean.numpy(), moving, atol=1e-6)


JAX_MODEL = """
calls = []

class Memory(keras.layers.Layer):
    def call(self, inputs, training=False):
        if training:
            calls.append(inputs.shape[0])
            if (inputs.shape[0] or 0) > LIMIT:  # TensorFlow traces for any size
                raise MemoryError(f"no room for {inputs.shape[0]}")
        return inputs

def build(output_size):
    model = keras.Sequential([keras.Input((5,)), Memory(), layers.Dense(4), layers.Dense(output_size)])
    model.calls = calls
    return model
"""


def accumulate_and_save(path: str, folder: str, in_jax: bool) -> None:
    """Accumulate on this process' backend from fixed weights in micro-batches of powers of two; write the results.

    On JAX memory runs out during training, and the compiled sizes are counted.
    """
    generator = np.random.default_rng(0)
    split = Examples(generator.normal(size=(22, 5)).astype(np.float32), generator.integers(0, 3, 22).astype(np.int32))
    engine = FitEngine(Dataset(split, split, split, "multiclass", (0, 1, 2), "", (), None, {}), Path(folder))
    params = {"optimizer": "adam", "penalty.kind": "elastic", "weight_decay.profile": "fixed"}
    params |= {"model.architecture": "user.py:build", "batch_size.policy": "divebatch"}
    cap = 4 if in_jax else 2
    state = engine.start(read_recipe({**params, "batch_size.micro_size": cap}), SEEDS)
    state.model.set_weights([generator.normal(size=weight.shape) for weight in engine.weights(state)])
    statistics = []
    for epoch, sizes in enumerate(([2, 8, 8, 4], [9, 8, 5], [2, 20]), start=1):
        order, steps = generator.permutation(22).astype(np.int32), np.arange(1, len(sizes) + 1, dtype=np.float32)
        strengths = (0.0, 0.01 * epoch, 0.1 / epoch, 0.0)  # λ, l1, l2, penalty
        plan = EpochPlan(epoch, order, np.array(sizes, np.int32), 0.02 * steps, 0.01 * steps, *strengths)
        state, output = engine.run_epoch(state, plan)
        statistics.append([output.loss, *(value for _, value in sorted(output.statistics.items()))])
    np.savez(path, *engine.weights(state), output.outputs, np.array(statistics))
    if in_jax:
        calls = sys.modules[type(state.model.layers[0]).__module__].calls
        assert keras.backend.backend() == "jax"
        assert set(calls) == {1, 2, 4}, calls
        cuts_of_random_sizes(engine)


def cuts_of_random_sizes(engine: FitEngine) -> None:
    """On JAX they are split into powers of two where only rounding changes."""
    for params, is_cut in ({"model.units": [4]}, True), ({"model.units": [4], "model.dropout": 0.5}, False):
        state = engine.start(read_recipe({**params, "batch_size.policy": "random"}), SEEDS)
        assert (state.cut == Cut(in_powers=True)) == is_cut


@pytest.mark.nights
def test_jax_accumulates_as_tensorflow_does_in_powers_of_two_and_within_its_memory(
    tmp_path: Path,
) -> None:
    pytest.importorskip("jax")
    (tmp_path / "user.py").write_text(
        f"import keras\nfrom keras import layers, ops\n{JAX_MODEL.replace('LIMIT', '3')}", encoding="utf-8"
    )
    here, there = str(tmp_path / "here.npz"), str(tmp_path / "jax.npz")
    accumulate_and_save(here, str(tmp_path), False)
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "PYTHONPATH": os.pathsep.join([".", str(Path(__file__).parent)]),
    }
    code = f"import test_accumulation as t; t.setup_module(); t.accumulate_and_save({there!r}, {str(tmp_path)!r}, True)"
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    with np.load(here) as first, np.load(there) as second:
        for one, other in zip(first.values(), second.values(), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-5)
