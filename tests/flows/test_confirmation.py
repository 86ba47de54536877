"""Finalists trained again, from the study's section to the MLflow UI."""

import io
from pathlib import Path

import pytest

from nightune.tasks.reporting.sweep_report import SweepReport
from tests.flows.conftest import SMALL_STUDY, Tuned, tuned_in

pytestmark = pytest.mark.usefixtures("plain_flows", "store_root")

SECTION = "\n[confirmation]\nfinalists = 2\nreplicates = 2\n"


def tune(study: Path, trials: int | None = None) -> SweepReport:
    from nightune.flows.tune import tune as flow

    report = flow(study, engine="fit", trials=trials)
    assert isinstance(report, SweepReport)
    return report


@pytest.fixture(scope="module")
def confirmed(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    return tuned_in(tmp_path_factory.mktemp("confirmed"), empty_store, SMALL_STUDY + SECTION, engine="fit")


@pytest.fixture
def runs(store_root: Path):  # type: ignore[no-untyped-def] # a pandas table
    """What plain MLflow returns for the runs of a kind of the study `flowers`."""
    return lambda kind: runs_in(store_root, kind)


def runs_in(store: Path, kind: str):  # type: ignore[no-untyped-def]
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{store}/mlflow.db")
    return mlflow.search_runs(experiment_names=["flowers"], filter_string=f"tags.`nightune.kind` = '{kind}'")


def test_without_the_section_nothing_is_retrained(small_study: Path, runs) -> None:  # type: ignore[no-untyped-def]
    report = tune(small_study, trials=1)
    assert report.confirmation is None
    trials = runs("trial").set_index("run_id")
    error = trials.loc[report.results[0].run_id, "metrics.objective_standard_error_over_rows"]
    assert 0 < error < report.results[0].objective  # of 30 rows
    assert set(report.errors.by_trial.values()) == {error}
    assert len(runs("replicate")) == 0


def test_finalists_are_confirmed_by_replicates_under_their_trials(confirmed: Tuned) -> None:
    report = confirmed.report
    best = report.results[:2]
    table = runs_in(confirmed.store, "replicate")
    assert len(table) == 4
    assert set(table["tags.mlflow.parentRunId"]) == {result.run_id for result in best}
    assert set(table["tags.nightune.replicate"]) == {"1", "2"}
    assert table["tags.nightune.seed"].nunique() == 4
    assert table["metrics.val_loss"].notna().all()
    assert len(runs_in(confirmed.store, "trial")) == 4
    confirmation = report.confirmation
    assert confirmation is not None
    assert confirmation.winner is not None
    by_trial = {each.finalist.trial: each.finalist for each in confirmation.finalists}
    for result in best:
        finalist = by_trial[result.trial.number]
        own = table[table["tags.mlflow.parentRunId"] == result.run_id]
        assert sorted(finalist.scores) == pytest.approx(sorted(own["metrics.objective"]))
        assert finalist.search_score == result.objective
        assert finalist.parameters == 4 * 4 + 4 + 4 * 3 + 3
    assert runs_in(confirmed.store, "sweep")["tags.nightune.confirmed_trial"].tolist() == [
        str(confirmation.winner.finalist.trial)
    ]


def test_what_the_finalists_answer_is_recorded_with_their_runs(confirmed: Tuned) -> None:
    import json

    import mlflow

    table = runs_in(confirmed.store, "replicate")
    for result in confirmed.report.results[:2]:
        file = mlflow.artifacts.download_artifacts(run_id=result.run_id, artifact_path="held_out/answers.json")
        answers = json.loads(Path(file).read_text())
        own = table[table["tags.mlflow.parentRunId"] == result.run_id].set_index("run_id").loc[answers["models"]]
        head = answers["heads"][0]
        assert head["loss"] == pytest.approx(own["metrics.objective"].mean(), rel=1e-5)  # of val_loss
        assert sum(map(sum, head["matrix"])) == pytest.approx(answers["rows"])
        assert answers["split"] == "validation"
        assert len(head["worst"]) == 10
        assert answers["size_mb"] == pytest.approx(4 * (4 * 4 + 4 + 4 * 3 + 3) / 1e6)
        assert answers["latency_ms"] > 0


def test_the_table_shows_the_search_score_beside_the_confirmed_one(confirmed: Tuned) -> None:
    from rich.console import Console

    from nightune.flows.commands.tables import print_confirmation

    report = confirmed.report
    console = Console(record=True, width=160, file=io.StringIO())
    print_confirmation(console, report)
    text = console.export_text()
    assert report.confirmation is not None
    for each in report.confirmation.finalists:
        assert f"{each.finalist.search_score:.4f}" in text
        assert f"{each.finalist.mean:.4f}" in text
    rows = report.summary()["confirmation"]
    assert isinstance(rows, list)
    assert {"search_score", "confirmed_score", "low", "high", "best_probability"} <= set(rows[0])


def test_a_stopped_confirmation_resumes_and_trains_nothing_twice(
    small_study: Path,
    runs,  # type: ignore[no-untyped-def]
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from nightune.tasks.trial.trial_runner import TrialRunner

    small_study.write_text(small_study.read_text() + SECTION)
    trained: list[tuple[int, int]] = []
    once = TrialRunner._train

    def stopped_at_the_third(runner, trial, *rest):  # type: ignore[no-untyped-def]
        if trial.replicate:
            trained.append((trial.number, trial.replicate))
            if len(trained) == 3:
                raise KeyboardInterrupt
        return once(runner, trial, *rest)

    monkeypatch.setattr(TrialRunner, "_train", stopped_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        tune(small_study, trials=2)
    report = tune(small_study, trials=2)
    assert report.confirmation is not None
    assert len(runs("replicate")) == 4
    assert len(set(trained)) == 4
    assert len(trained) == 5  # the stopped one began twice
    assert tune(small_study, trials=2).confirmation == report.confirmation
    assert len(trained) == 5


def test_a_trial_of_other_code_is_not_confirmed(small_study: Path) -> None:
    from nightune.tuning.errors import StudyError

    code = small_study.parent / "net.py"
    code.write_text(
        """
import keras

def build(input_shape, output_size):
    return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(output_size)])
"""
    )
    text = small_study.read_text().replace('"mlp"\nunits = [[4]]', '"net.py:build"')
    small_study.write_text(text)
    tune(small_study, trials=1)
    code.write_text(code.read_text() + "\n# another net\n")
    from nightune.flows.promote import promote

    with pytest.raises(StudyError, match=r"trial \d of flowers-0 was trained by other code than today's"):
        promote(small_study)


def test_trials_are_ranked_by_the_rows_reserved_for_ranking(small_study: Path, store_root: Path) -> None:
    import keras
    import mlflow

    from nightune.models.data.storage import read_split

    text = small_study.read_text().replace('source = "iris"', 'source = "iris"\nsplit = { ranking = 0.15 }')
    small_study.write_text(text)
    report = tune(small_study, trials=2)
    mlflow.set_tracking_uri(f"sqlite:///{store_root}/mlflow.db")
    ranking = read_split(store_root / "data" / report.sweep.data_version, "ranking")
    for result in report.results:
        path = mlflow.artifacts.download_artifacts(run_id=result.run_id, artifact_path="checkpoint/model.keras")
        logits = keras.saving.load_model(path).predict(ranking.inputs, verbose=0)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(ranking.targets, logits)
        assert result.objective == pytest.approx(float(loss), rel=1e-5)
