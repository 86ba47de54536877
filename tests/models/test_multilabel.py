"""Models of several labels train as plain Keras does, in both engines, also halted and with smoothed labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset, Examples
from nightune.models.engines.make import make_engine
from nightune.models.errors import InputError
from nightune.models.recipe.params import read_recipe
from nightune.models.training.controller import Controller
from nightune.models.training.engine import COMPILED_ENGINES, Engine
from nightune.models.training.loop import Outcome, train
from nightune.models.training.seeds import Seeds
from nightune.vocabulary import TASK_METRICS
from tests.models.conftest import FEW_RULES


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, FitEngine, TrainingRows, read_head
    import keras

    from nightune.models.engines.fit.engine import FitEngine
    from nightune.models.networks.heads import read_head
    from nightune.models.networks.training_rows import TrainingRows


NETS = """
import keras
from keras import layers

def logits(input_shape, output_size):
    return keras.Sequential([keras.Input(input_shape), layers.Dense(4, "tanh"), layers.Dense(output_size)])

def sigmoid(input_shape, output_size):
    return keras.Sequential([logits(input_shape, output_size), layers.Activation("sigmoid")])

def softmax(input_shape, output_size):
    return keras.Sequential([logits(input_shape, output_size), layers.Activation("softmax")])

def short(input_shape, output_size):
    return logits(input_shape, 2)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(NETS)
    return tmp_path


def labels_dataset() -> Dataset:
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(60, 5)).astype(np.float32)
    targets = (inputs[:, :3] + 0.5 * generator.normal(size=(60, 3)) > [0.0, 0.5, -0.5]).astype(np.int32)
    halves = [Examples(inputs[part], targets[part]) for part in (slice(30), slice(30, None))]
    return Dataset(*halves, halves[1], "multilabel", ("a", "b", "c"), "0" * 16, (), None, {})


def params(**given: Any) -> dict[str, Any]:
    known = {"optimizer": "adam", "learning_rate.peak": 0.05, "batch_size.size": 8, "stopping.rule": "none"}
    return {**known, **{name.replace("__", "."): value for name, value in given.items()}}


def end(engine: Engine, given: dict[str, Any], until: int | None = None, **resumed: Any) -> Outcome:
    recipe, dataset = read_recipe(given), labels_dataset()
    return train(
        engine, recipe, dataset, epochs=3, seed=5, monitor="val_loss", direction="minimize", until=until, **resumed
    )


CASES = {
    "logits": params(model__architecture="net.py:logits"),
    "smoothed sigmoids": params(model__architecture="net.py:sigmoid", penalty__label_smoothing=0.2),
}


@pytest.mark.parametrize("name", CASES)
def test_both_engines_train_as_plain_keras(folder: Path, name: str) -> None:
    given, dataset = CASES[name], labels_dataset()
    fit = FitEngine(dataset, folder)
    recipe, seeds = read_recipe(given), Seeds.from_trial(5)
    started = fit.start(recipe, seeds)
    plain = keras.models.clone_model(started.model)
    plain.set_weights(started.model.get_weights())
    is_logits = name == "logits"
    loss = keras.losses.BinaryCrossentropy(from_logits=is_logits, label_smoothing=recipe.penalty.label_smoothing)
    plain.compile(keras.optimizers.Adam(0.05), loss)
    controller = Controller(recipe, 30, 3, seeds.order, "val_loss", "minimize", "multilabel", outputs=3)
    for _ in range(3):
        plan = controller.next_epoch()
        assert plan is not None
        inputs, targets = dataset.train.inputs[plan.order], dataset.train.targets[plan.order]
        plain.fit(inputs, targets.astype(np.float32), batch_size=8, epochs=1, shuffle=False, verbose=0)
        controller.observe({"loss": 1.0, "val_loss": 1.0})
    ours = end(fit, given)
    compiled = end(make_engine(COMPILED_ENGINES[keras.backend.backend()], dataset, folder, rules=FEW_RULES), given)
    assert ours.best_epoch == compiled.best_epoch == 3
    for one, other in zip(ours.weights, plain.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
    outputs = plain.predict(dataset.validation.inputs, verbose=0)
    targets = dataset.validation.targets.astype(np.float32)
    expected = float(keras.losses.BinaryCrossentropy(from_logits=is_logits)(targets, outputs))
    for outcome in (ours, compiled):
        assert outcome.curves["val_loss"][-1] == pytest.approx(expected, rel=1e-5)
        assert {f"val_{metric}" for metric in TASK_METRICS["multilabel"]} <= set(outcome.curves)
    for one, other in zip(ours.weights, compiled.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["fit", "compiled"])
def test_a_halted_training_resumes_bit_equal(folder: Path, kind: str) -> None:
    name = COMPILED_ENGINES[keras.backend.backend()] if kind == "compiled" else kind
    engine, given = make_engine(name, labels_dataset(), folder, rules=FEW_RULES), CASES["smoothed sigmoids"]
    whole, halted = end(engine, given), end(engine, given, until=1)
    resumed = end(engine, given, halted=halted.halted)
    assert whole.curves["val_loss"] == resumed.curves["val_loss"]
    for one, other in zip(whole.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("name", "words"), [("softmax", ["sigmoid", '"multiclass"']), ("short", ["2 outputs", "3"])])
def test_a_model_that_does_not_fit_the_labels_is_refused(folder: Path, name: str, words: list[str]) -> None:
    from nightune.models.user_code import load_function

    model = load_function(f"net.py:{name}", folder, "model.architecture")((5,), 3)
    with pytest.raises(InputError) as caught:
        read_head(model, TrainingRows("multilabel", 3, np.zeros((2, 5), np.float32)))
    for word in words:
        assert word in caught.value.message


def test_an_article_penalty_of_labels_is_scaled_by_their_number() -> None:
    from nightune.models.techniques.penalties.penalties import PenaltySettings, keras_strengths

    settings = PenaltySettings(kind="l1", strength=0.3, convention="article")
    assert keras_strengths(settings, "multilabel", outputs=3).l1 == pytest.approx(0.1)
    assert keras_strengths(settings, "binary").l1 == 0.3
