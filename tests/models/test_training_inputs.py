"""Functions that build a model by the inputs of the training split, and no others: in every engine, in versions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset
from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.serving.rebuilt_model import open_rebuilt
from tests.models.conftest import BACKEND, FEW_RULES

LOADER = """
import numpy as np
x = 5 + 3 * np.random.default_rng(0).normal(size=(400, 3))
y = (x[:, 0] > 5).astype(int)
def one(): return x, y
def named(): return {"a": x, "b": x[:, :1]}, y
"""
NET = """
import keras
from keras import layers

SEEN = []

def build(input_shape, output_size, training_inputs, units: int = 4):
    SEEN.append(training_inputs)
    scale = layers.Normalization()
    scale.adapt(training_inputs)
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, layers.Dense(output_size)(layers.Dense(units, "relu")(scale(inputs))))

def named(input_shape, output_size, training_inputs):
    scale = layers.Normalization()
    scale.adapt(training_inputs["a"])
    a, b = (keras.Input(shape, name=name) for name, shape in input_shape.items())
    return keras.Model({"a": a, "b": b}, layers.Dense(output_size)(layers.concatenate([scale(a), b])))

def as_wide_as_rows(input_shape, output_size, training_inputs):
    return build(input_shape, output_size, training_inputs, units=len(training_inputs))

class Own(layers.Layer):
    def __init__(self):
        super().__init__()
        self.scale = layers.Normalization()
    def call(self, inputs):
        return 2.0 * self.scale(inputs)

def own(input_shape, output_size, training_inputs):
    scale = layers.Normalization()
    scale.adapt(training_inputs)
    own, inputs = Own(), keras.Input(input_shape)
    own.scale.adapt(training_inputs / 2.0)
    return keras.Model(inputs, layers.Dense(output_size)(own(scale(inputs))))

def writes(input_shape, output_size, training_inputs):
    training_inputs[:] = 0.0
    return build(input_shape, output_size, training_inputs)
"""


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, make_engine, train, read_recipe, learn_rebuilding, build_model, InputError, compare_engines
    global TrainingRows, TrainingSettings, repetition_problem, try_build
    import keras

    from nightune.models.engines.make import make_engine
    from nightune.models.engines.verification import compare_engines
    from nightune.models.errors import InputError
    from nightune.models.networks.architectures import build_model
    from nightune.models.networks.training_rows import TrainingRows
    from nightune.models.networks.trial_build import repetition_problem, try_build
    from nightune.models.recipe.params import read_recipe
    from nightune.models.techniques.losses import TrainingSettings
    from nightune.models.training.loop import train
    from nightune.models.training.rebuilding import learn_rebuilding


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "load.py").write_text(LOADER)
    (tmp_path / "net.py").write_text(NET)
    return tmp_path


def load(folder: Path, function: str = "one", **keys: Any) -> Dataset:
    return load_dataset(DataSettings(f"load.py:{function}", **keys), folder)


def recipe(function: str) -> Any:
    given = {"model.architecture": f"net.py:{function}", "stopping.rule": "none", "optimizer": "adam"}
    return read_recipe({**given, "batch_size.size": 8, "learning_rate.peak": 0.02})


def end(engine: Any, recipe: Any, dataset: Dataset) -> Any:
    return train(engine, recipe, dataset, epochs=3, seed=4, monitor="val_loss", direction="minimize")


def flattened(weights: Any) -> np.ndarray:
    return np.concatenate([np.asarray(weight, np.float64).ravel() for weight in weights])


def built(folder: Path, function: str, dataset: Dataset, inputs: Any) -> Any:
    shape, size = dataset.input_shape, dataset.output_size
    return build_model(f"net.py:{function}", {}, shape, size, folder=folder, seed=0, training_inputs=inputs)


@pytest.mark.parametrize(
    ("function", "source"), [("build", "one"), pytest.param("named", "named", marks=pytest.mark.nights)]
)
def test_all_engines_build_by_the_rows_of_the_training_split(folder: Path, function: str, source: str) -> None:
    dataset, tried = load(folder, source), recipe(function)
    compiled = make_engine(BACKEND, dataset, folder, rules=FEW_RULES)
    assert compiled.refusals(tried) == []
    assert compare_engines([tried], dataset, folder).refusal is None
    one, other = (end(engine, tried, dataset) for engine in (make_engine("fit", dataset, folder), compiled))
    np.testing.assert_allclose(flattened(one.weights), flattened(other.weights), rtol=1e-4, atol=1e-5)
    inputs = dataset.train.inputs["a"] if source == "named" else dataset.train.inputs
    scale = next(layer for layer in compiled.model(tried, other.weights).layers if "normalization" in layer.name)
    np.testing.assert_allclose(np.ravel(keras.ops.convert_to_numpy(scale.mean)), inputs.mean(axis=0), rtol=1e-4)


def test_each_fold_builds_by_its_own_rows_in_fit_and_compiled_engines_refuse(folder: Path) -> None:
    dataset, tried = load(folder, split=Split(folds=3)), recipe("build")
    assert any("training_inputs" in reason for reason in make_engine(BACKEND, dataset, folder).refusals(tried))
    fit = make_engine("fit", dataset, folder)
    for fold in dataset.folds:
        mean = next(weight for weight in end(fit.of_fold(fold), tried, fold).weights if weight.shape == (3,))
        np.testing.assert_allclose(mean, fold.train.inputs.mean(axis=0), rtol=1e-4)


@pytest.mark.parametrize(("function", "is_refused"), [("build", False), ("as_wide_as_rows", True)])
def test_a_model_whose_sizes_differ_between_folds_is_refused(folder: Path, function: str, is_refused: bool) -> None:
    """Each of its trials would fail: one model's weights do not fit into that of another fold."""

    def found(rows: Any) -> Any:
        given = (f"net.py:{function}", {}, TrainingSettings(), rows, folder)
        return repetition_problem(*given, try_build(*given).build)

    problem = found(TrainingRows.of(load(folder, split=Split(folds=3))))
    assert (problem is not None) == is_refused
    if problem is not None:
        assert "fold 1" in problem.message
        assert "[model]" in problem.message
        assert found(TrainingRows.of(load(folder))) is None  # a remedy: no folds


def test_a_function_cannot_change_the_training_inputs(folder: Path) -> None:
    dataset = load(folder)
    before = np.array(dataset.train.inputs)
    with pytest.raises(InputError, match="read-only"):
        built(folder, "writes", dataset, dataset.train.inputs)
    np.testing.assert_array_equal(dataset.train.inputs, before)


def test_a_version_of_own_code_is_rebuilt_with_what_was_learned_from_all_rows(folder: Path) -> None:
    dataset = load(folder)
    model = built(folder, "own", dataset, dataset.train.inputs)
    rebuilding = learn_rebuilding(model, recipe("own"), dataset, folder)
    (folder / "model.zip").write_bytes(rebuilding.archive(model.get_weights()))
    opened = open_rebuilt(folder / "model.zip")
    rows = dataset.validation.inputs
    expected, found = (keras.ops.convert_to_numpy(each(rows)) for each in (model, opened))
    np.testing.assert_array_equal(found, expected)
