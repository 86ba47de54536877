"""The compiled engine trains as `fit` does, whatever was trained before in the same program."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from models.errors import InputError
from models.examples import Dataset
from models.recipe import Recipe
from models.training.engine import choose_engine
from models.training.engine_fit import FitEngine
from models.training.hyperparameters import Hyperparameter
from models.training.loop import Outcome, train
from tests.models.conftest import MakeDataset

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's own engine")

if keras.backend.backend() == "tensorflow":
    from models.training.engine_tensorflow import KEPT_PROGRAMS, TensorFlowEngine

HERE = Path()
DECAY = {"weight_decay.profile": "tied", "weight_decay.strength": 0.1}
ELASTIC = {"penalty.kind": "elastic", "penalty.strength": 1e-2}
RECIPES: dict[str, dict[str, Any]] = {
    "gd": {"optimizer": "gd", "learning_rate.peak": 0.5},
    "sgd": {"optimizer": "sgd", "learning_rate.peak": 0.1, "learning_rate.schedule": "cosine", **ELASTIC},
    "momentum": {"optimizer": "sgd", "learning_rate.peak": 0.1, "one_minus_momentum": 0.1, **DECAY},
    "nesterov": {"optimizer": "sgd", "learning_rate.peak": 0.1, "one_minus_momentum": 0.3, "nesterov": True},
    "adam": {"optimizer": "adam", "learning_rate.schedule": "one_cycle", **DECAY, **ELASTIC},
    "adamw": {"optimizer": "adamw", "one_minus_beta_2": 0.05, "learning_rate.warmup_fraction": 0.2},
    "rmsprop": {"optimizer": "rmsprop", "one_minus_momentum": 0.2, "one_minus_rho": 0.3},
    "nadam": {"optimizer": "nadam", "gradient_clip.kind": "global_norm", "gradient_clip.limit": 0.1},
    "lion": {"optimizer": "lion", "learning_rate.peak": 1e-3},
    "adagrad": {"optimizer": "adagrad", "learning_rate.peak": 0.1},
    "random batches": {"batch_size.policy": "random", "batch_size.minimum": 2, "batch_size.maximum": 9},
    "remainder dropped": {"optimizer": "sgd", "batch_size.size": 9, "batch_size.remainder": "drop"},
    "remainder filled up": {"optimizer": "sgd", "batch_size.size": 9, "batch_size.remainder": "wrap"},
    "normalized": {"model.batch_normalization": True},
}


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    """Engines and data kept for the module: programs are to be shared by its tests."""
    return {}


@pytest.fixture
def dataset(make_dataset: MakeDataset, kept: dict[str, Any]) -> Dataset:
    return kept.setdefault("dataset", make_dataset())


@pytest.fixture
def fit(dataset: Dataset, kept: dict[str, Any]) -> FitEngine:
    return kept.setdefault("fit", FitEngine(dataset, HERE))


@pytest.fixture
def compiled(dataset: Dataset, kept: dict[str, Any]) -> "TensorFlowEngine":
    return kept.setdefault("compiled", TensorFlowEngine(dataset, HERE))


def recipe(**params: Any) -> Recipe:
    has_size = params.get("optimizer") != "gd" and "batch_size.policy" not in params
    size = {"batch_size.size": 8} if has_size else {}
    return Recipe.from_params({"model.units": [6], "stopping.rule": "none"} | size | params)


def end(engine: Any, recipe: Recipe, dataset: Dataset, epochs: int = 3) -> Outcome:
    return train(engine, recipe, dataset, epochs=epochs, seed=4, monitor="val_loss", direction="minimize")


def distance(first: Outcome, second: Outcome) -> float:
    """The largest difference of two weights."""
    return max(float(np.abs(a - b).max()) for a, b in zip(first.weights, second.weights, strict=True))


@pytest.mark.parametrize("name", RECIPES)
def test_x1_three_epochs_end_as_fit_does(name: str, fit: FitEngine, compiled: Any, dataset: Dataset) -> None:
    tried = recipe(**RECIPES[name])
    expected, trained = end(fit, tried, dataset), end(compiled, tried, dataset)
    assert distance(trained, expected) <= 1e-6
    assert trained.curves["val_loss"] == pytest.approx(expected.curves["val_loss"], rel=1e-6)
    assert trained.curves["loss"] == pytest.approx(expected.curves["loss"], rel=1e-5)
    for curve in ("learning_rate", "weight_decay", "batch_size", "penalty", "updates", "examples"):
        assert trained.curves[curve] == expected.curves[curve]


def test_x2_a_trial_does_not_depend_on_those_before_it(compiled: Any, dataset: Dataset) -> None:
    tried = recipe(**RECIPES["adam"])
    alone = end(TensorFlowEngine(dataset, HERE), tried, dataset)
    broken = end(compiled, recipe(optimizer="adam", **{"learning_rate.peak": 1e30}), dataset)
    assert broken.status == "diverged"
    assert distance(end(compiled, tried, dataset), alone) == 0.0


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"optimizer": "sgd", "one_minus_momentum": 0.1}, {"optimizer": "sgd", "one_minus_momentum": 0.6}),
        ({"model.dropout": 0.2}, {"model.dropout": 0.7}),
        ({"learning_rate.peak": 1e-3, **ELASTIC}, {"learning_rate.peak": 1e-1, "penalty.kind": "none"}),
    ],
    ids=["momentum", "dropout", "rates and penalties"],
)
def test_a_second_trial_in_the_same_program_has_its_own_numbers(
    first: dict[str, Any], second: dict[str, Any], fit: FitEngine, dataset: Dataset
) -> None:
    engine = TensorFlowEngine(dataset, HERE)
    end(engine, recipe(**first), dataset)
    assert distance(end(engine, recipe(**second), dataset), end(fit, recipe(**second), dataset)) <= 1e-5
    assert len(engine._programs) == 1


def test_one_shape_is_traced_once_for_all_its_trials(dataset: Dataset) -> None:
    engine = TensorFlowEngine(dataset, HERE)
    for size in (2, 5, 8):
        for peak in (1e-3, 1e-2):
            end(engine, recipe(**{"batch_size.size": size, "learning_rate.peak": peak}), dataset, epochs=2)
    (program,) = engine._programs.values()
    assert program._train.experimental_get_tracing_count() == 1
    assert program._validate.experimental_get_tracing_count() == 1


def test_programs_are_kept_up_to_a_bound(dataset: Dataset) -> None:
    engine = TensorFlowEngine(dataset, HERE)
    for width in range(1, KEPT_PROGRAMS + 3):
        end(engine, recipe(**{"model.units": [width]}), dataset, epochs=1)
    assert len(engine._programs) == KEPT_PROGRAMS


def test_an_epoch_in_several_calls_is_the_same_epoch(
    compiled: Any, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = end(compiled, recipe(), dataset)
    monkeypatch.setattr("models.training.engine_tensorflow.CALL_SECONDS", 0.0)
    assert distance(end(compiled, recipe(), dataset), whole) == 0.0


SAMPLE = [recipe(**{"learning_rate.peak": peak, "model.dropout": rate}) for peak, rate in ((1e-3, 0.2), (1e-2, 0.5))]


def test_auto_takes_the_compiled_engine_that_agrees_with_fit(dataset: Dataset) -> None:
    choice = choose_engine("auto", SAMPLE, dataset, HERE)
    assert choice.name == "tensorflow"
    assert "agree with fit" in choice.reason


@pytest.mark.parametrize("data", [{"model.dropout": 0.5}, {"optimizer": "sgd", "one_minus_momentum": 0.5}])
def test_a_hyperparameter_baked_into_the_graph_is_caught(
    data: dict[str, Any], dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hyperparameter, "assign", lambda self, value: None)
    choice = choose_engine("auto", [recipe(**data)], dataset, HERE)
    assert choice.name == "fit"
    assert "differ from fit's" in choice.reason
    with pytest.raises(InputError, match="'compiled' is not possible: its weights differ"):
        choose_engine("compiled", SAMPLE, dataset, HERE)


def test_a_model_with_a_training_step_of_its_own_is_left_to_fit(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        """
import keras

class Own(keras.Model):
    def train_step(self, *arguments):
        return super().train_step(*arguments)

def build(input_shape, output_size):
    inputs = keras.Input(input_shape)
    return Own(inputs, keras.layers.Dense(output_size)(inputs))
"""
    )
    own = Recipe.from_params({"model.architecture": "own.py:build"})
    choice = choose_engine("auto", [own, own], dataset, tmp_path)
    assert (choice.name, choice.reason) == ("fit", "own.py:build has a train_step of its own")


def test_fit_is_taken_where_it_is_asked_for(dataset: Dataset) -> None:
    assert choose_engine("fit", SAMPLE, dataset, HERE).name == "fit"
    with pytest.raises(InputError, match=r"unknown 'quick' \(known: auto, compiled, fit\)"):
        choose_engine("quick", SAMPLE, dataset, HERE)
