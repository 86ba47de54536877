"""Graph keys: equal keys mean equal programs, and data of a program does not change its key."""

import re
from collections.abc import Callable
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset
from nightune.models.engines.make import make_engine
from nightune.models.recipe.params import params_of
from nightune.models.recipe.recipe import Recipe
from nightune.models.training.controller import Controller
from nightune.models.training.engine import COMPILED_ENGINES
from nightune.models.training.graph_key import graph_key, perturbed, program_key
from nightune.models.training.plan import EpochPlan
from nightune.models.training.seeds import Seeds
from nightune.models.user_code import source_digest
from tests.models.conftest import BACKEND, FEW_RULES, MakeDataset


def setup_module() -> None:
    """Import Keras when these tests run, not when they are collected."""
    global keras
    import keras


HERE = Path()
GRAPHS: dict[Any, str] = {}  # by params and rules: many pairs have one of them in common
MakeRecipe = Callable[..., Recipe]
Pair = tuple[dict[str, Any], dict[str, Any]]

SAME_GRAPH: list[Pair] = [
    ({"optimizer": "gd"}, {"optimizer": "sgd", "one_minus_momentum": 0.1, "nesterov": True}),
    ({"optimizer": "adam", "one_minus_beta_1": 0.3}, {"optimizer": "adamw", "epsilon": 1e-3}),
    ({"optimizer": "rmsprop"}, {"optimizer": "rmsprop", "one_minus_momentum": 0.2, "one_minus_rho": 0.5}),
    ({"optimizer": "adagrad"}, {"optimizer": "adagrad", "initial_accumulator": 0.3}),
    ({"model__dropout": 0.1}, {"model__dropout": 0.5}),
    ({"penalty__label_smoothing": 0.1}, {"penalty__label_smoothing": 0.3}),
    ({"training__class_weight": "balanced"}, {"training__class_weight": {"0": 3.0}}),
    ({"batch_size__size": 8}, {"batch_size__size": 200}),
    ({"batch_size__size": 8}, {"batch_size__policy": "random"}),
    ({"penalty__kind": "l1"}, {"weight_decay__profile": "fixed", "learning_rate__schedule": "cosine"}),
    (
        {"gradient_clip__kind": "value", "gradient_clip__limit": 0.1},
        {"gradient_clip__kind": "value", "gradient_clip__limit": 2.0},
    ),
]

OTHER_GRAPH: list[Pair] = [
    ({"optimizer": "sgd"}, {"optimizer": "adam"}),
    ({"optimizer": "adam"}, {"optimizer": "adam", "bias_correction": False}),
    ({"optimizer": "rmsprop"}, {"optimizer": "rmsprop", "centered": True}),
    ({"optimizer": "muon", "nesterov": False}, {"optimizer": "muon", "nesterov": True}),
    ({"model__dropout": 0.0}, {"model__dropout": 0.5}),
    ({"model__units": [4]}, {"model__units": [5]}),
    ({"gradient_clip__kind": "norm"}, {"gradient_clip__kind": "value"}),
    ({"weight_average__kind": "exponential"}, {"weight_average__kind": "polynomial"}),
    ({"learning_rate__hypergradient_strength": 1e-3}, {}),
    ({"penalty__kind": "l1_proximal"}, {"penalty__kind": "l1"}),
    ({"penalty__label_smoothing": 0.0}, {"penalty__label_smoothing": 0.1}),
    ({"training__class_weight": "none"}, {"training__class_weight": "balanced"}),
    ({"weight_decay__profile": "fixed"}, {"weight_decay__profile": "fixed", "weight_decay__scope": "all"}),
    ({"precision": "float32"}, {"precision": "mixed_bfloat16"}),
    (
        {"learning_rate__schedule": "one_cycle"},
        {"learning_rate__schedule": "one_cycle", "learning_rate__one_cycle_momentum": "mirrored"},
    ),
]

SHARED: list[Pair] = [  # programs: their rules are data
    ({"optimizer": "sgd"}, {"optimizer": "adam"}),
    ({"optimizer": "adam"}, {"optimizer": "adam", "bias_correction": False}),
    ({"weight_decay__profile": "fixed"}, {"weight_decay__profile": "fixed", "weight_decay__scope": "all"}),
    ({"optimizer": "nadam"}, {"optimizer": "adagrad", "gradient_clip__kind": "value"}),
]


@pytest.mark.parametrize(("one", "other"), SAME_GRAPH)
def test_data_of_a_program_does_not_change_the_graph_key(
    recipe: MakeRecipe, one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert graph_key(recipe(**one), "") == graph_key(recipe(**other), "")


@pytest.mark.parametrize(("one", "other"), OTHER_GRAPH)
def test_settings_that_change_the_graph_change_the_key(
    recipe: MakeRecipe, one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert graph_key(recipe(**one), "") != graph_key(recipe(**other), "")


def test_the_key_follows_the_users_code(recipe: MakeRecipe, user_model: Callable[[str], str], tmp_path: Path) -> None:
    reference = user_model("def build(dropout: float = 0.1): return 1\n")

    def key(dropout: float) -> str:
        own = recipe(model__architecture=reference, model__dropout=dropout)
        return graph_key(own, source_digest(reference, tmp_path))

    before = key(0.2)
    assert key(0.3) != before
    user_model("def build(dropout: float = 0.1): return 2\n")
    assert key(0.2) != before


def test_a_perturbed_recipe_has_other_numbers_and_the_same_key(recipe: MakeRecipe) -> None:
    params = {"optimizer": "adam", "penalty__kind": "l1", "weight_decay__profile": "fixed", "model__dropout": 0.5}
    given = recipe(**params)
    other = perturbed(given)
    assert graph_key(given, "") == graph_key(other, "")
    changed = {name for name, value in params_of(given).items() if params_of(other)[name] != value}
    assert changed >= {
        "one_minus_beta_1",
        "one_minus_beta_2",
        "epsilon",
        "learning_rate.peak",
        "weight_decay.strength",
        "penalty.strength",
        "model.dropout",
    }


def compiled_engine(dataset: Dataset) -> Any:
    return make_engine(COMPILED_ENGINES[keras.backend.backend()], dataset, HERE)


def test_the_engine_keeps_one_program_for_each_key(recipe: MakeRecipe, make_dataset: MakeDataset) -> None:
    engine = compiled_engine(make_dataset())
    sample = [recipe(**params) for pair in (*SAME_GRAPH, *OTHER_GRAPH) for params in pair]
    kept = [(program_key(each, ""), engine.start(each, Seeds(1, 2, 3)).executable) for each in sample]
    for (key, compiled), (other_key, other) in combinations(kept, 2):
        assert (compiled is other) == (key == other_key)
    assert engine.programs == len({key for key, _ in kept})


def test_an_engine_for_one_optimizer_keeps_one_program_for_each_graph(
    recipe: MakeRecipe, make_dataset: MakeDataset
) -> None:
    engine = make_engine(COMPILED_ENGINES[keras.backend.backend()], make_dataset(), HERE, rules=frozenset())
    programs = [engine.start(recipe(optimizer=kind), Seeds(1, 2, 3)).executable for kind in ("sgd", "adam", "adamw")]
    assert programs[1] is programs[2] is not programs[0]
    assert not any(each.program.has_shared_rules for each in programs)


def test_a_program_of_some_rules_trains_as_one_of_all_and_leaves_others_to_their_own(
    recipe: MakeRecipe, make_dataset: MakeDataset, make_plan: Callable[..., EpochPlan]
) -> None:
    dataset, name = make_dataset(), COMPILED_ENGINES[keras.backend.backend()]
    some = make_engine(name, dataset, HERE, rules=frozenset({"sgd", "rmsprop"}))
    every = make_engine(name, dataset, HERE)
    executables = []
    for kind in ("sgd", "rmsprop", "adam"):
        trained = []
        for engine in (some, every):
            state, _ = engine.run_epoch(engine.start(recipe(optimizer=kind), Seeds(1, 2, 3)), make_plan())
            trained.append(engine.weights(state))
        executables.append(some.start(recipe(optimizer=kind), Seeds(1, 2, 3)).executable)
        if kind != "adam":
            for one, other in zip(*trained, strict=True):
                np.testing.assert_array_equal(one, other)
    assert executables[0] is executables[1] is not executables[2]
    assert [each.program.has_shared_rules for each in executables] == [True, True, False]


def test_weights_with_constraints_are_updated_by_the_optimizers_one_by_one(
    recipe: MakeRecipe, make_dataset: MakeDataset, user_model: Callable[[str], str], tmp_path: Path
) -> None:
    reference = user_model(
        "def build(output_size):\n"
        " return keras.Sequential([keras.Input((5,)), layers.Dense(output_size, kernel_constraint='non_neg')])"
    )
    dataset = make_dataset()
    engine = make_engine(COMPILED_ENGINES[keras.backend.backend()], dataset, tmp_path)
    started = {}
    for kind in ("sgd", "adam", "adamw"):
        own = recipe(optimizer=kind, model__architecture=reference, learning_rate__peak=0.5)
        started[kind] = engine.start(own, Seeds(1, 2, 3))
    assert started["adam"].executable is started["adamw"].executable is not started["sgd"].executable
    plan = Controller(own, len(dataset.train), 1, 0, "val_loss", "minimize", dataset.task).next_epoch()
    state, _ = engine.run_epoch(started["sgd"], plan)
    assert engine.weights(state)[0].min() == 0.0


@pytest.mark.skipif(BACKEND != "tensorflow", reason="graphs of TensorFlow")
@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [(*pair, True) for pair in (*SAME_GRAPH, *SHARED)] + [(*pair, False) for pair in OTHER_GRAPH if pair not in SHARED],
)
def test_programs_of_one_key_are_one_graph_to_the_last_constant(
    recipe: MakeRecipe, make_dataset: MakeDataset, one: dict[str, Any], other: dict[str, Any], is_same: bool
) -> None:
    """Each is traced in its own engine, in blocks of one size."""
    dataset, recipes = make_dataset(), [recipe(**params) for params in (one, other)]
    rules = FEW_RULES | {str(each.optimizer.shared_rule) for each in recipes}
    keys = [(repr(params), rules) for params in (one, other)]
    for key, each in zip(keys, recipes, strict=True):
        if key not in GRAPHS:
            GRAPHS[key] = graph(make_engine(BACKEND, dataset, HERE, rules=rules), each, dataset)
    assert (GRAPHS[keys[0]] == GRAPHS[keys[1]]) == is_same


def graph(engine: Any, recipe: Recipe, dataset: Dataset) -> str:
    """Return the graph of an epoch's updates as text, without TensorFlow's numbers of functions."""
    import tensorflow as tf

    from nightune.models.engines.compiled.arrays import Data, Updates
    from nightune.models.engines.compiled.batch_layout import Shape
    from nightune.models.engines.compiled.tensorflow_backend import _train

    state = engine.start(recipe, Seeds(1, 2, 3))
    program = state.executable.program
    updates = Updates(
        np.zeros(program.hyperparameter_count, np.float32),
        np.zeros(30, np.int32),
        np.zeros((128, 2), np.int32),
        np.zeros((128, 3), np.float32),
        np.zeros(3, np.int32),
        np.int32(0),
    )
    data = Data(dataset.train.inputs, program.head.targets(dataset.train.targets), dataset.validation.inputs)
    arrays = (state.arrays, updates, np.float32(0.0), data)
    given = tf.nest.map_structure(lambda array: None if array is None else tf.constant(array), arrays)
    traced = tf.function(partial(_train, program, Shape(8, False)), autograph=False).get_concrete_function(*given)
    definition = traced.graph.as_graph_def()
    functions = sorted(unnumbered(function) for function in definition.library.function)
    return "\n".join([*map(unnumbered, definition.node), *functions])


def unnumbered(part: Any) -> str:
    return re.sub(r"_\d+", "", str(part))
