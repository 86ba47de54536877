"""Every pair of kinds is trained, or refused by a named rule before training."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset
from nightune.models.engines.make import make_engine
from nightune.models.recipe.params import KEYS, read_recipe
from nightune.models.recipe.recipe import Recipe
from nightune.models.recipe.rules import RULES
from nightune.models.techniques.optimizers.optimizers import OPTIMIZERS
from nightune.models.training.engine import COMPILED_ENGINES
from nightune.models.training.loop import train
from tests.models.conftest import MakeDataset
from tests.models.covering import KINDS, Covering, Row, covering, params_of, refusal, sample
from tests.models.test_engine_equality import ONLY_IN_FIT


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras
    import keras


HERE = Path()


@cache
def pairs() -> Covering:
    return covering(strength=2)


@pytest.fixture(scope="module")
def engines() -> dict[str, Any]:
    """Engines shared by the module, so that rows of one graph shape share a program."""
    return {}


def test_every_option_that_only_fit_trains_trains_two_epochs_to_finite_weights(
    engines: dict[str, Any], make_dataset: MakeDataset
) -> None:
    """The others are trained by `test_every_compiled_kind_matches_fit`."""
    chosen = sample(pairs(), times=1)
    assert {option for row in chosen for option in row.items()} == {
        each for row in pairs().rows for each in row.items()
    }
    assert len(chosen) < len(pairs().rows) / 8
    rows = [row for row in chosen if set(ONLY_IN_FIT) & set(row.items())]
    assert rows
    train_all(rows, engines, make_dataset(examples=11))


@pytest.mark.nights
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_pair_of_kinds_trains_two_epochs_to_finite_weights(
    optimizer: str, engines: dict[str, Any], make_dataset: MakeDataset
) -> None:
    rows = [row for row in pairs().rows if row["optimizer"] == optimizer]
    assert rows
    train_all(rows, engines, make_dataset(examples=11))


def train_all(rows: Iterable[Row], engines: dict[str, Any], dataset: Dataset) -> None:
    """Train each row two epochs in the engine that `auto` chooses for it."""
    for params in map(params_of, rows):
        recipe = read_recipe(params)
        engine = auto_engine(engines, recipe, dataset)
        outcome = train(engine, recipe, dataset, epochs=2, seed=3, monitor="val_loss", direction="minimize")
        assert all(np.isfinite(weight).all() for weight in outcome.weights), params
        if outcome.status == "diverged":
            assert outcome.message, params
        else:
            assert all(np.isfinite(outcome.curves[name]).all() for name in KNOWN), params


# Of every epoch; the measurements of an adaptive technique may be missing in one.
KNOWN = ("loss", "val_loss", "learning_rate", "weight_decay", "batch_size", "penalty", "updates", "examples")


def auto_engine(engines: dict[str, Any], recipe: Recipe, dataset: Dataset) -> Any:
    """Return the engine that `auto` would choose for the recipe: the compiled one, or `fit` if that refuses it."""
    for name in ("fit", COMPILED_ENGINES[keras.backend.backend()]):
        if name not in engines:
            engines[name] = make_engine(name, dataset, HERE)
    compiled = engines[COMPILED_ENGINES[keras.backend.backend()]]
    return engines["fit"] if compiled.refusals(recipe) else compiled


def test_every_refused_pair_is_refused_by_a_named_rule() -> None:
    assert set(pairs().refused.values()) <= set(RULES)
    assert pairs().refused[("optimizer", "gd"), ("batch_size.policy", "random")] == "C1"
    assert pairs().refused[("learning_rate.schedule", "plateau"), ("batch_size.policy", "plateau_grow")] == "C3"


def test_the_covering_array_holds_every_pair() -> None:
    held = {
        frozenset([(one, row[one]), (other, row[other])])
        for row in pairs().rows
        for one in row
        for other in row
        if one != other
    }
    held |= {frozenset(pair) for pair in pairs().refused}
    for place, one in enumerate(KINDS):
        for other in KINDS[place + 1 :]:
            wanted = {frozenset([(one, a), (other, b)]) for a in KEYS[one].options for b in KEYS[other].options}
            assert wanted <= held
    assert all(refusal(row) is None for row in pairs().rows)
