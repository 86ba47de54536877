"""Code of models that only runs eagerly, or draws numbers outside of Keras: refused with a remedy that trains."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nightune.models.errors import InputError
from tests.models.conftest import BACKEND, MakeDataset

MakeRecipe = Callable[..., Any]

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="code that is written for one backend")


def setup_module() -> None:
    """Import Keras, which takes seconds."""
    global try_build, refuse_untrainable, TrainingRows, TrainingSettings
    from nightune.models.engines.own_steps import refuse_untrainable
    from nightune.models.networks.training_rows import TrainingRows
    from nightune.models.networks.trial_build import try_build
    from nightune.models.techniques.losses import TrainingSettings


LAYER = """
import random
import numpy as np
import tensorflow as tf

class Own(layers.Layer):
    def __init__(self):
        super().__init__()
        self.generator = np.random.default_rng(0)
        self.states = tf.random.Generator.from_seed(0)
        self.seeds = keras.random.SeedGenerator()
        self.dense = layers.Dense(4) if {is_dense} else None

    def build(self, shape):
        if self.dense is not None:
            self.dense.build(shape)
        self.built = True

    def compute_output_shape(self, shape):
        return shape

    def call(self, x, training=None):
        {call}

def build(input_shape, output_size):
    inputs = keras.Input(input_shape)
    model = keras.Model(inputs, layers.Dense(output_size)(Own()(layers.Dense(4)(inputs))))
    model.compile(run_eagerly=True)
    return model
"""
FROZEN = (
    "return x * np.random.default_rng().integers(0, 2, 4).astype('float32')",
    "return x + np.random.normal(size=4).astype('float32') if training else x",
    "return x + self.generator.normal(size=4).astype('float32') if training else x",
    "return x * (1.0 + random.random())",
)
DRAWN = (
    "return x + keras.random.normal(ops.shape(x), seed=self.seeds) if training else x",  # the remedy
    "return x + keras.random.normal(ops.shape(x)) if training else x",
    "return x + tf.random.normal(tf.shape(x)) if training else x",
    "return x + self.states.normal(tf.shape(x)) if training else x",
)
EAGER = {
    "return ops.convert_to_tensor(np.sort(x.numpy()))": "return ops.sort(x)",
    "return ops.convert_to_tensor(np.sort(x))": "return ops.sort(x)",
    "return x * 2 if float(ops.sum(x)) > 0 else x": "return ops.where(ops.sum(x) > 0, x * 2, x)",
    "return ops.stack([self.dense(row[None])[0] for row in list(x)])": (
        "return ops.map(lambda row: self.dense(row[None])[0], x)"
    ),
}


@pytest.fixture
def problem(
    make_dataset: MakeDataset, recipe: MakeRecipe, user_model: Callable[[str], str], tmp_path: Path
) -> Callable[[str], str]:
    """A function from the code of a call to why it is refused before the first trial; empty if it trains."""
    dataset = make_dataset()

    def found(call: str, code: str = LAYER) -> str:
        reference = user_model(code.replace("{call}", call).replace("{is_dense}", str("self.dense" in call)))
        tried = try_build(reference, {}, TrainingSettings(), TrainingRows.of(dataset), tmp_path)
        if tried.problem is not None:
            return tried.problem.message
        try:
            refuse_untrainable(recipe(**{"model.architecture": reference}), dataset, tmp_path)
        except InputError as error:
            return error.message
        return ""

    return found


@pytest.mark.parametrize("call", FROZEN)
def test_numbers_that_a_program_would_repeat_are_refused(problem: Callable[[str], str], call: str) -> None:
    assert "keras.random.SeedGenerator()" in problem(call)


@pytest.mark.parametrize("call", DRAWN)
def test_numbers_that_a_program_draws_for_each_batch_are_trained(problem: Callable[[str], str], call: str) -> None:
    assert not problem(call)


@pytest.mark.parametrize(("call", "remedy"), EAGER.items())
def test_code_that_needs_values_is_refused_and_its_remedy_trains(
    problem: Callable[[str], str], call: str, remedy: str
) -> None:
    said = problem(call)
    assert "run_eagerly" in said
    assert remedy.removeprefix("return ").partition("(")[0] in said
    assert not problem(remedy)


STEP = """
import numpy as np
import tensorflow as tf

class Own(keras.Model):
    def __init__(self, *given, **options):
        super().__init__(*given, **options)
        self.seeds = keras.random.SeedGenerator()

    def train_step(self, data):
        x, y = data
        share = {call}
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x=x, y=y, y_pred=self(x * ops.cast(share, x.dtype), training=True))
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {"loss": loss}

def build(input_shape, output_size):
    inputs = keras.Input(input_shape)
    return Own(inputs, layers.Dense(output_size)(layers.Dense(4)(inputs)))
"""


def test_a_step_of_ones_own_draws_for_each_batch_or_is_refused(problem: Callable[[str], str]) -> None:
    said = [problem(f"np.random.{draw}", STEP) for draw in ("beta(0.2, 0.2)", "default_rng().normal()")]
    assert all("keras.random.beta((), 0.2, 0.2, seed=self.seeds)" in each for each in said)
    for fresh in ("keras.random.beta((), 0.2, 0.2, seed=self.seeds)", "tf.random.uniform(())", "0.5"):
        assert not problem(fresh, STEP)
    eager = STEP.replace("return Own(", "model = Own(") + "    model.compile(run_eagerly=True)\n    return model\n"
    assert not problem("np.random.beta(0.2, 0.2)", eager)


def test_a_file_that_makes_all_functions_eager_is_refused_once(problem: Callable[[str], str]) -> None:
    import tensorflow as tf

    code = LAYER.replace("    inputs =", "    tf.config.run_functions_eagerly(True)\n    inputs =")
    assert "run_functions_eagerly" in problem("return x", code)
    assert not tf.config.functions_run_eagerly()
    assert not problem("return x")
