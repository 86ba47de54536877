"""The compiled engine trains as `fit` does, after any trainings in the same program."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset
from nightune.models.engines.choice import choose_engine
from nightune.models.errors import InputError
from nightune.models.recipe.params import read_recipe
from nightune.models.recipe.recipe import Recipe
from nightune.models.training.graph_key import perturbed
from nightune.models.training.loop import Outcome, train
from nightune.models.training.plan import EpochPlan
from nightune.models.training.seeds import Seeds
from tests.models.conftest import BACKEND, FEW_RULES, MakeDataset


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, Program, TensorFlowProgram, make_tensorflow_engine, FitEngine, refusals_of_sample
    global CompiledEngine, TensorFlowBackend
    import keras

    from nightune.models.engines.compiled.engine import CompiledEngine
    from nightune.models.engines.compiled.program import Program
    from nightune.models.engines.compiled.tensorflow_backend import (
        TensorFlowBackend,
        TensorFlowProgram,
        make_tensorflow_engine,
    )
    from nightune.models.engines.fit.engine import FitEngine
    from nightune.models.engines.refusals import refusals_of_sample


pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's own engine")

HERE = Path()
DECAY = {"weight_decay.profile": "tied", "weight_decay.strength": 0.1}
ELASTIC = {"penalty.kind": "elastic", "penalty.strength": 1e-2}
MOMENTUM = {"one_minus_momentum": 0.1}
RECIPES: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "learning_rate.peak": 0.1, "learning_rate.schedule": "cosine", **MOMENTUM, **ELASTIC},
    "nesterov": {"optimizer": "sgd", "learning_rate.peak": 0.1, **MOMENTUM, "nesterov": True, **DECAY},
    "adam": {"optimizer": "adam", "learning_rate.schedule": "one_cycle", **DECAY, **ELASTIC},
    "adamw": {"optimizer": "adamw", "one_minus_beta_2": 0.05, "learning_rate.warmup_fraction": 0.2},
    "rmsprop": {"optimizer": "rmsprop", "one_minus_momentum": 0.2, "one_minus_rho": 0.3},
    "nadam": {"optimizer": "nadam", "gradient_clip.kind": "global_norm", "gradient_clip.limit": 0.1},
    "small batches": {"batch_size.size": 4},
    "large batches": {"batch_size.size": 40},
    "random batches": {"batch_size.policy": "random", "batch_size.minimum": 2, "batch_size.maximum": 9},
    "remainder dropped": {"optimizer": "sgd", "batch_size.size": 9, "batch_size.remainder": "drop"},
    "remainder filled up": {"optimizer": "sgd", "batch_size.size": 9, "batch_size.remainder": "wrap"},
    "normalized": {"model.batch_normalization": True},
}
AT_NIGHT = ("sgd", "nesterov", "adamw", "rmsprop", "nadam")  # test_engine_equality.py trains every optimizer by day


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    """Engines and data shared by the module, so that its tests share programs."""
    return {}


@pytest.fixture
def dataset(make_dataset: MakeDataset, kept: dict[str, Any]) -> Dataset:
    return kept.setdefault("dataset", make_dataset(examples=50))


@pytest.fixture
def fit(dataset: Dataset, kept: dict[str, Any]) -> FitEngine:
    return kept.setdefault("fit", FitEngine(dataset, HERE))


@pytest.fixture
def compiled(dataset: Dataset, kept: dict[str, Any]) -> Any:
    return kept.setdefault("compiled", make_tensorflow_engine(dataset, HERE))


def few_rules(dataset: Dataset, folder: Path = HERE, cached_programs: int = 32) -> Any:
    return CompiledEngine(dataset, folder, TensorFlowBackend(), cached_programs, rules=FEW_RULES)


def recipe(**params: Any) -> Recipe:
    has_size = params.get("optimizer") != "gd" and "batch_size.policy" not in params
    size = {"batch_size.size": 8} if has_size and "batch_size.size" not in params else {}
    return read_recipe({"model.units": [6], "stopping.rule": "none"} | size | params)


def end(engine: Any, recipe: Recipe, dataset: Dataset, epochs: int = 3) -> Outcome:
    return train(engine, recipe, dataset, epochs=epochs, seed=4, monitor="val_loss", direction="minimize")


def distance(first: Outcome, second: Outcome) -> float:
    """Return the distance between the weights, relative to the weights."""
    one, other = (np.concatenate([weight.ravel() for weight in end.weights]) for end in (first, second))
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.nights] if name in AT_NIGHT else [], id=name) for name in RECIPES]
)
def test_three_epochs_match_fit(name: str, fit: FitEngine, compiled: Any, dataset: Dataset) -> None:
    tried = recipe(**RECIPES[name])
    expected, trained = end(fit, tried, dataset), end(compiled, tried, dataset)
    assert distance(trained, expected) < 1e-5
    assert trained.curves["val_loss"] == pytest.approx(expected.curves["val_loss"], rel=1e-5)
    assert trained.curves["loss"] == pytest.approx(expected.curves["loss"], rel=1e-5)
    for curve in ("learning_rate", "weight_decay", "batch_size", "penalty", "updates", "examples"):
        assert trained.curves[curve] == expected.curves[curve]
    assert trained.tags == {"nightune.xla": "yes"}


@pytest.mark.parametrize("name", ["adam", "normalized", "random batches"])
def test_epochs_with_dropout_match_fit(name: str, fit: FitEngine, compiled: Any, dataset: Dataset) -> None:
    tried = recipe(**RECIPES[name], **{"model.dropout": 0.4})
    assert distance(end(compiled, tried, dataset), end(fit, tried, dataset)) < 1e-5


def test_blocks_of_a_batch_have_the_noise_of_the_batch(make_dataset: MakeDataset) -> None:
    many = make_dataset(examples=120)
    tried = recipe(**RECIPES["adam"] | {"batch_size.size": 75}, **{"model.dropout": 0.4})
    trained = end(few_rules(many), tried, many)
    assert distance(trained, end(FitEngine(many, HERE), tried, many)) < 1e-5


def test_batches_of_random_sizes_whose_examples_a_layer_couples_run_without_xla(
    compiled: Any, dataset: Dataset
) -> None:
    random = {"batch_size.policy": "random", "batch_size.minimum": 3, "batch_size.maximum": 9}
    tried = recipe(**{"model.batch_normalization": True}, **random)
    state = compiled.start(tried, Seeds.from_trial(0))
    sizes = np.array([3, 4, 5, 6], np.int32)
    plan = EpochPlan(1, np.arange(18, dtype=np.int32), sizes, *np.zeros((2, 4), np.float32), 0.0, 0.0, 0.0, 0.0)
    assert {part.shape.block for part in state.executable.parts(plan)} == {0}
    assert compiled.trial_tags(state)["nightune.xla"].startswith("no: batches of many sizes")


def test_convolutions_on_a_cpu_match_fit_without_xla(make_dataset: MakeDataset) -> None:
    images = make_dataset(shape=(6, 6, 1))
    tried = recipe(**{"model.architecture": "cnn", "model.filters": [2], "model.units": [3], "model.dropout": 0.3})
    trained = end(few_rules(images), tried, images)
    assert distance(trained, end(FitEngine(images, HERE), tried, images)) < 1e-5
    assert trained.tags == {"nightune.xla": "no: convolutions on a CPU"}


def test_noise_in_a_users_model_matches_fit(dataset: Dataset, tmp_path: Path, user_model: Callable[[str], str]) -> None:
    reference = user_model(
        "def build(input_shape, output_size):\n"
        "    return keras.Sequential([keras.Input(input_shape), layers.Dropout(0.3), layers.Dense(output_size)])\n"
    )
    tried = read_recipe({"model.architecture": reference, "stopping.rule": "none"})
    trained = end(few_rules(dataset, tmp_path), tried, dataset)
    assert distance(trained, end(FitEngine(dataset, tmp_path), tried, dataset)) < 1e-5
    assert trained.tags["nightune.xla"] == "yes"


def test_a_trial_does_not_depend_on_earlier_trials(compiled: Any, dataset: Dataset) -> None:
    tried = recipe(**RECIPES["adam"], **{"model.dropout": 0.3})
    alone = end(make_tensorflow_engine(dataset, HERE), tried, dataset)
    broken = end(compiled, recipe(optimizer="adam", **{"learning_rate.peak": 1e30, "model.dropout": 0.2}), dataset)
    assert broken.status == "diverged"
    assert distance(end(compiled, tried, dataset), alone) == 0.0


@pytest.mark.parametrize(
    "first",
    [
        {"optimizer": "sgd", "one_minus_momentum": 0.1, **ELASTIC},
        {"optimizer": "rmsprop", "one_minus_momentum": 0.1, **DECAY},
        {"optimizer": "adam", "gradient_clip.kind": "norm", **DECAY, **ELASTIC},
    ],
    ids=["sgd", "rmsprop", "adam"],
)
def test_a_second_trial_in_the_same_program_has_its_own_numbers(
    first: dict[str, Any], fit: FitEngine, compiled: Any, dataset: Dataset
) -> None:
    end(compiled, recipe(**first), dataset)
    programs = compiled.programs
    second = perturbed(recipe(**first))
    assert distance(end(compiled, second, dataset), end(fit, second, dataset)) < 1e-5
    assert compiled.programs == programs


def test_one_shape_is_traced_once_for_all_its_trials(dataset: Dataset) -> None:
    engine = few_rules(dataset)
    for size in (9, 12, 20):
        for peak in (1e-3, 1e-2):
            end(engine, recipe(**{"batch_size.size": size, "learning_rate.peak": peak}), dataset, epochs=2)
    state = engine.start(recipe(), Seeds(1, 2, 3))
    (trained,) = state.executable._train.values()
    assert trained.experimental_get_tracing_count() == 1


def test_programs_are_bounded_and_trials_leave_nothing_behind(dataset: Dataset) -> None:
    engine = few_rules(dataset, cached_programs=2)
    for width in (1, 2, 3):
        tried = recipe(**{"model.units": [width]})
        end(engine, tried, dataset, epochs=1)
    assert engine.programs == 2
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(20):
        end(engine, perturbed(tried), dataset, epochs=1)
    gc.collect()
    assert len(gc.get_objects()) < before + 500


def test_an_epoch_in_several_calls_is_the_same_epoch(
    compiled: Any, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = recipe(**{"batch_size.size": 5})
    whole = end(compiled, tried, dataset)
    monkeypatch.setattr("nightune.models.engines.compiled.pace.FIRST_CALL_UPDATES", 1)
    monkeypatch.setattr("nightune.models.engines.compiled.pace.CALL_SECONDS", 0.0)
    cut = end(make_tensorflow_engine(dataset, HERE), tried, dataset)
    assert distance(cut, whole) == 0.0
    assert cut.curves["val_loss"] == whole.curves["val_loss"]


SAMPLE = [recipe(**{"learning_rate.peak": peak, "model.dropout": rate}) for peak, rate in ((1e-3, 0.2), (1e-2, 0.5))]


def test_auto_chooses_the_compiled_engine_that_agrees_with_fit(dataset: Dataset) -> None:
    choice = choose_engine("auto", SAMPLE, dataset, HERE)
    assert choice.name == "tensorflow"
    assert "match fit's" in choice.reason


@pytest.mark.parametrize(
    ("params", "compared"),
    [({"model.dropout": 0.3}, 24), ({"model.batch_normalization": True, "batch_size.size": 10}, 20)],
)
def test_the_check_compiles_the_programs_of_the_trials(
    params: dict[str, Any], compared: int, compiled: Any, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compilations() -> list[int]:
        return [
            train.experimental_get_tracing_count() for each in own._programs.values() for train in each._train.values()
        ]

    monkeypatch.setattr("nightune.models.engines.compared_trainings.COMPARED_EXAMPLES", compared)
    tried, own = recipe(**params), make_tensorflow_engine(dataset, HERE)
    assert choose_engine("auto", [tried], dataset, HERE, lambda name: own).name == "tensorflow"
    assert compilations() == [1]
    trained = end(own, tried, dataset)
    assert compilations() == [1]
    assert distance(trained, end(compiled, tried, dataset)) == 0.0


def test_rows_without_weight_at_the_start_are_not_compared(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing would move, and any engine would agree."""
    count = len(dataset.train) // 2
    monkeypatch.setattr("nightune.models.engines.compared_trainings.COMPARED_EXAMPLES", count)
    weights = np.where(np.arange(len(dataset.train)) < count, 0.0, 1.0).astype(np.float32)
    tried = recipe(optimizer="sgd")  # Adam would not show another scale
    weighted = replace(dataset, train=replace(dataset.train, weights=weights))
    assert choose_engine("auto", [tried], weighted, HERE).name == "tensorflow"
    monkeypatch.setattr(Program, "weighted", lambda _self, shares, _targets, weights, _numbers: 3 * shares * weights)
    assert "differ" in choose_engine("auto", [tried], weighted, HERE).reason


def test_a_larger_data_set_is_checked_by_an_engine_of_a_part(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightune.models.engines.compared_trainings.SHARED_EXAMPLES", 60)
    own = make_tensorflow_engine(dataset, HERE)
    assert choose_engine("auto", SAMPLE[:1], dataset, HERE, lambda name: own).name == "tensorflow"
    assert own.programs == 0


def test_a_model_that_cannot_be_built_costs_its_own_trials_not_the_compiled_engine(
    dataset: Dataset, user_model: Callable[[str], str], tmp_path: Path
) -> None:
    own = user_model("def build(input_shape, output_size):\n    raise ValueError('too narrow')\n")
    broken = {"model.architecture": own, "optimizer": "rmsprop", "one_minus_momentum": 0.2, **ELASTIC}
    recipes = [read_recipe(broken), *SAMPLE]
    assert choose_engine("auto", recipes, dataset, tmp_path).name == "tensorflow"


def bake_hyperparameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make each program use the hyperparameters of its first trial, as if they were constants."""
    hyperparameters, first = Program.hyperparameters, {}

    def baked(self: Program, *given: Any) -> np.ndarray:
        return first.setdefault(id(self), (hyperparameters(self, *given), self))[0]  # self: ids must not be reused

    monkeypatch.setattr(Program, "hyperparameters", baked)


def bake_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make each program keep the learning rates and decay of its first trial."""
    train, first = TensorFlowProgram.train, {}

    def baked(self: Any, state: Any, updates: Any, before: Any, shape: Any) -> Any:
        rates = first.setdefault(id(self), (updates.rates, self))[0]
        return train(self, state, updates._replace(rates=rates), before, shape)

    monkeypatch.setattr(TensorFlowProgram, "train", baked)


@pytest.mark.parametrize(
    ("bake", "data"),
    [
        (bake_hyperparameters, {"model.dropout": 0.5}),
        pytest.param(bake_hyperparameters, {"optimizer": "sgd", "one_minus_momentum": 0.5}, marks=pytest.mark.nights),
        pytest.param(
            bake_hyperparameters, {"optimizer": "adam", "model.dropout": 0.1, **ELASTIC}, marks=pytest.mark.nights
        ),
        (bake_rates, {"optimizer": "adam"}),
    ],
)
def test_a_hyperparameter_baked_into_the_graph_is_caught(
    bake: Callable[[pytest.MonkeyPatch], None], data: dict[str, Any], dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    bake(monkeypatch)
    choice = choose_engine("auto", [recipe(**data)], dataset, HERE)
    assert choice.name == "fit"
    assert "differ from fit's" in choice.reason


def test_a_compiled_engine_that_differs_is_refused_where_it_is_requested(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    bake_rates(monkeypatch)
    with pytest.raises(InputError, match="'compiled' is not possible: its weights differ"):
        choose_engine("compiled", [recipe(optimizer="sgd")], dataset, HERE)


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
    own = read_recipe({"model.architecture": "own.py:build"})
    choice = choose_engine("auto", [own, own], dataset, tmp_path)
    assert (choice.name, choice.reason) == ("fit", "own.py:build has a train_step of its own")


def test_an_option_whose_model_trains_itself_leaves_the_study_to_fit(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        """
import keras

class Own(keras.Model):
    def train_step(self, *arguments):
        return super().train_step(*arguments)

def build(input_shape, output_size, kind: str = "plain", units: int = 4):
    inputs = keras.Input(input_shape)
    outputs = keras.layers.Dense(output_size)(keras.layers.Dense(units)(inputs))
    return (Own if kind == "own" or units == 6 else keras.Model)(inputs, outputs)
"""
    )

    def own(**parameters: Any) -> Recipe:
        given = {f"model.{name}": value for name, value in parameters.items()}
        return read_recipe({"model.architecture": "own.py:build", "model.kind": "plain", "model.units": 4, **given})

    choice = choose_engine("auto", [own(), own(units=5), own(kind="own")], dataset, tmp_path)
    assert (choice.name, choice.reason) == ("fit", "own.py:build has a train_step of its own")
    # A number says less about the kind of model: the trial is refused.
    engine = few_rules(dataset, tmp_path)
    engine.start(own(), Seeds.from_trial(0))
    with pytest.raises(ValueError, match=r"train_step of its own.*--engine fit"):
        engine.start(own(units=6), Seeds.from_trial(0))


def test_one_model_of_each_option_is_asked(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def build(input_shape, output_size):\n    pass\n")
    asked: list[Any] = []

    class Asked:
        def refusals(self, recipe: Recipe) -> list[str]:
            asked.append((recipe.model["a"], recipe.model["b"], recipe.model["width"]))
            return []

    points = [(a, b, width) for a in ("x", "y", "z") for b in (True, False) for width in (1, 2)]
    names = ("model.a", "model.b", "model.width")
    recipes = [
        read_recipe({"model.architecture": "own.py:build", **dict(zip(names, point, strict=True))}) for point in points
    ]
    assert refusals_of_sample(Asked(), recipes) == []
    assert asked == [("x", True, 1), ("x", False, 1), ("y", True, 1), ("z", True, 1)]


def test_micro_batches_of_coupled_examples_are_refused_by_the_engine(dataset: Dataset) -> None:
    engine = few_rules(dataset)
    plain, coupled = (
        read_recipe({"model.batch_normalization": value, "batch_size.micro_size": 4}) for value in (False, True)
    )
    with pytest.raises(ValueError, match=r"micro_size.*--engine fit"):
        engine.start(coupled, Seeds.from_trial(0))
    assert "micro_size" in choose_engine("auto", [plain, coupled], dataset, HERE).reason


def test_fit_is_chosen_on_request(dataset: Dataset) -> None:
    assert choose_engine("fit", SAMPLE, dataset, HERE).name == "fit"
    with pytest.raises(InputError, match=r"unknown 'quick' \(known: auto, compiled, fit\)"):
        choose_engine("quick", SAMPLE, dataset, HERE)
