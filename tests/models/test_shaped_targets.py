"""Targets of several axes (images, masks, sequences): read, trained as plain Keras does, measured and predicted."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset
from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.data.storage import open_dataset, save_dataset
from nightune.models.errors import InputError
from nightune.models.serving.predictor import Predictor
from nightune.models.techniques.losses import TrainingSettings
from tests.models.conftest import BACKEND, FEW_RULES

LOADER = """
import numpy as np
random = np.random.default_rng(0)
x = random.random((60, 4, 4, 1))
steps = random.normal(size=(60, 5, 3))
sums = np.cumsum(steps[..., :2], axis=1)
mask = x > 0.5
classes = np.digitize(x, [0.3, 0.6])
shares = random.dirichlet([1, 1, 1], 60)
def load(): return {result}
"""
NET = """
import keras
from keras import layers, ops

def image(input_shape, output_size, last: str = "sigmoid"):
    inputs = keras.Input(input_shape)
    x = layers.Conv2D(3, 3, padding="same", activation="relu")(inputs)
    return keras.Model(inputs, layers.Conv2D(output_size[-1], 3, padding="same", activation=last)(x))

def sequence(input_shape, output_size):
    inputs = keras.Input((None, input_shape[1]))
    return keras.Model(inputs, layers.Dense(output_size[-1])(layers.SimpleRNN(4, return_sequences=True)(inputs)))

def compiled(input_shape, output_size):
    model = sequence(input_shape, output_size)
    model.compile("adam", loss="cosine_similarity")
    return model

def last_of_one(input_shape, output_size):
    return image(input_shape, (*output_size, 1))

def softmax(input_shape, output_size):
    return image(input_shape, output_size, last="softmax")

def flat(input_shape, output_size):
    return keras.Sequential([keras.Input(input_shape), layers.Flatten(), layers.Dense(16)])

def last_step(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred)[:, -1, :], axis=-1)
"""

OWN = """
import numpy as np
def rows_of_images(y_true, y_pred):
    assert y_true.shape[1:] == y_pred.shape[1:] == (4, 4)
    return float(np.abs(y_true.sum(axis=1) - y_pred.sum(axis=1)).mean())
"""


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, build_model, make_engine, train, read_recipe, read_head, TrainingRows, Seeds
    global Head, Named, OwnMetric, Truth, own_model_metric, own_trivial_metric
    import keras

    from nightune.models.engines.make import make_engine
    from nightune.models.networks.architectures import build_model
    from nightune.models.networks.heads import Head, read_head
    from nightune.models.networks.named_metrics import Named
    from nightune.models.networks.own_baselines import own_model_metric, own_trivial_metric
    from nightune.models.networks.own_metrics import OwnMetric
    from nightune.models.networks.training_rows import TrainingRows
    from nightune.models.networks.truth import Truth
    from nightune.models.recipe.params import read_recipe
    from nightune.models.training.loop import train
    from nightune.models.training.seeds import Seeds


def load(folder: Path, result: str, **keys: Any) -> Dataset:
    (folder / "load.py").write_text(LOADER.format(result=result))
    (folder / "net.py").write_text(NET)
    return load_dataset(DataSettings("load.py:load", **keys), folder)


@pytest.mark.parametrize(
    ("result", "task", "shape"),
    [
        ("(x, x)", "regression", (4, 4, 1)),
        ("(x, (255 * x).astype('uint8'))", "regression", (4, 4, 1)),
        ("((3 * x).astype(int), (3 * x).astype(int))", "regression", (4, 4, 1)),
        ("(steps, sums)", "regression", (5, 2)),
        ("({'a': steps, 'b': x}, x[..., 0])", "regression", (4, 4)),
        ("(x, mask)", "multilabel", (4, 4, 1)),
        ("(x, mask[..., 0].astype('float32'))", "multilabel", (4, 4)),
    ],
)
def test_targets_of_several_axes_are_quantities_or_labels(
    tmp_path: Path, result: str, task: str, shape: tuple[int, ...]
) -> None:
    dataset = load(tmp_path, result)
    opened = open_dataset(save_dataset(dataset, tmp_path / "data"))
    for each in (dataset, opened):
        assert (each.task, each.output_size, each.output_count) == (task, shape, int(np.prod(shape)))
        assert each.train.targets.shape == (36, int(np.prod(shape)))
    assert any("target:" in finding for finding in dataset.findings)


@pytest.mark.parametrize(
    ("result", "keys", "key", "words"),
    [
        ("(x, classes)", {}, "data.task", "3 different whole numbers.*regression.*y\\[..., None\\]"),
        ("(x, np.eye(3)[classes[..., 0]])", {}, "data.task", "class at each position.*multilabel.*regression"),
        ("(x, mask)", {"task": "binary"}, "data.task", "one class for each row"),
        ("(x, x)", {"task": "multilabel"}, "data.task", "needs 0 and 1"),
        ("(x, mask.astype(str))", {}, "data.source", "texts"),
        ("(x, x * 0)", {}, "data.source", "nothing to learn"),
        ("(x, mask)", {"split": Split("stratified")}, "data.split.kind", "random"),
        ("(x[:50], x)", {}, "data.source", "50 inputs and 60 targets"),
    ],
)
def test_targets_that_cannot_be_trained_are_refused(
    tmp_path: Path, result: str, keys: dict[str, Any], key: str, words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        load(tmp_path, result, **keys)
    assert caught.value.key == key


def test_the_remedies_for_classes_at_each_position_are_read(tmp_path: Path) -> None:
    of_each = load(tmp_path, "(x, classes[..., 0][..., None] == np.arange(3))", task="multilabel")
    assert (of_each.task, of_each.output_size) == ("multilabel", (4, 4, 3))
    assert load(tmp_path, "(x, classes)", task="regression").task == "regression"


def recipe(function: str, **params: Any) -> Any:
    given = {"model.architecture": f"net.py:{function}", "stopping.rule": "none"}
    return read_recipe({**given, "optimizer": "gd", "learning_rate.peak": 0.1, **params})


def end(engine: Any, recipe: Any, dataset: Dataset) -> Any:
    return train(engine, recipe, dataset, epochs=3, seed=4, monitor="val_loss", direction="minimize")


def flattened(weights: Any) -> np.ndarray:
    return np.concatenate([np.asarray(weight).ravel() for weight in weights])


TRAINED = {
    "image": ("image", "(x, x)", {}, "mse"),
    "mask": ("image", "(x, mask)", {}, "binary_crossentropy"),
    "mask without an axis": ("last_of_one", "(x, mask[..., 0])", {}, "binary_crossentropy"),
    "sequence of any length": ("sequence", "(steps, sums)", {}, "mse"),
    "compiled": ("compiled", "(steps, sums)", {}, "cosine_similarity"),
    "own loss": ("sequence", "(steps, sums)", {"training.loss": "net.py:last_step"}, "last_step"),
}


AT_NIGHT = ("mask without an axis", "sequence of any length", "compiled")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.nights] * (name in AT_NIGHT)) for name in TRAINED]
)
def test_engines_train_as_plain_keras_does(tmp_path: Path, name: str) -> None:
    function, result, params, loss = TRAINED[name]
    dataset, tried = load(tmp_path, result), recipe(function, **params)
    fit, compiled = (make_engine(engine, dataset, tmp_path, rules=FEW_RULES) for engine in ("fit", BACKEND))
    plain = fit.model(tried, fit.weights(fit.start(tried, Seeds.from_trial(4))))
    targets = dataset.train.targets.reshape(-1, *plain(dataset.train.inputs[:1]).shape[1:]).astype("float32")
    own = {"last_step": lambda y_true, y_pred: keras.ops.mean(keras.ops.square(y_true - y_pred)[:, -1, :], axis=-1)}
    plain.compile(keras.optimizers.SGD(0.1), loss=own.get(loss, loss))
    expected = plain.fit(dataset.train.inputs, targets, batch_size=36, epochs=3, shuffle=False, verbose=0).history
    one, other = (end(engine, tried, dataset).curves for engine in (fit, compiled))
    for curves in (one, other):
        assert curves["loss"] == pytest.approx(expected["loss"], rel=1e-4)
    assert one["val_loss"] == pytest.approx(other["val_loss"], rel=1e-5)


def test_weights_of_rows_and_folds_go_with_targets_of_several_axes(tmp_path: Path) -> None:
    dataset = load(tmp_path, "(x, x, 1.0 + np.arange(60) % 3)", split=Split(folds=3))
    fold = dataset.folds[0]
    curves = []
    for name in ("fit", BACKEND):
        engine = make_engine(name, dataset, tmp_path, rules=FEW_RULES).of_fold(fold)
        curves.append(end(engine, recipe("image"), fold).curves)
    assert curves[0]["loss"] == pytest.approx(curves[1]["loss"], rel=1e-5)
    assert curves[0]["val_loss"] == pytest.approx(curves[1]["val_loss"], rel=1e-5)


def test_a_built_in_architecture_gives_outputs_of_the_shape(tmp_path: Path) -> None:
    dataset = load(tmp_path, "(x, x)")
    model = build_model("mlp", {}, dataset.input_shape, dataset.output_size, folder=tmp_path, seed=0)
    assert model.output_shape == (None, 4, 4, 1)


@pytest.mark.parametrize(
    ("function", "result", "keys", "words"),
    [
        ("flat", "(x, x)", {}, r"outputs \(None, 16\); the data needs \(None, 4, 4, 1\)"),
        ("softmax", "(x, classes == np.arange(3))", {"task": "multilabel"}, "sum to 1 over their last axis.*sigmoid"),
    ],
)
def test_a_model_of_other_outputs_is_refused(
    tmp_path: Path, function: str, result: str, keys: dict[str, Any], words: str
) -> None:
    dataset = load(tmp_path, result, **keys)
    shapes = dataset.input_shape, dataset.output_size

    def head() -> Any:
        model = build_model(f"net.py:{function}", {}, *shapes, folder=tmp_path, seed=0)
        return read_head(model, TrainingRows.of(dataset), folder=tmp_path)

    with pytest.raises(InputError, match=words):
        head()


@pytest.mark.parametrize(
    ("target", "is_read"), [("np.abs(x) / np.abs(x).sum((1, 2, 3), keepdims=True)", False), ("shares[:, None]", True)]
)
def test_a_map_that_sums_to_one_is_no_row_of_shares(tmp_path: Path, target: str, is_read: bool) -> None:
    """Keras' cross-entropy normalizes each part along the last axis, and is 0 where this has one value."""
    dataset = load(tmp_path, f"(x, {target})", task="regression")
    rows = TrainingRows.of(dataset)
    assert rows.targets is not None
    np.testing.assert_allclose(rows.targets.sum(axis=1), 1.0, atol=1e-5)
    inputs = keras.Input(dataset.input_shape)
    whole = keras.layers.Dense(dataset.output_count, activation="softmax")(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, keras.layers.Reshape(dataset.output_size)(whole))
    settings = TrainingSettings(loss="crossentropy")
    if is_read:
        assert read_head(model, rows, settings).loss_name == "categorical_crossentropy"
        return
    with pytest.raises(InputError, match="for classes"):
        read_head(model, rows, settings)
    model.compile(loss="categorical_crossentropy")
    with pytest.raises(InputError, match="compile another loss"):
        read_head(model, rows)


@pytest.mark.parametrize("result", ["(x, mask[..., 0])", "(x, x[..., 0])"])
def test_a_metric_of_the_user_reads_targets_in_their_shape(tmp_path: Path, result: str) -> None:
    dataset = load(tmp_path, result)
    (tmp_path / "own.py").write_text(OWN)
    own = OwnMetric.load("own.py:rows_of_images", tmp_path, "minimize")
    outputs = np.random.default_rng(0).uniform(0.1, 0.9, (len(dataset.validation), 16)).astype(np.float32)
    wanted = dataset.validation.targets.reshape(-1, 4, 4)
    expected = np.abs(outputs.reshape(-1, 4, 4).sum(axis=1) - wanted.sum(axis=1)).mean()
    head = Head("labels" if dataset.task == "multilabel" else "quantities", False, shape=(4, 4, 1))
    named = Named((), dataset.description, own)
    found = head.metrics(dataset.task, outputs, dataset.validation.targets, named=named)["rows_of_images"]
    assert found == pytest.approx(expected, rel=1e-5)
    description = {**dataset.description, "is_logits": False}
    judged = Truth(dataset.validation.targets, dataset.task == "regression", dataset.classes)
    model = own_model_metric(own, Predictor(None, None, description), outputs, judged, dataset)
    constant = own_trivial_metric(own, dataset, judged)
    assert model(np.ones((1, len(wanted))))[0] == pytest.approx(expected, rel=1e-5)
    assert np.isfinite(constant(np.ones((1, len(wanted))))[0])


def test_predictions_have_the_shape_and_the_units_of_the_targets(tmp_path: Path) -> None:
    dataset = load(tmp_path, "(steps, 7 + 3 * sums)", scale_target=True)
    scale = dataset.description["target_scale"]
    assert len(scale["mean"]) == 1
    model = build_model("net.py:sequence", {}, dataset.input_shape, dataset.output_size, folder=tmp_path, seed=0)
    answers = Predictor(model, None, {**dataset.description, "is_logits": False}).predict(dataset.train.inputs[:3])
    outputs = keras.ops.convert_to_numpy(model(dataset.train.inputs[:3]))
    np.testing.assert_allclose(answers, outputs * scale["deviation"][0] + scale["mean"][0], rtol=1e-5)


def test_the_same_numbers_in_another_shape_are_other_data(tmp_path: Path) -> None:
    versions = [load(tmp_path, f"(x, {y})").version for y in ("x", "x[..., 0]", "x.reshape(60, 16)")]
    assert len(set(versions)) == 3
