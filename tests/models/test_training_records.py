"""A training logs its values, and one that was interrupted and restarted equals the uninterrupted one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.engines.make import make_engine
from nightune.models.recipe.params import read_recipe
from nightune.models.recipe.recipe import Recipe
from nightune.models.training.engine import EpochOutput
from nightune.models.training.loop import Outcome, train
from nightune.models.training.plan import EpochPlan
from tests.models.conftest import FEW_RULES, MakeDataset


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global FitEngine, FitState
    from nightune.models.engines.fit.engine import FitEngine
    from nightune.models.engines.fit.fitted_epoch import FitState


# The mean of the outputs is the loss, and its gradient by θ is always 1: θ shows the effect of the updates.
GRADIENT_ONE = """
class Probe(keras.Model):
    def __init__(self):
        super().__init__()
        self.theta = self.add_weight(shape=(1, 1), initializer="ones", name="kernel")

    def call(self, inputs):
        return inputs[:, :1] + self.theta

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(y_pred)

def build(): return Probe()
"""

SCHEDULED: dict[str, dict[str, Any]] = {
    "a plateau lowers the rate, the batch grows": {
        "learning_rate.schedule": "plateau",
        "learning_rate.plateau_patience": 1,
        "learning_rate.plateau_min_delta": 1e6,
        "batch_size.policy": "geometric",
        "batch_size.size": 4,
        "weight_decay.profile": "fixed",
        "weight_decay.strength": 0.3,
    },
    "one update an epoch, decay by the schedule": {
        "learning_rate.schedule": "cosine",
        "learning_rate.warmup_fraction": 0.2,
        "batch_size.size": 22,
        "weight_decay.profile": "tied",
        "weight_decay.strength": 0.2,
    },
    "a plateau grows the batch": {
        "batch_size.policy": "plateau_grow",
        "batch_size.size": 3,
        "batch_size.patience": 1,
        "batch_size.min_delta": 1e6,
        "weight_decay.profile": "fixed",
    },
    "combined lowers the rate and grows the batch": {
        "stopping.rule": "combined",
        "stopping.action": "alternate",
        "stopping.patience": 1,
        "stopping.min_delta": 1e6,
        "batch_size.size": 5,
    },
}


def kept_thetas(engine: FitEngine) -> list[float]:
    """Keep θ after every epoch of an engine."""
    thetas: list[float] = []
    run_epoch = engine.run_epoch

    def watched(state: FitState, plan: EpochPlan) -> tuple[FitState, EpochOutput]:
        state, output = run_epoch(state, plan)
        thetas.append(float(engine.weights(state)[0][0, 0]))
        return state, output

    engine.run_epoch = watched
    return thetas


@pytest.mark.parametrize("name", SCHEDULED)
def test_the_logged_rate_size_and_decay_reconstruct_every_epoch(
    name: str, make_dataset: MakeDataset, user_model: Callable[[str], str], tmp_path: Path
) -> None:
    dataset = make_dataset("regression")
    params = {"stopping.rule": "none", "learning_rate.peak": 0.1, **SCHEDULED[name]}
    probe = read_recipe({"optimizer": "sgd", "model.architecture": user_model(GRADIENT_ONE), **params})
    engine = FitEngine(dataset, tmp_path)
    thetas = kept_thetas(engine)
    curves = end(engine, probe, dataset, epochs=6).curves
    theta = 1.0
    for epoch, after in enumerate(thetas):
        rate, size = curves["learning_rate"][epoch], curves["batch_size"][epoch]
        updates = -(-len(dataset.train) // int(size))
        for _ in range(updates):
            theta = theta * (1.0 - rate * curves["weight_decay"][epoch]) - rate
        assert after == pytest.approx(theta, rel=1e-4, abs=1e-5)
        theta = after
    changed = [len(set(curves[curve])) > 1 for curve in ("learning_rate", "batch_size", "weight_decay")]
    assert any(changed)


class CutShortError(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("kind", ["fit", "compiled"])
@pytest.mark.parametrize("epochs", [2])
def test_a_training_cut_short_and_restarted_equals_the_uninterrupted_one(
    kind: str, epochs: int, make_dataset: MakeDataset, recipe: Callable[..., Recipe], kept: dict[str, Any]
) -> None:
    from nightune.models.training.engine import COMPILED_ENGINES

    dataset = make_dataset()
    tried = recipe(
        optimizer="adam",
        model__dropout=0.3,
        learning_rate__schedule="plateau",
        learning_rate__plateau_patience=1,
        weight_decay__profile="tied",
        batch_size__policy="random",
        batch_size__minimum=3,
    )
    if kind not in kept:
        import keras

        name = "fit" if kind == "fit" else COMPILED_ENGINES[keras.backend.backend()]
        kept[kind] = make_engine(name, dataset, Path(), rules=FEW_RULES)
        kept[f"{kind} unbroken"] = end(kept[kind], tried, dataset, epochs=4)

    def cut(epoch: int, values: Mapping[str, float]) -> None:
        if epoch == epochs:
            raise CutShortError

    with pytest.raises(CutShortError):
        end(kept[kind], tried, dataset, epochs=4, on_epoch=cut)
    again, unbroken = end(kept[kind], tried, dataset, epochs=4), kept[f"{kind} unbroken"]
    assert [np.array_equal(*pair) for pair in zip(again.weights, unbroken.weights, strict=True)] == [True] * len(
        unbroken.weights
    )
    # A compiled epoch is split into calls by time, and the running loss is summed by call.
    assert again.curves["loss"] == pytest.approx(unbroken.curves["loss"], rel=1e-6)
    timeless = [name for name in unbroken.curves if name not in ("seconds", "loss")]
    assert all(again.curves[name] == unbroken.curves[name] for name in timeless)
    assert (again.status, again.best_epoch) == (unbroken.status, unbroken.best_epoch)


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    """Engines shared by the module, with an uninterrupted training of each."""
    return {}


def end(engine: Any, recipe: Recipe, dataset: Any, epochs: int, on_epoch: Any = None) -> Outcome:
    return train(
        engine,
        recipe,
        dataset,
        epochs=epochs,
        seed=2,
        monitor="val_loss",
        direction="minimize",
        on_epoch=on_epoch,
    )


def test_a_penalty_changes_no_metric_that_ranks(make_dataset: MakeDataset, recipe: Callable[..., Recipe]) -> None:
    from nightune.models.networks.metrics import metrics

    dataset = make_dataset("regression")
    engine, measured = FitEngine(dataset, Path()), []
    for strength in (1e-6, 10.0):
        tried = recipe(penalty__kind="l2", penalty__strength=strength, learning_rate__peak=1e-30)  # weights stay
        trained = end(engine, tried, dataset, epochs=1)
        measured.append([trained.objective, trained.curves["loss"]])
        outputs = np.array(engine.model(tried, trained.weights).predict_on_batch(dataset.validation.inputs))
        plain = metrics("regression", outputs, dataset.validation.targets, is_logits=False)["loss"]
        assert trained.objective == pytest.approx(plain, rel=1e-6)
    assert measured[0] == measured[1]


@pytest.mark.parametrize("kind", ["fit", "compiled"])
def test_a_second_trial_in_the_same_engine_decays_by_its_own_strength(
    kind: str, make_dataset: MakeDataset, recipe: Callable[..., Recipe]
) -> None:
    import keras

    from nightune.models.training.engine import COMPILED_ENGINES

    dataset = make_dataset()
    name = "fit" if kind == "fit" else COMPILED_ENGINES[keras.backend.backend()]
    shared, unused = (make_engine(name, dataset, Path(), rules=FEW_RULES) for _ in range(2))
    strong, weak = (
        recipe(
            weight_decay__profile="exponential", weight_decay__strength=strength, weight_decay__coupling="independent"
        )
        for strength in (0.9, 0.01)
    )
    ends = [end(shared, decaying, dataset, epochs=3) for decaying in (strong, weak)]
    alone = end(unused, weak, dataset, epochs=3)
    assert all(np.array_equal(*pair) for pair in zip(ends[1].weights, alone.weights, strict=True))
    assert np.abs(ends[0].weights[0]).max() < 0.5 * np.abs(ends[1].weights[0]).max()
