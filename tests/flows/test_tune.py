"""A sweep from file to leaderboard, in this process."""

from pathlib import Path

import numpy as np
import pytest

from nightune.tasks.reporting.sweep_report import SweepReport
from tests.flows.conftest import SMALL_STUDY, Tuned, tuned_in

pytestmark = pytest.mark.usefixtures("prefect_server", "store_root")


def tune(study: Path, **options: object) -> SweepReport:
    from nightune.flows.tune import tune as flow

    report = flow(study, **options)
    assert isinstance(report, SweepReport)
    return report


@pytest.fixture(scope="module")
def tuned(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    return tuned_in(tmp_path_factory.mktemp("tuned"), empty_store, SMALL_STUDY)


@pytest.fixture
def runs(store_root: Path):  # type: ignore[no-untyped-def] # a pandas table
    """What plain MLflow returns for the trials of the study `flowers`."""
    return lambda: trials_in(store_root)


def trials_in(store: Path):  # type: ignore[no-untyped-def]
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{store}/mlflow.db")
    return mlflow.search_runs(experiment_names=["flowers"], filter_string="tags.`nightune.kind` = 'trial'")


def test_every_trial_is_read_with_plain_mlflow_calls(tuned: Tuned) -> None:
    table = trials_in(tuned.store)
    assert len(table) == 4
    assert set(table["tags.nightune.status"]) <= {"completed", "stopped_early"}
    assert set(table["run_id"]) == {result.run_id for result in tuned.report.results}
    assert table["tags.nightune.engine"].notna().all()
    for column in ("learning_rate.peak", "optimizer", "batch_size.size", "model.units"):
        assert table[f"params.{column}"].notna().all()
    for column in ("val_loss", "loss", "objective", "best_epoch", "learning_rate", "batch_size"):
        assert table[f"metrics.{column}"].notna().all()


def test_a_checkpoint_reproduces_the_logged_objective(tuned: Tuned) -> None:
    import keras
    import mlflow

    from nightune.models.data.storage import read_split

    validation = read_split(tuned.store / "data" / tuned.report.sweep.data_version, "validation")
    for _, run in trials_in(tuned.store).iterrows():
        path = mlflow.artifacts.download_artifacts(run_id=run["run_id"], artifact_path="checkpoint/model.keras")
        logits = keras.saving.load_model(path).predict(validation.inputs, verbose=0)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(validation.targets, logits)
        assert float(loss) == pytest.approx(run["metrics.objective"], rel=1e-6)


def test_the_same_seed_gives_the_same_results_in_another_store(
    tuned: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTUNE_STORE", str(tmp_path / "other"))
    second = tune(tuned.study)
    assert [(r.trial, r.objective) for r in tuned.report.results] == [(r.trial, r.objective) for r in second.results]


def test_repeating_the_command_trains_nothing(tuned: Tuned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTUNE_STORE", str(tuned.store))
    second = tune(tuned.study)
    assert second.sweep.id == tuned.report.sweep.id == "flowers-0"
    assert second.results == tuned.report.results
    assert len(trials_in(tuned.store)) == 4


def test_fresh_starts_the_next_sweep_with_new_points(small_study: Path, runs) -> None:  # type: ignore[no-untyped-def]
    first = tune(small_study, trials=2)
    second = tune(small_study, trials=2, fresh=True)
    assert (first.sweep.id, second.sweep.id) == ("flowers-0", "flowers-1")
    assert {r.trial.key for r in first.results}.isdisjoint(r.trial.key for r in second.results)
    assert len(runs()) == 4


def test_the_ledger_accounts_for_the_time_of_the_sweep(tuned: Tuned) -> None:
    from nightune.phases import SEARCH
    from nightune.tasks.tracking.store.store import open_existing_store
    from nightune.tasks.tracking.sweeps.ledgers import read_ledger
    from nightune.tuning.analysis.ledger import ON_DEVICE

    ledger = read_ledger(open_existing_store(tuned.store), tuned.report.sweep)
    assert ledger is not None
    trainings, search = ledger.trainings(SEARCH), ledger.of_stage(SEARCH)
    assert {each.trial for each in trainings} == {0, 1, 2, 3}
    assert all(each.epochs == 2 for each in trainings)
    assert sum(each.seconds for each in trainings) == pytest.approx(sum(search[name] for name in ON_DEVICE), rel=0.02)


@pytest.mark.nights
def test_overrides_of_the_command_line_make_another_sweep(small_study: Path) -> None:
    tune(small_study)
    report = tune(small_study, trials=2, epochs=1, seed=3)
    assert report.sweep.id == "flowers-1"
    assert len(report.results) == 2
    assert all(result.epochs == 1 for result in report.results)


def test_one_value_passes_from_the_study_to_the_optimizer_to_mlflow(
    small_study: Path,
    monkeypatch: pytest.MonkeyPatch,
    runs,  # type: ignore[no-untyped-def]
) -> None:
    from nightune.models.engines.fit.engine import FitEngine

    seen: list[float] = []
    run_epoch = FitEngine.run_epoch

    def spy(engine, state, plan):  # type: ignore[no-untyped-def]
        ended = run_epoch(engine, state, plan)
        seen.append(float(np.asarray(state.model.optimizer.learning_rate)))
        return ended

    monkeypatch.setattr(FitEngine, "run_epoch", spy)
    text = small_study.read_text().replace('{ low = 1e-3, high = 1e-1, scale = "log" }', "0.0123")
    small_study.write_text(text)
    report = tune(small_study, trials=1, engine="fit")
    assert report.results[0].trial.params["learning_rate.peak"] == 0.0123
    assert seen == pytest.approx([0.0123, 0.0123])
    assert runs()["params.learning_rate.peak"].tolist() == ["0.0123"]
    assert runs()["metrics.learning_rate"].tolist() == pytest.approx([0.0123])


def test_a_bad_trial_is_a_result_and_the_sweep_continues(small_study: Path, runs) -> None:  # type: ignore[no-untyped-def]
    (small_study.parent / "fragile.py").write_text(
        """
import keras

def build(input_shape, output_size, width: int = 4):
    if width == 3:
        raise ValueError("three is not a width")
    return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(width), keras.layers.Dense(output_size)])
"""
    )
    text = small_study.read_text().replace('"mlp"\nunits = [[4]]', '"fragile.py:build"\nwidth = [3, 5]')
    small_study.write_text(text)
    report = tune(small_study)
    by_width = {result.trial.params["model.width"]: result for result in report.results}
    assert by_width[3].status == "failed"
    assert "three is not a width" in by_width[3].message
    assert by_width[5].is_ranked
    assert report.best is not None
    assert report.best.trial.params["model.width"] == 5
    assert "FAILED" in set(runs()["status"])
