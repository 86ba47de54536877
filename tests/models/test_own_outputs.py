"""Outputs that only a loss of the user reads: what makes them such, what is refused, and what measures them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.errors import InputError
from nightune.models.techniques.losses import HeadSettings


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, TrainingRows, best_constant, build_model, own_loss, parameters_of, read_head, Predictor
    import keras

    from nightune.models.networks.architectures import build_model
    from nightune.models.networks.heads import read_head
    from nightune.models.networks.losses import own_loss
    from nightune.models.networks.own_outputs import best_constant, parameters_of
    from nightune.models.networks.training_rows import TrainingRows
    from nightune.models.serving.predictor import Predictor


CODE = """
import keras
from keras import layers, ops


def build(input_shape, output_size, width: int = 2, loss: str = ""):
    model = keras.Sequential([keras.Input(input_shape), layers.Dense(width)])
    if loss:
        model.compile(loss=normal if loss == "normal" else loss)
    return model


def normal(y_true, y_pred):
    return y_pred[:, 1] + 0.5 * ((y_true[:, 0] - y_pred[:, 0]) / ops.exp(y_pred[:, 1])) ** 2


def squares(y_true, y_pred):
    return ops.mean((y_true - y_pred) ** 2, axis=-1)


def pinballs(y_true, y_pred):
    errors, levels = y_true - y_pred, ops.array([0.1, 0.5, 0.9])
    return ops.mean(ops.maximum(levels * errors, (levels - 1.0) * errors), axis=-1)


def by_group(y_true, y_pred):
    share = ops.take(ops.array([1.0, 2.0, 3.0]), ops.cast(y_true[:, 1], "int32"))
    return (y_true[:, 0] - share * y_pred[:, 0]) ** 2


def far(y_true, y_pred):
    return ops.mean(ops.relu(ops.abs(y_true - y_pred) - 100.0), axis=-1)
"""
GENERATOR = np.random.default_rng(0)
INPUTS = GENERATOR.normal(size=(32, 3)).astype(np.float32)
ONE, TWO = GENERATOR.normal(3.0, 0.5, 32), GENERATOR.normal(size=(32, 2))
GROUPED = np.stack([ONE + 3.0, np.arange(32) % 3], axis=1)
STATED = HeadSettings(loss="net.py:normal")
ITSELF = "ops.mean(normal(ops.reshape(y, (-1, 1)), y_pred))"  # in place of the study's


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(CODE)
    return tmp_path


def built(folder: Path, targets: np.ndarray, stated: HeadSettings, **parameters: Any) -> Any:
    size = 1 if targets.ndim == 1 else targets.shape[1]
    return build_model("net.py:build", parameters, (3,), size, folder=folder, seed=0, quantity_loss=stated.loss)


def settled(folder: Path, targets: np.ndarray, stated: HeadSettings, is_scaled: bool = False, **parameters: Any) -> Any:
    size = 1 if targets.ndim == 1 else targets.shape[1]
    rows = TrainingRows("regression", size, INPUTS, targets, (-9.0, 9.0), is_scaled)
    return read_head(built(folder, targets, stated, **parameters), rows, stated, folder)


@pytest.mark.parametrize("parameters", [{"loss": "normal"}, {}])
def test_a_users_loss_makes_other_outputs_parameters(folder: Path, parameters: dict[str, str]) -> None:
    head = settled(folder, ONE, HeadSettings() if parameters else STATED, **parameters)
    assert head.meaning == "parameters"
    assert len(head.parameters) == 2
    assert head.description["outputs"] == ["output_0", "output_1"]
    assert set(head.metrics("regression", GENERATOR.normal(size=(32, 2)), ONE)) == {"loss"}


def test_as_many_outputs_as_targets_are_parameters_only_if_the_study_says_so(folder: Path) -> None:
    found = settled(folder, TWO, STATED)
    assert found.meaning == "quantities"
    assert "parameters" in found.remarks[-1]
    assert not settled(folder, TWO, HeadSettings(loss="net.py:squares")).remarks
    assert settled(folder, TWO, HeadSettings("parameters", "net.py:normal")).meaning == "parameters"


@pytest.mark.parametrize(
    ("targets", "width", "stated", "loss", "words"),
    [
        (ONE, 3, HeadSettings(), "", r"data needs \(None, 1\); .*loss = \"path/to/file.py:function\""),
        (TWO, 1, HeadSettings(), "mae", r"data needs \(None, 2\); end in .*loss = \"path/to/file.py:function\""),
        (TWO, 1, HeadSettings(loss="huber"), "normal", r"data needs \(None, 2\)"),
        (ONE, 2, HeadSettings(loss="mse"), "normal", r"data needs \(None, 1\); "),
    ],
)
def test_a_loss_of_keras_compares_as_many_outputs_as_targets(
    folder: Path, targets: np.ndarray, width: int, stated: HeadSettings, loss: str, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        built(folder, targets, stated, width=width, loss=loss)


@pytest.mark.parametrize(
    ("targets", "width", "loss", "is_refused"),
    [
        (ONE, 3, "squares", True),
        (TWO, 1, "squares", True),
        (ONE, 3, "pinballs", False),
        (ONE, 2, "normal", False),
        (GROUPED, 1, "by_group", False),  # whose index no other column can be
        (ONE, 3, "far", False),  # 0 wherever it is tried
    ],
)
def test_a_loss_that_broadcasts_is_refused_unless_it_is_stated(
    folder: Path, targets: np.ndarray, width: int, loss: str, is_refused: bool
) -> None:
    stated = HeadSettings(loss=f"net.py:{loss}")
    if is_refused:
        with pytest.raises(InputError, match="broadcasting"):
            settled(folder, targets, stated, width=width)
        stated = HeadSettings("parameters", stated.loss)
    assert len(settled(folder, targets, stated, width=width).parameters) == width


@pytest.mark.parametrize(
    ("stated", "is_scaled", "key", "words"),
    [
        (STATED, True, "data.scale_target", "remove it"),
        (HeadSettings("parameters"), False, "training.outputs", "loss = "),
        (HeadSettings("quantities", "net.py:squares"), False, "model.architecture", "2 outputs for 1"),
    ],
)
def test_what_parameters_do_not_go_with_is_refused(
    folder: Path, stated: HeadSettings, is_scaled: bool, key: str, words: str
) -> None:
    width = 1 if stated.outputs == "parameters" else 2
    with pytest.raises(InputError, match=words) as caught:
        settled(folder, ONE, stated, is_scaled, width=width)
    assert caught.value.key == key


def test_the_best_constant_is_that_of_the_likelihood(folder: Path) -> None:
    loss, weights = own_loss("net.py:normal", "quantities", folder), np.repeat([1.0, 0.0], 16)
    for rows, given in ((ONE, None), (ONE[:16], weights)):
        found = best_constant(loss, (0.0, 0.0), ONE[:, None], given)
        np.testing.assert_allclose(found, [rows.mean(), np.log(rows.std())], atol=0.01)


def test_a_loss_is_not_that_of_another_number_of_parameters() -> None:
    outputs = np.ones((4, 2), np.float32)
    described = {"task": "regression", "outputs": ["output_0", "output_1"], "has_parameters": True}
    np.testing.assert_array_equal(parameters_of(Predictor(None, None, described), outputs, 2), outputs)
    for description, size in ((described, 3), ({"task": "regression"}, 2)):
        with pytest.raises(InputError, match="the model predicts"):
            parameters_of(Predictor(None, None, description), outputs, size)


def test_a_step_of_the_models_own_trains_parameters(folder: Path) -> None:
    from nightune.models.data.dataset import Dataset, Examples
    from nightune.models.engines.own_steps import refuse_unusable_step
    from nightune.models.recipe.params import read_recipe

    code = """

class Stepping(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)


def stepping(input_shape, output_size):
    inputs = keras.Input(input_shape)
    return Stepping(inputs, layers.Dense(2)(inputs))
"""
    (folder / "net.py").write_text(CODE + code)
    rows = Examples(INPUTS, ONE.astype(np.float32))
    dataset = Dataset(rows, rows, rows, "regression", None, "0" * 16, (), None, {})
    params = {"model.architecture": "net.py:stepping", "training.loss": "net.py:normal", "batch_size.size": 16}
    refuse_unusable_step(read_recipe(params), dataset, folder)
    by_itself = code.replace("super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)", ITSELF)
    (folder / "itself.py").write_text(CODE + by_itself)
    with pytest.raises(InputError, match="no effect on the model's own compute_loss") as caught:
        refuse_unusable_step(read_recipe({**params, "model.architecture": "itself.py:stepping"}), dataset, folder)
    assert caught.value.key == "training.loss"
