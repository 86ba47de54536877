"""A trial with folds: the objective of a plain loop over them, one program, one decision, and bit-equal resumption."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from sklearn.datasets import load_wine
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

from nightune.models.data.dataset import Dataset, Examples, Purpose
from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.engines.make import make_engine
from nightune.models.recipe.params import read_recipe
from nightune.models.training.engine import COMPILED_ENGINES, Engine, EpochOutput
from nightune.models.training.folds import ALL_ROWS, FoldsEngine, FoldsOutput, standard_error
from nightune.models.training.loop import Outcome, train
from nightune.models.training.seeds import Seeds
from nightune.vocabulary import Status
from tests.models.conftest import BACKEND, FEW_RULES
from tests.models.test_snapshots import Kept, Resumed, is_equal


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, pace
    import keras

    from nightune.models.engines.compiled import pace


COMPILED = COMPILED_ENGINES.get(BACKEND, "")
PARAMS = {"optimizer": "adam", "learning_rate.peak": 0.01, "model.units": [4], "batch_size.size": 8}


@pytest.fixture(scope="module")
def wine() -> Dataset:
    return load_dataset(DataSettings("wine", split=Split(folds=3)), Path())


@pytest.fixture
def uneven() -> Dataset:
    """Two folds of 35 rows: one trains on 17, the other on 18."""
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(35, 5)).astype(np.float32)
    targets = np.digitize(inputs[:, :2].sum(axis=1), [-0.7, 0.7]).astype(np.int32)
    first, second = (Examples(inputs[part], targets[part]) for part in (slice(17), slice(17, None)))
    whole = Examples(inputs, targets)
    plain = Dataset(whole, first, cast(Any, first), "multiclass", (0, 1, 2), "0" * 16, (), None, {})
    return plain.with_folds([(first, second), (second, first)])


def on_folds(name: str, dataset: Dataset, *, trains_all_rows: bool = False) -> Engine:
    engine = make_engine(name, dataset, Path(), rules=FEW_RULES)
    return cast(Engine, FoldsEngine(engine, [engine.of_fold(fold) for fold in dataset.folds], trains_all_rows))


def run(engine: Engine, dataset: Dataset, params: dict[str, Any] = PARAMS, epochs: int = 4, **more: Any) -> Outcome:
    return train(
        engine,
        read_recipe(params),
        dataset,
        epochs=epochs,
        seed=5,
        monitor="val_loss",
        direction="minimize",
        **more,
    )


def test_the_objective_is_that_of_a_plain_loop_with_keras(wine: Dataset) -> None:
    """Whole batches, so that the order of the examples does not matter; initial weights as for the folds' seeds."""
    x, y = load_wine(return_X_y=True)
    test = wine.test.open(Purpose.GATE, lambda: None).table
    is_sealed = {tuple(row) for row in test.to_numpy()}
    pool = np.array([row for row in range(len(x)) if tuple(x[row]) not in is_sealed])
    params = {"optimizer": "adam", "learning_rate.peak": 0.02, "model.units": [8], "batch_size.size": 95}
    recipe, engine = read_recipe(params), make_engine("fit", wine, Path())
    curves = []
    splitter = StratifiedKFold(3, shuffle=True, random_state=0)
    for number, (train_rows, held) in enumerate(splitter.split(pool, y[pool]), start=1):
        scaler = StandardScaler().fit(x[pool[train_rows]])
        state = engine.start(recipe, Seeds.from_trial(5).of_fold(number))
        model = keras.Sequential([keras.Input((13,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(3)])
        model.set_weights(state.model.get_weights())
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(0.02), loss)
        inputs = scaler.transform(x[pool])
        history = model.fit(
            inputs[train_rows],
            y[pool[train_rows]],
            validation_data=(inputs[held], y[pool[held]]),
            batch_size=len(train_rows),
            epochs=4,
            verbose=0,
        )
        curves.append(history.history["val_loss"])
    mean = np.mean(curves, axis=0)
    outcome = run(on_folds("fit", wine), wine, params, epochs=4)
    np.testing.assert_allclose(outcome.curves["val_loss"], mean, rtol=1e-4)
    for number, curve in enumerate(curves, start=1):
        np.testing.assert_allclose(outcome.curves[f"fold_{number}/val_loss"], curve, rtol=1e-4)
    assert outcome.objective == pytest.approx(mean.min(), rel=1e-4)
    assert outcome.best_epoch == 1 + int(mean.argmin())
    error = np.std([curve[outcome.best_epoch - 1] for curve in curves], ddof=1) / np.sqrt(3)
    assert standard_error(outcome.curves, "val_loss", outcome.best_epoch) == pytest.approx(error, rel=1e-3)


@pytest.mark.skipif(not COMPILED, reason="the backend has no compiled engine")
@pytest.mark.parametrize("normalizes", [False, pytest.param(True, marks=pytest.mark.nights)])
def test_engines_agree_on_folds_of_uneven_sizes(uneven: Dataset, normalizes: bool) -> None:
    params = PARAMS | {"model.batch_normalization": normalizes}
    ours, theirs = (run(on_folds(name, uneven), uneven, params) for name in (COMPILED, "fit"))
    assert ours.best_epoch == theirs.best_epoch
    assert ours.updates == theirs.updates == 4 * 2 * 3
    for name in ("val_loss", "fold_1/val_loss", "fold_2/val_accuracy"):
        np.testing.assert_allclose(ours.curves[name], theirs.curves[name], atol=1e-4)
    for one, other in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.skipif(not COMPILED, reason="the backend has no compiled engine")
def test_engines_weigh_the_rows_and_classes_of_each_fold_alike(uneven: Dataset) -> None:
    weights = np.random.default_rng(1).uniform(0.5, 2.0, size=35).astype(np.float32)
    parts = (slice(17), slice(17, None))
    first, second = (
        Examples(uneven.train.inputs[part], uneven.train.targets[part], weights=weights[part]) for part in parts
    )
    whole = Examples(uneven.train.inputs, uneven.train.targets, weights=weights)
    weighted = replace(uneven, train=whole).with_folds([(first, second), (second, first)])
    params = PARAMS | {"training.class_weight": "balanced"}
    ours, theirs = (run(on_folds(name, weighted, trains_all_rows=True), weighted, params) for name in (COMPILED, "fit"))
    for name in ("val_loss", "fold_1/loss", "fold_2/val_accuracy", f"{ALL_ROWS}/loss"):
        np.testing.assert_allclose(ours.curves[name], theirs.curves[name], atol=1e-4)
    plain = run(on_folds("fit", uneven), uneven, params)
    assert not np.allclose(theirs.curves["fold_1/val_loss"], plain.curves["fold_1/val_loss"], atol=1e-3)


def compilations(engine: Any) -> int:
    """How many functions the one program of an engine has compiled for training."""
    (program,) = engine._programs.values()
    if BACKEND == "jax":
        return int(program._train._cache_size())
    return sum(function.experimental_get_tracing_count() for function in program._train.values())


@pytest.mark.skipif(not COMPILED, reason="the backend has no compiled engine")
def test_folds_of_uneven_sizes_and_all_rows_share_one_compiled_program(uneven: Dataset) -> None:
    engine = make_engine(COMPILED, uneven, Path(), rules=FEW_RULES)
    folds = [engine.of_fold(fold) for fold in uneven.folds]
    run(cast(Engine, FoldsEngine(engine, folds, trains_all_rows=True)), uneven)
    assert compilations(engine) == 1


def test_the_folds_stop_together_by_their_mean(uneven: Dataset) -> None:
    params = PARAMS | {"learning_rate.peak": 0.3, "stopping.rule": "patience", "stopping.patience": 2}
    outcome = run(on_folds("fit", uneven), uneven, params, epochs=40)
    mean = np.mean([outcome.curves[f"fold_{number}/val_loss"] for number in (1, 2)], axis=0)
    np.testing.assert_allclose(outcome.curves["val_loss"], mean)
    assert outcome.status is Status.STOPPED_EARLY
    assert outcome.best_epoch == 1 + int(mean.argmin()) == outcome.epochs - 2
    assert {len(curve) for curve in outcome.curves.values()} == {outcome.epochs}


def test_a_replicate_keeps_the_model_of_all_rows_after_the_epochs_that_the_folds_settled(uneven: Dataset) -> None:
    params = PARAMS | {"learning_rate.peak": 0.3}
    outcome = run(on_folds("fit", uneven, trains_all_rows=True), uneven, params, epochs=8)
    assert 0 < outcome.best_epoch < 8
    assert outcome.tags["nightune.trained_on"].startswith("all rows")
    assert f"{ALL_ROWS}/loss" in outcome.curves
    # The same training as a third fold; halted there, its weights are those of the epoch.
    third = uneven.with_folds([*((each.train, each.validation) for each in uneven.folds), (uneven.train, uneven.train)])
    engine = on_folds("fit", third)
    halted = run(engine, third, params, epochs=8, until=outcome.best_epoch).halted
    assert halted is not None
    for ours, theirs in zip(outcome.weights, engine.weights(halted.state), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_searching_trial_keeps_the_model_of_its_last_fold(uneven: Dataset) -> None:
    engine = on_folds("fit", uneven)
    outcome = run(engine, uneven)
    assert outcome.tags["nightune.trained_on"] == "fold 2"
    outputs = engine.model(outcome.recipe, outcome.weights).predict(uneven.folds[1].validation.inputs, verbose=0)
    measured = engine.head(outcome.recipe).metrics("multiclass", outputs, uneven.folds[1].validation.targets)
    assert measured["loss"] == pytest.approx(outcome.curves["fold_2/val_loss"][outcome.best_epoch - 1], rel=1e-5)


@pytest.mark.parametrize("name", ["fit", COMPILED])
def test_a_training_on_folds_resumes_bit_equal(uneven: Dataset, tmp_path: Path, name: str) -> None:
    if not name:
        pytest.skip("the backend has no compiled engine")
    params = PARAMS | {"learning_rate.schedule": "plateau", "learning_rate.plateau_patience": 1}
    whole = run(on_folds(name, uneven, trains_all_rows=True), uneven, params, keeper=Kept(tmp_path))
    keeper = Resumed(tmp_path, back_to=2)
    resumed = run(on_folds(name, uneven, trains_all_rows=True), uneven, params, keeper=keeper)
    assert keeper.refusals == []
    assert is_equal(resumed, whole)
    # One of the folds alone, without the training on all rows, is another training.
    other = run(on_folds(name, uneven), uneven, params, keeper=keeper)
    assert len(keeper.refusals) == 1
    assert other.epochs == 4


def test_a_halted_training_on_folds_is_a_prefix(uneven: Dataset) -> None:
    whole, engine = run(on_folds("fit", uneven), uneven), on_folds("fit", uneven)
    first = run(engine, uneven, until=2)
    assert first.status is Status.NOT_PROMOTED
    assert is_equal(run(engine, uneven, halted=first.halted), whole)


def test_a_fold_that_diverges_ends_the_trial(uneven: Dataset) -> None:
    broken = uneven.folds[1].train.inputs.copy()
    broken[0] = 3e38
    folds = [(each.train, each.validation) for each in uneven.folds]
    folds[1] = Examples(broken, folds[1][0].targets), folds[1][1]
    dataset = uneven.with_folds(folds)
    outcome = run(on_folds("fit", dataset), dataset)
    assert outcome.status is Status.DIVERGED
    assert outcome.best_epoch == 0


def test_statistics_of_one_training_reach_only_its_controller(uneven: Dataset) -> None:
    params = PARAMS | {"optimizer": "sgd", "batch_size.policy": "gns", "batch_size.minimum": 4}
    params |= {"batch_size.maximum": 16}
    outcome = run(on_folds("fit", uneven, trains_all_rows=True), uneven, params)
    own = [outcome.curves[f"{name}/gradient_variance"] for name in ("fold_1", "fold_2", ALL_ROWS)]
    assert own[0] != own[1] != own[2]
    assert outcome.epochs == 4


def test_means_are_not_finite_if_a_fold_is_not() -> None:
    output = EpochOutput(0.5, np.zeros((2, 1)), cast(Any, None), 0.1)
    values = FoldsOutput((output, output)).combined([{"val_auc": 0.5}, {"val_auc": float("nan")}])
    assert json.dumps(values) == '{"val_auc": NaN, "fold_1/val_auc": 0.5, "fold_2/val_auc": NaN}'


@pytest.mark.skipif(not COMPILED, reason="the backend has no compiled engine")
def test_the_data_of_all_folds_must_fit_the_device(uneven: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr("nightune.models.engines.refusals.refusal_of_data", asked.append)
    make_engine(COMPILED, uneven, Path()).refusals(read_recipe(PARAMS))
    whole = uneven.train.inputs.nbytes + uneven.validation.inputs.nbytes
    assert asked == [whole + 2 * uneven.train.inputs.nbytes]
