"""In every engine a NaN from inside the model ends the training and is never in the returned weights."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nightune.models.engines.make import make_engine
from nightune.models.recipe.recipe import Recipe
from nightune.models.training.loop import train
from tests.models.conftest import BACKEND, FEW_RULES, MakeDataset


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, save_checkpoint
    import keras

    from nightune.models.training.checkpoint import save_checkpoint


EXPLODES = """
class Explodes(layers.Layer):
    '''Multiplies by a weight that becomes NaN when it is called in training for the n-th time.'''
    def __init__(self, call_number, in_validation):
        super().__init__()
        self.call_number, self.in_validation = call_number, in_validation
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False, name="calls")

    def call(self, inputs, training=False):
        if training:
            self.calls.assign_add(1.0)
        if training == self.in_validation:
            return inputs * self.scale
        return inputs * self.scale * ops.where(self.calls == self.call_number, float("nan"), 1.0)

def build(call_number: int, in_validation: bool, output_size: int):
    return keras.Sequential([keras.Input((5,)), Explodes(call_number, in_validation), layers.Dense(output_size)])
"""


@pytest.mark.parametrize("name", ["fit", BACKEND])
@pytest.mark.parametrize(
    "place",  # the call that returns NaN, whether in validation, and its epoch
    [(1, False, 1), (5, False, 2), (6, False, 2), (6, True, 2)],
    ids=["at once", "mid-epoch", "last update", "validation only"],
)
def test_an_explosion_inside_an_engine_never_returns_weights_that_are_not_finite(
    make_dataset: MakeDataset,
    recipe: Callable[..., Recipe],
    user_model: Callable[[str], str],
    tmp_path: Path,
    name: str,
    place: tuple[int, bool, int],
) -> None:
    call_number, in_validation, epoch = place
    dataset = make_dataset()
    engine = make_engine(name, dataset, tmp_path, rules=FEW_RULES)
    given = {"model__call_number": call_number, "model__in_validation": in_validation}
    exploding = recipe(model__architecture=user_model(EXPLODES), batch_size__size=8, **given)
    outcome = train(engine, exploding, dataset, epochs=5, seed=3, monitor="val_loss", direction="minimize")
    assert (outcome.status, outcome.best_epoch, outcome.epochs) == ("diverged", epoch - 1, epoch)
    assert all(np.isfinite(weight).all() for weight in outcome.weights)
    assert save_checkpoint(engine, outcome, tmp_path / "model.keras") is (epoch > 1)


@pytest.mark.skipif(BACKEND == "jax", reason="it runs the test above on JAX, where it runs already")
@pytest.mark.nights
def test_the_same_explosions_on_jax(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    tests = [sys.executable, "-m", "pytest", "-q", __file__, "-k", "explosion_inside_an_engine"]
    options = ["-p", "no:cacheprovider", f"--basetemp={tmp_path / 'jax'}"]
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    ended = subprocess.run([*tests, *options], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-4000:]
    assert "8 passed" in ended.stdout
