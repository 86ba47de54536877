"""The loop and its checkpoint: the best epoch's weights are returned, and never weights that are not finite."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset
from nightune.models.engines.make import make_engine
from nightune.models.errors import InputError
from nightune.models.networks.metrics import metrics
from nightune.models.networks.own_metrics import OwnMetric
from nightune.models.recipe.recipe import Recipe
from nightune.models.training.engine import EpochOutput
from nightune.models.training.loop import Outcome, train
from nightune.models.training.plan import EpochPlan
from nightune.models.training.seeds import Seeds


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, FitEngine, Head, save, save_checkpoint
    import keras

    from nightune.models.engines.fit.engine import FitEngine
    from nightune.models.networks.heads import Head
    from nightune.models.training.checkpoint import save, save_checkpoint


MakeDataset = Callable[..., Dataset]
MakeRecipe = Callable[..., Recipe]


@dataclass(frozen=True)
class ScriptedEngine:
    """Returns the outputs, losses and weights of a script; weights are [epoch], starting from [0]."""

    dataset: Dataset
    right: list[int]  # per epoch: how many validation examples are predicted well
    losses: Mapping[int, float]
    broken_outputs: int = 0
    broken_weights: int = 0
    at_once: int = 1
    name: str = "scripted"
    tags: Mapping[str, str] = None  # type: ignore[assignment]

    def start(self, recipe: Recipe, seeds: Seeds) -> int:
        return 0

    def epochs_at_once(self, _state: int, _plan: EpochPlan) -> int:
        return self.at_once

    def run_epochs(self, state: int, plans: Sequence[EpochPlan]) -> tuple[int, list[EpochOutput]]:
        outputs = []
        for plan in plans:
            state, output = self.run_epoch(state, plan)
            outputs.append(output if len(plans) == 1 else replace(output, weights=self.weights(state)))
        return state, outputs

    def run_epoch(self, state: int, plan: EpochPlan) -> tuple[int, EpochOutput]:
        targets = self.dataset.validation.targets
        outputs = np.eye(3)[(targets + (np.arange(len(targets)) >= self.right[plan.epoch - 1])) % 3] * 4.0
        if plan.epoch == self.broken_outputs:
            outputs[0, 0] = np.nan
        return plan.epoch, EpochOutput(self.losses.get(plan.epoch, 1.0), outputs, Head("classes", is_logits=True), 0.5)

    def weights(self, state: int) -> list[np.ndarray]:
        return [np.array([np.nan if state == self.broken_weights > 0 else float(state)])]

    def is_finite(self, state: int) -> bool:
        return not state == self.broken_weights > 0

    def trial_tags(self, state: int) -> Mapping[str, str]:
        return {"nightune.xla": "no"}

    def model(self, recipe: Recipe, weights: list[np.ndarray]) -> Any:
        raise NotImplementedError


@pytest.fixture(params=[1, 3, 9], ids="{} epochs at once".format)
def scripted(make_dataset: MakeDataset, recipe: MakeRecipe, request: pytest.FixtureRequest) -> Callable[..., Outcome]:
    """Return a function that trains by a script; the number of epochs computed at once changes nothing."""

    def run(right: list[int], params: Mapping[str, Any] | None = None, **script: Any) -> Outcome:
        dataset = make_dataset()
        engine = ScriptedEngine(dataset, right, script.pop("losses", {}), at_once=request.param, **script)
        options = {"epochs": len(right), "seed": 1, "monitor": "val_accuracy", "direction": "maximize"}
        return train(engine, recipe(**{"stopping__rule": "none", **(params or {})}), dataset, **options)

    return run


def test_the_weights_of_the_best_epoch_are_returned(scripted: Callable[..., Outcome]) -> None:
    outcome = scripted([5, 12, 20, 12, 20])
    assert (outcome.status, outcome.best_epoch, outcome.epochs) == ("completed", 3, 5)
    assert outcome.weights[0].tolist() == [3.0]
    assert outcome.objective == max(outcome.curves["val_accuracy"]) == pytest.approx(20 / 22)
    assert (outcome.updates, outcome.examples) == (5, 110)


def test_a_patient_rule_stops_early_and_gives_its_reason(scripted: Callable[..., Outcome]) -> None:
    outcome = scripted([5, 12, 11, 10, 22], {"stopping__rule": "patience", "stopping__patience": 2})
    assert (outcome.status, outcome.best_epoch, outcome.epochs) == ("stopped_early", 2, 4)
    assert "no improvement" in outcome.message


def test_every_curve_has_one_value_an_epoch(scripted: Callable[..., Outcome]) -> None:
    outcome = scripted([5, 12, 20], {"learning_rate__schedule": "cosine"})
    assert {len(curve) for curve in outcome.curves.values()} == {3}
    assert set(outcome.curves) == {
        *("loss", "val_loss", "val_accuracy", "val_balanced_accuracy", "val_f1_macro"),
        *("learning_rate", "weight_decay", "batch_size", "penalty", "updates", "examples", "seconds"),
    }
    assert outcome.curves["updates"] == [1.0, 2.0, 3.0]
    assert outcome.curves["learning_rate"][0] > outcome.curves["learning_rate"][2]


def test_named_metrics_are_monitored_and_reported(make_dataset: MakeDataset, recipe: MakeRecipe) -> None:
    engine = ScriptedEngine(make_dataset(), [5, 12, 20], {})
    options: dict[str, Any] = {"epochs": 3, "seed": 0, "monitor": "val_mcc", "direction": "maximize"}
    outcome = train(engine, recipe(), make_dataset(), **options, report=("val_accuracy", "val_brier"))
    assert outcome.objective == outcome.curves["val_mcc"][outcome.best_epoch - 1] == max(outcome.curves["val_mcc"])
    assert len(outcome.curves["val_brier"]) == len(outcome.curves["val_accuracy"]) == 3
    assert "val_pr_auc" not in outcome.curves


def test_a_metric_of_the_user_is_monitored(make_dataset: MakeDataset, recipe: MakeRecipe) -> None:
    engine = ScriptedEngine(make_dataset(), [5, 20, 12], {})
    own = OwnMetric(
        "hits", "maximize", Path("own.py"), lambda y_true, y_pred: float((y_pred.argmax(1) == y_true).sum())
    )
    options: dict[str, Any] = {"epochs": 3, "seed": 0, "monitor": "val_hits", "direction": "maximize"}
    outcome = train(engine, recipe(), make_dataset(), **options, own=own)
    assert (outcome.objective, outcome.best_epoch, outcome.curves["val_hits"]) == (20, 2, [5, 20, 12])


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        ({"losses": {3: np.nan}}, "loss is nan in epoch 3"),
        ({"losses": {3: np.inf}}, "loss is inf in epoch 3"),
        ({"broken_outputs": 3}, "val_loss is nan in epoch 3"),
        ({"broken_weights": 3}, "weights are not finite in epoch 3"),
    ],
    ids=["loss", "infinite", "validation", "weights"],
)
def test_any_value_that_is_not_finite_ends_the_training_with_the_best_earlier_weights(
    scripted: Callable[..., Outcome], script: dict[str, Any], cause: str
) -> None:
    outcome = scripted([5, 12, 22, 22], **script)
    assert (outcome.status, outcome.best_epoch, outcome.epochs, outcome.message) == ("diverged", 2, 3, cause)
    assert outcome.weights[0].tolist() == [2.0]
    assert outcome.objective == pytest.approx(12 / 22)


def test_without_a_finite_epoch_the_initial_weights_are_returned(scripted: Callable[..., Outcome]) -> None:
    outcome = scripted([5, 5], broken_weights=1)
    assert (outcome.status, outcome.best_epoch) == ("diverged", 0)
    assert outcome.weights[0].tolist() == [0.0]
    assert np.isnan(outcome.objective)


def test_each_epoch_is_reported_as_it_ends(make_dataset: MakeDataset, recipe: MakeRecipe) -> None:
    reported: list[tuple[int, Mapping[str, float]]] = []
    dataset = make_dataset()
    train(
        ScriptedEngine(dataset, [3, 4], {}),
        recipe(),
        dataset,
        epochs=2,
        seed=0,
        monitor="val_loss",
        direction="minimize",
        on_epoch=lambda epoch, values: reported.append((epoch, dict(values))),
    )
    assert [epoch for epoch, _ in reported] == [1, 2]
    assert reported[0][1]["val_accuracy"] == pytest.approx(3 / 22)


def test_an_interruption_passes_through(make_dataset: MakeDataset, recipe: MakeRecipe) -> None:
    def interrupt(epoch: int, values: Mapping[str, float]) -> None:
        raise KeyboardInterrupt

    dataset = make_dataset()
    engine = ScriptedEngine(dataset, [3], {})
    options: dict[str, Any] = {"epochs": 1, "seed": 0, "monitor": "val_loss", "direction": "minimize"}
    with pytest.raises(KeyboardInterrupt):
        train(engine, recipe(), dataset, **options, on_epoch=interrupt)


def test_a_metric_of_another_task_is_refused_before_training(make_dataset: MakeDataset, recipe: MakeRecipe) -> None:
    dataset = make_dataset("regression")
    engine = ScriptedEngine(dataset, [], {})
    with pytest.raises(InputError, match=r"objective.metric: unknown metric of a regression task 'val_acuracy'"):
        train(engine, recipe(), dataset, epochs=1, seed=0, monitor="val_acuracy", direction="maximize")


TRAINED = {
    "epochs": 5,
    "seed": 3,
    "monitor": "val_loss",
    "direction": "minimize",
}
RICH = {
    "optimizer": "adam",
    "learning_rate__peak": 0.3,  # so high that the last epoch is not the best
    "weight_decay__profile": "fixed",
    "penalty__kind": "elastic",
    "stopping__rule": "none",
    "model__units": [6],
    "model__dropout": 0.2,
    "model__batch_normalization": True,
}


@pytest.mark.parametrize("task", ["multiclass", "binary", "regression"])
def test_the_checkpoint_reproduces_the_best_validation_metric(
    make_dataset: MakeDataset, recipe: MakeRecipe, tmp_path: Path, task: str
) -> None:
    dataset = make_dataset(task)
    engine = FitEngine(dataset, Path())
    outcome = train(engine, recipe(**RICH), dataset, **TRAINED)  # type: ignore[arg-type]
    path = tmp_path / "model.keras"
    assert save_checkpoint(engine, outcome, path)
    assert [file.name for file in tmp_path.iterdir()] == ["model.keras"]
    model = keras.saving.load_model(path)  # in safe mode, without custom objects
    assert not model.compiled
    outputs = model.predict(dataset.validation.inputs, verbose=0)
    found = metrics(task, outputs, dataset.validation.targets, is_logits=True)["loss"]
    assert found == pytest.approx(min(outcome.curves["val_loss"]), rel=1e-6)
    assert found == pytest.approx(outcome.objective, rel=1e-6)


def test_the_same_seed_gives_the_same_training_after_any_other(make_dataset: MakeDataset, recipe: MakeRecipe) -> None:
    dataset = make_dataset()
    first = train(FitEngine(dataset, Path()), recipe(**RICH), dataset, **TRAINED)  # type: ignore[arg-type]
    engine = FitEngine(dataset, Path())
    train(engine, recipe(), dataset, **{**TRAINED, "seed": 8, "epochs": 1})  # type: ignore[arg-type]
    second = train(engine, recipe(**RICH), dataset, **TRAINED)  # type: ignore[arg-type]
    for name, curve in first.curves.items():
        if name != "seconds":
            assert second.curves[name] == curve, name
    assert all(np.array_equal(*pair) for pair in zip(first.weights, second.weights, strict=True))


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    class NoConfig(keras.Model):
        def get_config(self) -> dict[str, Any]:
            raise NotImplementedError("no config")

    model, path = NoConfig(), tmp_path / "model.keras"
    model.built = True
    path.write_text("old")
    with pytest.raises(InputError, match=r"cannot be saved as \.keras: NotImplementedError: no config"):
        save(model, path)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("model.keras", "old")]


def test_a_compiled_model_of_the_user_is_saved_without_its_optimizer(
    make_dataset: MakeDataset, recipe: MakeRecipe, user_model: Callable[[str], str], tmp_path: Path
) -> None:
    reference = user_model(
        "def build(output_size):\n m = keras.Sequential([keras.Input((5,)), layers.Dense(output_size, 'softmax')])\n"
        " m.compile('adam', loss='sparse_categorical_crossentropy')\n return m"
    )
    dataset = make_dataset()
    engine = FitEngine(dataset, tmp_path)
    compiled = recipe(model__architecture=reference, stopping__rule="none")
    outcome = train(engine, compiled, dataset, **{**TRAINED, "epochs": 2})  # type: ignore[arg-type]
    save_checkpoint(engine, outcome, tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras")
    found = metrics("multiclass", model.predict_on_batch(dataset.validation.inputs), dataset.validation.targets, False)
    assert found["loss"] == pytest.approx(outcome.objective, rel=1e-6)


def test_fit_names_its_backend(make_dataset: MakeDataset) -> None:
    engine = make_engine("fit", make_dataset(), Path())
    assert engine.name == "fit"
    assert engine.tags["nightune.backend"] == keras.backend.backend()


def test_an_unknown_engine_is_refused(make_dataset: MakeDataset) -> None:
    with pytest.raises(InputError, match="engine: unknown 'fitt'; did you mean 'fit'"):
        make_engine("fitt", make_dataset(), Path())
