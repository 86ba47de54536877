"""A class at each position: read, trained as plain Keras does in all engines, measured, compared by rows, predicted."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as oracle

from nightune.models.data.dataset import Dataset, Purpose
from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.data.storage import open_dataset, save_dataset
from nightune.models.errors import InputError
from nightune.models.serving.predictor import Predictor
from nightune.models.techniques.losses import TrainingSettings
from nightune.models.training.engine import COMPILED_ENGINES
from nightune.models.training.row_weights import ClassWeights
from nightune.vocabulary import TASK_METRICS
from tests.models.conftest import in_backend

LOADER = """
import numpy as np
random = np.random.default_rng(0)
x = random.random((60, 4, 4, 1))
steps = random.normal(size=(60, 5, 3))
tags = np.digitize(steps[..., 0], [-0.5, 0.5]) + 10
padded = np.where(np.arange(5) < random.integers(2, 6, (60, 1)), tags, 0)
mask = np.digitize(x, [0.3, 0.6])
def load(): return {result}
"""
NET = """
import keras
from keras import layers, ops

def image(input_shape, output_size, last: str = "linear"):
    inputs = keras.Input(input_shape)
    x = layers.Conv2D(3, 3, padding="same", activation="relu")(inputs)
    return keras.Model(inputs, layers.Conv2D(output_size[-1], 1, activation=last)(x))

def tagger(input_shape, output_size, last: str = "softmax", masks: bool = False, loss: str = ""):
    inputs = keras.Input((None, input_shape[1]))
    x = layers.Masking()(inputs) if masks else inputs
    x = layers.SimpleRNN(4, return_sequences=True)(x)
    model = keras.Model(inputs, layers.Dense(output_size[-1], activation=last)(x))
    if loss == "ignores":
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(ignore_class=0))
    elif loss:
        model.compile("adam", loss)
    return model
"""
PARAMS = {"optimizer": "adam", "learning_rate.peak": 0.02, "batch_size.size": 16}
APART = 1e-5


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, build_model, make_engine, train, read_recipe, read_head, TrainingRows, Seeds, Head, Named
    global truth, losses_of_outputs, trivial_losses, measure_of, model_metric, trivial_metric
    import keras

    from nightune.models.engines.make import make_engine
    from nightune.models.networks.architectures import build_model
    from nightune.models.networks.heads import Head, read_head
    from nightune.models.networks.named_metrics import Named
    from nightune.models.networks.row_answers import model_metric, trivial_metric
    from nightune.models.networks.row_losses import losses_of_outputs, measure_of, trivial_losses
    from nightune.models.networks.training_rows import TrainingRows
    from nightune.models.networks.truth import truth
    from nightune.models.recipe.params import read_recipe
    from nightune.models.training.loop import train
    from nightune.models.training.seeds import Seeds


def load(folder: Path, result: str, task: str | None = "classification", **settings: Any) -> Dataset:
    (folder / "load.py").write_text(LOADER.replace("{result}", result))
    (folder / "net.py").write_text(NET)
    return load_dataset(DataSettings("load.py:load", task=task, split=Split("random"), **settings), folder)


@pytest.mark.parametrize(
    ("result", "settings", "classes", "size"),
    [
        ("(steps, tags)", {}, (10, 11, 12), (5, 3)),
        ("(steps, tags.astype('float32'))", {}, (10, 11, 12), (5, 3)),
        ("(steps, padded)", {"ignore_class": 0}, (10, 11, 12), (5, 3)),
        ("(x, mask)", {}, (0, 1, 2), (4, 4, 3)),
        ("(x, mask[..., 0])", {}, (0, 1, 2), (4, 4, 3)),
        ("(x, mask == np.arange(3))", {}, (0, 1, 2), (4, 4, 3)),
        ("(steps, tags == 10)", {"task": "positions"}, (0, 1), (5, 2)),
    ],
)
def test_classes_at_positions_are_read(
    result: str, settings: dict[str, Any], classes: tuple[int, ...], size: tuple[int, ...], tmp_path: Path
) -> None:
    dataset = load(tmp_path, result, **settings)
    for each in (dataset, open_dataset(save_dataset(dataset, tmp_path / "kept"))):
        assert (each.task, each.classes, each.output_size) == ("positions", classes, size)
        assert each.train.targets.dtype == np.int32
    assert (dataset.train.targets.min() < 0) == ("ignore_class" in settings)


def test_columns_that_may_be_targets_of_their_own_are_said(tmp_path: Path) -> None:
    dataset = load(tmp_path, "(steps, tags)")
    assert any("each column" in finding for finding in dataset.findings)
    for result, task in (("(steps, tags)", "positions"), ("(x, mask)", "classification")):
        assert not any("each column" in finding for finding in load(tmp_path, result, task=task).findings)
    named = load(tmp_path, "(steps, {'a': tags[:, 0], 'b': tags[:, 1]})", task=None)
    assert [(each.name, each.task) for each in named.heads] == [("a", "multiclass"), ("b", "multiclass")]


@pytest.mark.parametrize(
    ("result", "settings", "key", "words"),
    [
        ("(x, mask + 0.5)", {}, "data.source", ["2.5", "whole number"]),
        ("(x, mask.astype(str))", {}, "data.source", ["whole number"]),
        ("(x, mask * 0)", {}, "data.source", ["1 different classes"]),
        (
            "(steps, padded * (np.arange(60) != 3)[:, None])",
            {"ignore_class": 0},
            "data.ignore_class",
            ["1 rows", "row 3"],
        ),
        ("(x, mask)", {"task": None}, "data.task", ['task = "classification"', "cross-entropy"]),
        ("(x, mask[:, 0, 0, 0])", {"ignore_class": 0}, "data.ignore_class", ["several axes"]),
        ("(x, x)", {"task": "regression", "ignore_class": 0}, "data.ignore_class", ["remove it"]),
        ("(x[:, 0, 0], mask[:, 0, 0, 0])", {"task": "positions"}, "data.task", ["several axes"]),
    ],
)
def test_other_targets_are_refused(
    result: str, settings: dict[str, Any], key: str, words: list[str], tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path, result, **settings)
    assert caught.value.key == key
    assert all(word in caught.value.message for word in words), caught.value.message


def settled(
    folder: Path, dataset: Dataset, function: str, training: TrainingSettings | None = None, **model: Any
) -> Any:
    shape, size = dataset.input_shape, dataset.output_size
    built = build_model(f"net.py:{function}", model, shape, size, folder=folder, seed=0)
    return read_head(built, TrainingRows.of(dataset), training or TrainingSettings(), folder)


def test_logits_and_distributions_over_the_last_axis_are_told_apart(tmp_path: Path) -> None:
    dataset = load(tmp_path, "(x, mask)")
    assert settled(tmp_path, dataset, "image").is_logits
    assert not settled(tmp_path, dataset, "image", last="softmax").is_logits
    with pytest.raises(InputError, match="softmax over the last axis"):
        settled(tmp_path, dataset, "image", last="sigmoid")


@pytest.mark.parametrize(
    ("model", "training", "key", "words"),
    [
        ({"masks": True}, {}, "model.architecture", ["mask", "ignore_class"]),
        ({"loss": "ignores"}, {}, "model.architecture", ["ignore_class = 0 in [data]"]),
        ({"loss": "mse"}, {}, "model.architecture", ["sparse_categorical_crossentropy"]),
        ({}, {"loss": "focal"}, "training.loss", ["known: crossentropy"]),
        ({}, {"outputs": "logits"}, "training.outputs", ["probabilities"]),
    ],
)
def test_losses_and_masks_that_are_not_trained_are_refused(
    model: dict[str, Any], training: dict[str, Any], key: str, words: list[str], tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        settled(tmp_path, load(tmp_path, "(steps, tags)"), "tagger", TrainingSettings(**training), **model)
    assert caught.value.key == key
    assert all(word in caught.value.message for word in words), caught.value.message


CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "tags": ("(steps, padded)", {"ignore_class": 0}, {"model.architecture": "net.py:tagger"}),
    "pixels, smoothed": (
        "(x, mask)",
        {},
        {"model.architecture": "net.py:image", "penalty.label_smoothing": 0.1},
    ),
    "classes by weight": (
        "(steps, padded)",
        {"ignore_class": 0},
        {"model.architecture": "net.py:tagger", "training.class_weight": {"10": 0.5, "12": 4.0}},
    ),
    "rows by weight": (
        "(steps, padded, random.random(60) + 0.5)",
        {"ignore_class": 0},
        {"model.architecture": "net.py:tagger", "model.loss": "sparse_categorical_crossentropy"},
    ),
}


def by_keras(folder: Path, dataset: Dataset, params: dict[str, Any], epochs: int) -> list[np.ndarray]:
    """The weights after Keras' own fit, with a sample weight of 0 at positions without a class."""
    seeds = Seeds.from_trial(5)
    started = make_engine("fit", dataset, folder).start(read_recipe(params), seeds)
    shape, name = dataset.input_shape, params["model.architecture"]
    model = build_model(name, {}, shape, dataset.output_size, folder=folder, seed=0)
    model.set_weights(started.model.get_weights())
    size, share = dataset.output_size, params.get("penalty.label_smoothing", 0.0)
    targets = dataset.train.targets.reshape(-1, *size[:-1])
    known = (targets >= 0).astype(np.float32)
    if dataset.train.weights is not None:
        known = known * dataset.train.weights.reshape(-1, *[1] * (targets.ndim - 1))
    if "training.class_weight" in params:
        known = known * ClassWeights(dataset).of(params["training.class_weight"])[np.maximum(targets, 0)]
    is_logits = "image" in params["model.architecture"]
    targets = keras.utils.to_categorical(np.maximum(targets, 0), size[-1])
    loss = keras.losses.CategoricalCrossentropy(from_logits=is_logits, label_smoothing=share)
    model.compile(keras.optimizers.Adam(0.02), loss)
    for epoch in range(1, epochs + 1):
        order = np.random.default_rng([seeds.order, epoch]).permutation(len(targets))
        arrays = (each[order] for each in (dataset.train.inputs, targets, known))
        x, y, weights = arrays
        model.fit(x, y, sample_weight=weights, batch_size=16, epochs=1, shuffle=False, verbose=0)
    return [np.array(weight) for weight in model.get_weights()]


def compare(folder: Path, cases: list[str]) -> dict[str, float]:
    """The largest difference of a weight from plain Keras', by case and engine of this backend."""
    found = {}
    for case in cases:
        result, settings, more = CASES[case]
        dataset, params = load(folder, result, **settings), {**PARAMS, **more}
        expected = by_keras(folder, dataset, params, 3)
        for name in ("fit", COMPILED_ENGINES[keras.backend.backend()]):
            engine = make_engine(name, dataset, folder)
            budget = {"epochs": 4, "until": 3, "seed": 5, "monitor": "val_accuracy", "direction": "maximize"}
            outcome = train(engine, read_recipe(params), dataset, **budget)
            assert outcome.halted is not None
            pairs = zip(engine.weights(outcome.halted.state), expected, strict=True)
            found[f"{case} · {name}"] = max(float(np.abs(one - other).max()) for one, other in pairs)
    return found


def test_engines_train_as_plain_keras_does(tmp_path: Path) -> None:
    apart = compare(tmp_path, ["pixels, smoothed", "rows by weight", "classes by weight"])
    assert max(apart.values()) <= APART, apart


@pytest.mark.nights
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_all_engines_train_as_plain_keras_does(backend: str, tmp_path: Path) -> None:
    apart = in_backend(backend, __name__, "compare(Path(sys.argv[1]), list(CASES))", tmp_path)
    assert max(apart.values()) <= APART, apart


def random_answers(rows: int = 20, positions: int = 6) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    targets = generator.integers(-1, 3, (rows, positions)).astype(np.int32)
    targets[:, 0] = np.abs(targets[:, 0])
    return generator.normal(size=(rows, positions * 3)), targets


@pytest.mark.parametrize("is_weighted", [False, True])
def test_metrics_are_those_of_all_positions_with_a_class(is_weighted: bool) -> None:
    outputs, targets = random_answers()
    weights = np.random.default_rng(4).random(len(targets)) if is_weighted else None
    head = Head("positions", True, shape=(6, 3))
    found = head.metrics("positions", outputs, targets, weights, Named(("log_loss",)))
    known = targets.reshape(-1) >= 0
    each, wanted = outputs.reshape(-1, 3)[known], targets.reshape(-1)[known]
    spread = None if weights is None else np.repeat(weights, 6)[known]
    predicted = each.argmax(axis=1)
    assert set(found) == {*TASK_METRICS["positions"], "log_loss"}
    assert found["accuracy"] == pytest.approx(oracle.accuracy_score(wanted, predicted, sample_weight=spread))
    f1 = oracle.f1_score(wanted, predicted, average="macro", sample_weight=spread)
    assert found["f1_macro"] == pytest.approx(f1)
    recall = oracle.balanced_accuracy_score(wanted, predicted, sample_weight=spread)
    assert found["balanced_accuracy"] == pytest.approx(recall)
    softmax = np.exp(each) / np.exp(each).sum(axis=1, keepdims=True)
    assert found["log_loss"] == pytest.approx(oracle.log_loss(wanted, softmax, sample_weight=spread))
    rows = head.make_loss().call(targets, outputs.reshape(-1, 6, 3).astype(np.float32))
    assert found["loss"] == pytest.approx(np.average(np.asarray(rows), weights=weights), rel=1e-5)
    assert all(np.isnan(value) for value in head.metrics("positions", outputs * np.nan, targets).values())


@pytest.fixture
def judged(tmp_path: Path) -> Any:
    """A predictor, its outputs on the test rows, the true values and the data."""
    dataset = load(tmp_path, "(steps, padded)", ignore_class=0)
    model = build_model("net.py:tagger", {}, dataset.input_shape, dataset.output_size, folder=tmp_path, seed=1)
    predictor = Predictor(model, None, {**dataset.description, "is_logits": False})
    test = dataset.test.open(Purpose.GATE, lambda: None)
    return predictor, predictor.outputs(test.inputs), truth(dataset, test), dataset, test


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "f1_macro", "log_loss"])
def test_the_gate_compares_rows_in_the_metric_itself(name: str, judged: Any) -> None:
    predictor, outputs, wanted, dataset, test = judged
    measured = model_metric(predictor, outputs, wanted, dataset, f"val_{name}")
    trivial = trivial_metric(dataset, wanted, f"val_{name}")
    counts = np.random.default_rng(0).integers(0, 3, (4, len(test))).astype(float)
    head = Head("positions", False, shape=(5, 3))
    for weights, value in zip(counts, measured(counts), strict=True):
        rows = np.repeat(np.arange(len(test)), weights.astype(int))
        found = head.metrics("positions", outputs[rows], test.targets[rows], None, Named(("log_loss",)))[name]
        assert value == pytest.approx(found if name == "log_loss" else 1.0 - found)
    assert np.isfinite(trivial(counts)).all()


def test_the_gate_compares_the_trained_loss_of_rows_and_knows_classes_by_name(judged: Any) -> None:
    predictor, outputs, wanted, dataset, test = judged
    measure = measure_of("val_loss", dataset.task)
    rows = losses_of_outputs(predictor, outputs, wanted, measure)
    head = Head("positions", False, shape=(5, 3))
    assert rows.mean() == pytest.approx(head.metrics("positions", outputs, test.targets)["loss"], rel=1e-5)
    assert rows.shape == trivial_losses(dataset, wanted, measure).shape == (len(test),)
    turned = Predictor(None, None, {**predictor.description, "classes": [12, 10, 11]})
    places = outputs.reshape(len(outputs), -1, 3)[..., [2, 0, 1]].reshape(outputs.shape)
    np.testing.assert_allclose(losses_of_outputs(turned, places, wanted, measure), rows)
    lacking = Predictor(None, None, {**predictor.description, "classes": [10, 11, 99]})
    assert losses_of_outputs(lacking, outputs, wanted, measure).mean() > rows.mean()


def test_a_version_answers_labels_and_probabilities_by_position(judged: Any) -> None:
    predictor, outputs, _, dataset, test = judged
    answers = predictor.predict(test.inputs)
    assert answers.shape == (len(test), 5)
    assert set(np.unique(answers)) <= set(dataset.classes)
    table = predictor.predict(test.inputs, "probabilities")
    assert list(table.columns) == [10, 11, 12]
    np.testing.assert_allclose(table.to_numpy(), outputs.reshape(-1, 3), atol=1e-6)
    assert table.index.names == ["row", "axis_0"]
    assert (table.loc[(3, 1)].idxmax()) == answers[3, 1]


def test_folds_and_built_in_models_have_positions_too(tmp_path: Path) -> None:
    (tmp_path / "load.py").write_text(LOADER.replace("{result}", "(x, mask)"))
    settings = DataSettings("load.py:load", task="classification", split=Split(folds=2))
    dataset = load_dataset(settings, tmp_path)
    assert [fold.output_size for fold in dataset.folds] == [(4, 4, 3)] * 2
    model = build_model("mlp", {"units": [4]}, dataset.input_shape, dataset.output_size, folder=tmp_path, seed=0)
    assert model.output_shape[1:] == (4, 4, 3)
    assert read_head(model, TrainingRows.of(dataset)).kind == "positions"
