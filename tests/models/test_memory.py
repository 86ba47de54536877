"""Out of memory, an epoch restarts with fewer examples at a time, and a trial fails only after single ones."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset
from nightune.models.recipe.params import read_recipe
from nightune.models.recipe.recipe import Recipe
from nightune.models.training.plan import EpochPlan
from tests.models.conftest import SEEDS, trained


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global tf, FitEngine, FitState, is_out_of_memory
    import tensorflow as tf

    from nightune.models.engines.fit.engine import FitEngine
    from nightune.models.engines.fit.fitted_epoch import FitState
    from nightune.models.engines.memory import is_out_of_memory


MakeDataset = Callable[..., Dataset]
MakePlan = Callable[..., EpochPlan]
MakeRecipe = Callable[..., Recipe]


def assert_same_weights(engine: FitEngine, first: FitState, second: FitState) -> None:
    for one, other in zip(engine.weights(first), engine.weights(second), strict=True):
        np.testing.assert_array_equal(one, other)


SMALL_MEMORY = """
import tensorflow as tf

tried = []

def check(size):
    tried.append(int(size))
    if size > LIMIT:
        raise MemoryError(f"no room for {size}")
    return size

class Memory(keras.layers.Layer):
    def call(self, inputs, training=False):
        if not training:
            return inputs
        with tf.control_dependencies([tf.numpy_function(check, [tf.shape(inputs)[0]], tf.int32)]):
            return tf.identity(inputs)

def build(output_size):
    model = keras.Sequential([keras.Input((5,)), layers.Dense(4), layers.Dropout(0.3), layers.Dense(output_size)])
    model.add(Memory())
    model.tried = tried
    return model
"""


@pytest.mark.parametrize("batches", [{"batch_size.policy": "random"}, {"batch_size.micro_size": 12}])
def test_out_of_memory_the_epoch_starts_over_in_smaller_micro_batches(
    make_plan: MakePlan,
    make_dataset: MakeDataset,
    user_model: Callable[[str], str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    batches: dict[str, Any],
) -> None:
    """TensorFlow's own error, in the third update: weights, slots and noise are as if it had never been attempted."""
    reference = user_model(SMALL_MEMORY.replace("LIMIT", "4"))
    plans = [make_plan([3, 3, 16], epoch=epoch, rates=0.05, shrinks=0.01) for epoch in (1, 2)]
    params = {"optimizer": "adam", "weight_decay.profile": "fixed", "model.architecture": reference}
    engine = FitEngine(make_dataset(), tmp_path)
    cap = 4 if batches.get("batch_size.policy") else 3
    expected, _ = trained(engine, read_recipe({**params, "batch_size.micro_size": cap}), plans)
    with caplog.at_level(logging.WARNING, "nightune"):
        state, outputs = trained(engine, read_recipe({**params, **batches}), plans)
    assert_same_weights(engine, state, expected)
    assert int(state.model.optimizer.iterations) == 6
    assert [output.statistics["micro_batch_size"] for output in outputs] == [float(cap)] * 2
    assert caplog.messages[-1] == f"out of memory with {2 * cap} examples at once; restarting epoch 1 with {cap}"


def test_a_trial_fails_for_memory_only_after_trying_single_examples(
    make_plan: MakePlan, make_dataset: MakeDataset, recipe: MakeRecipe, user_model: Callable[[str], str], tmp_path: Path
) -> None:
    engine = FitEngine(make_dataset(), tmp_path)
    state = engine.start(recipe(model__architecture=user_model(SMALL_MEMORY.replace("LIMIT", "0"))), SEEDS)
    tried = sys.modules[type(state.model.layers[-1]).__module__].tried
    with pytest.raises(Exception, match="no room for 1") as caught:
        engine.run_epoch(state, make_plan([22]))
    assert is_out_of_memory(caught.value)
    assert tried == [22, 11, 5, 2, 1]


def test_another_error_is_not_taken_for_a_lack_of_memory(
    make_plan: MakePlan, make_dataset: MakeDataset, recipe: MakeRecipe, user_model: Callable[[str], str], tmp_path: Path
) -> None:
    engine = FitEngine(make_dataset(), tmp_path)
    code = SMALL_MEMORY.replace("LIMIT", "4").replace("MemoryError", "ArithmeticError")
    state = engine.start(recipe(model__architecture=user_model(code)), SEEDS)
    with pytest.raises(Exception, match="no room for 22"):
        engine.run_epoch(state, make_plan([22]))


@pytest.mark.nights
def test_errors_of_a_real_lack_of_memory_are_recognized() -> None:
    """By requesting 64 TiB and more."""
    jax = pytest.importorskip("jax")
    too_many = 2**44
    asked: dict[str, Callable[[], Any]] = {
        "numpy": lambda: np.ones(too_many),
        "tensorflow": lambda: tf.zeros(too_many),
        "jax": lambda: jax.numpy.zeros(too_many).block_until_ready(),
        "jax compiled": lambda: jax.jit(lambda x: (jax.numpy.zeros(too_many) + x).cumsum())(1.0).block_until_ready(),
    }
    for name, ask in asked.items():
        with pytest.raises(Exception) as caught:  # noqa: PT011 - which one it is, is the question
            ask()
        assert is_out_of_memory(caught.value), name
    assert not is_out_of_memory(jax.errors.JaxRuntimeError("INVALID_ARGUMENT: shapes"))
    assert not is_out_of_memory(ValueError("a room of one's own"))


# Trials on a JAX whose memory holds blocks of so many examples; the call that fails has used up its state.
JAX_CODE = """
import logging, sys
from pathlib import Path
import jax, numpy as np
from nightune.models.data.dataset import Dataset, Examples
from nightune.models.recipe.params import read_recipe
from nightune.models.engines.compiled import engine as compiled
from nightune.models.engines.compiled.jax_backend import JaxProgram, make_jax_engine
from nightune.models.training.loop import train

generator = np.random.default_rng(0)
split = Examples(generator.normal(size=(50, 5)).astype(np.float32), generator.integers(0, 3, 50).astype(np.int32))
dataset = Dataset(split, split, split, "multiclass", (0, 1, 2), "0" * 16, (), None, {})
params = {"optimizer": "adam", "batch_size.policy": "geometric", "batch_size.size": 8, "batch_size.factor": 2.0}
recipe = read_recipe({**params, "weight_decay.profile": "fixed", "learning_rate.peak": 0.05, "model.units": [4]})

def outcome():
    engine = make_jax_engine(dataset, Path())
    return train(engine, recipe, dataset, epochs=4, seed=5, monitor="val_loss", direction="minimize")

expected, real, real_epochs, logged = outcome(), JaxProgram.train, JaxProgram.train_epochs, []

def limited(self, state, updates, before, shape):
    result = real(self, state, updates, before, shape)
    refuse_large(shape)
    return result

def limited_epochs(self, state, numbers, plans):
    result = real_epochs(self, state, numbers, plans)
    refuse_large(self.parts(plans[0])[0].shape)
    return result

def refuse_large(shape):
    if shape.block > LIMITS[min(len(logged), len(LIMITS) - 1)]:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 64 bytes.")

class Saying(logging.Handler):
    def emit(self, record):
        logged.append(record.getMessage())

logging.getLogger("nightune").addHandler(Saying())
JaxProgram.train, JaxProgram.train_epochs = limited, limited_epochs
compiled.MAXIMUM_PLAN_BYTES = KEPT
LIMITS = [16]

def check_equal(small, expected):
    for one, other in zip(expected.weights, small.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)
    np.testing.assert_allclose(small.curves["loss"], expected.curves["loss"], rtol=1e-5)

small = outcome()
check_equal(small, expected)
assert small.curves["batch_size"] == [8.0, 16.0, 32.0, 50.0], small.curves
assert small.curves["micro_batch_size"] == [16.0, 16.0], small.curves
assert logged == ["out of memory with 32 examples at once; restarting epoch 3 with 16"], logged

logged.clear()
LIMITS = [16, 8]  # there is less when it is tried again
small = outcome()
check_equal(small, expected)
assert [line.split("; ")[1] for line in logged] == ["restarting epoch 3 with 16", "restarting epoch 3 with 8"], logged

logged.clear()
LIMITS = [64]
recipe = read_recipe({"batch_size.size": 16, "learning_rate.peak": 0.05, "model.units": [4]})
expected = outcome()
LIMITS = [8]
small = outcome()
check_equal(small, expected)
assert small.curves["micro_batch_size"] == [8.0] * 4, small.curves
assert logged == ["out of memory with 16 examples at once; restarting epoch 1 with 8"], logged

LIMITS = [0]
logged.clear()
try:
    outcome()
except jax.errors.JaxRuntimeError:
    pass
else:
    raise AssertionError("trained without memory")
assert [line.split()[4] for line in logged] == ["16", "8", "4", "2"], logged
"""


@pytest.mark.nights
@pytest.mark.parametrize("kept_bytes", [2**26, 0])
def test_a_compiled_engine_continues_in_smaller_blocks(kept_bytes: int) -> None:
    """From the trial's start, or from the last epoch's state where plans are too many to be kept."""
    pytest.importorskip("jax")
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": os.pathsep.join(sys.path)}
    code = JAX_CODE.replace("= KEPT", f"= {kept_bytes}")
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
