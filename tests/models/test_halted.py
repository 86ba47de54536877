"""Trainings that halt at a rung resume bit-equal, and are kept in memory only if that is cheap."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.engines.make import make_engine
from nightune.models.recipe.params import read_recipe
from nightune.models.training.engine import COMPILED_ENGINES
from nightune.models.training.halted import HaltedTrainings
from nightune.models.training.loop import Outcome, train
from tests.models.conftest import FEW_RULES, MakeDataset


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras
    import keras


PARAMS: dict[str, Any] = {
    "optimizer": "adam",
    "learning_rate.peak": 0.05,
    "learning_rate.schedule": "plateau",
    "learning_rate.plateau_patience": 1,
    "batch_size.size": 4,
    "model.units": [4],
    "model.dropout": 0.2,
}


@pytest.mark.parametrize("kind", ["fit", "compiled"])
def test_a_halted_training_resumes_bit_equal_with_others_in_between(kind: str, make_dataset: MakeDataset) -> None:
    dataset = make_dataset(examples=11)
    name = COMPILED_ENGINES[keras.backend.backend()] if kind == "compiled" else kind
    engine, recipe = make_engine(name, dataset, Path(), rules=FEW_RULES), read_recipe(PARAMS)

    def trained(seed: int, **options: Any) -> Outcome:
        return train(engine, recipe, dataset, epochs=5, seed=seed, monitor="val_loss", direction="minimize", **options)

    halted = [trained(seed, until=2) for seed in (3, 4)]
    assert [each.status for each in halted] == ["not_promoted"] * 2
    prefixes = [dict(each.curves) for each in halted]
    whole = [trained(seed, halted=each.halted) for seed, each in zip((3, 4), halted, strict=True)]
    for seed, prefix, resumed in zip((3, 4), prefixes, whole, strict=True):
        unbroken = trained(seed)
        assert (resumed.status, resumed.best_epoch, resumed.epochs) == ("completed", unbroken.best_epoch, 5)
        assert resumed.curves["val_loss"] == unbroken.curves["val_loss"]
        assert resumed.curves["learning_rate"] == unbroken.curves["learning_rate"]
        assert prefix["val_loss"] == unbroken.curves["val_loss"][:2]
        for one, other in zip(resumed.weights, unbroken.weights, strict=True):
            np.testing.assert_array_equal(one, other)
        assert resumed.halted is None


@pytest.fixture
def outcome(make_dataset: MakeDataset) -> Outcome:
    """A training that halted after its second epoch."""
    dataset = make_dataset(examples=11)
    engine = make_engine("fit", dataset, Path())
    recipe = read_recipe(PARAMS)
    return train(engine, recipe, dataset, epochs=5, seed=3, monitor="val_loss", direction="minimize", until=2)


class Named:
    """The part of an engine that a halted training requires."""

    def __init__(self, name: str) -> None:
        self.name = name


def test_a_kept_training_is_taken_once_and_only_to_resume(outcome: Outcome) -> None:
    kept = HaltedTrainings()
    kept.keep("a", Named("tensorflow"), outcome)  # type: ignore[arg-type]
    kept.keep("b", Named("tensorflow"), outcome)  # type: ignore[arg-type]
    assert kept.take("a", until=4) is outcome.halted
    assert kept.take("a", until=4) is None
    assert kept.take("b", until=2) is None


def test_trainings_that_ended_do_not_fit_or_are_costly_are_not_kept(outcome: Outcome) -> None:
    kept = HaltedTrainings()
    kept.keep("ended", Named("tensorflow"), replace(outcome, halted=None))  # type: ignore[arg-type]
    kept.keep("costly", Named("fit"), outcome)  # type: ignore[arg-type]
    assert kept.take("ended", until=4) is None
    assert kept.take("costly", until=4) is None
    size = 4 * sum(weight.nbytes for weight in outcome.weights) + 8 * outcome.examples
    two = HaltedTrainings(kept_bytes=2 * size)
    for name in ("first", "second", "third"):
        two.keep(name, Named("jax"), outcome)  # type: ignore[arg-type]
    assert [two.take(name, until=4) is not None for name in ("first", "second", "third")] == [False, True, True]
