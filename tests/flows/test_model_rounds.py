"""A model's search from file to leaderboard: rounds that follow results, also after a stop, a retry or an extension."""

from pathlib import Path
from typing import Any

import pytest

from nightune.tasks.reporting.sweep_report import SweepReport
from nightune.tasks.tracking.store.store import client, open_store

pytestmark = pytest.mark.usefixtures("plain_flows", "store_root")

PLAIN = 'method = "random"\ntrials = 4\nepochs = 2\n'
ROUNDS = 'method = "gp"\ntrials = 6\nepochs = 4\nsmallest_epochs = 2\n'


@pytest.fixture
def rounds(small_study: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two rounds of three trials, the fewest that a model learns from, each with rungs of 2 and 4 epochs."""
    monkeypatch.setattr("nightune.tuning.study.budgets.ROUND", 3)
    small_study.write_text(small_study.read_text().replace(PLAIN, ROUNDS))
    return small_study


def tune(study: Path, **options: Any) -> SweepReport:
    from nightune.flows.tune import tune as flow

    report = flow(study, engine="fit", **options)
    assert isinstance(report, SweepReport)
    return report


def trained(report: SweepReport) -> dict[int, tuple[str, int]]:
    """Return key and epochs of each trial; a number twice would be a trial too many."""
    numbers = [each.trial.number for each in report.results]
    assert len(set(numbers)) == len(numbers)
    return {each.trial.number: (each.trial.key, each.epochs) for each in report.results}


@pytest.mark.parametrize("method", ["gp", pytest.param("tpe", marks=pytest.mark.nights)])
def test_a_stop_changes_no_proposal(
    method: str, rounds: Path, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds.write_text(rounds.read_text().replace('"gp"', f'"{method}"'))
    with monkeypatch.context() as patch:
        interrupt_after_trainings(5, patch)
        with pytest.raises(KeyboardInterrupt):
            tune(rounds)
    report = tune(rounds)
    assert [sorted(epochs for _, epochs in trained(report).values())] == [[2, 2, 2, 2, 4, 4]]
    monkeypatch.setenv("NIGHTUNE_STORE", str(store_root.parent / "whole"))
    whole = tune(rounds)
    assert trained(whole) == trained(report)
    assert {each.trial.proposed_by for each in whole.results} == {"random", method}
    assert reasons(whole) == reasons(report)
    assert whole.beliefs == report.beliefs
    if method == "gp":
        assert_trials_say_why(report)


def assert_trials_say_why(report: SweepReport) -> None:
    rows = {row["trial"]: row for row in report.rows()}
    assert [rows[number]["proposed_by"] for number in range(6)] == ["random"] * 3 + ["gp"] * 3
    assert all(rows[number]["expected"] is None for number in range(3))
    assert all(float(str(rows[number]["expected_deviation"])) > 0 for number in (3, 4, 5))
    promoted = [each.trial.promoted_to for each in report.results if each.epochs == 4]
    assert promoted == [4] * 2
    assert report.beliefs is not None
    assert [each.trial for each in report.beliefs.predictions] == [3, 4, 5]
    expected = {each.trial.number: each.trial.expected for each in report.results}
    assert all(expected[each.trial] == each.expected for each in report.beliefs.predictions)
    summary = report.summary()["beliefs"]
    assert isinstance(summary, dict)
    assert summary["compared"] == len(report.beliefs.compared)


def reasons(report: SweepReport) -> dict[int, tuple[object, ...]]:
    """Return why each trial was proposed, by number."""
    trials = [each.trial for each in report.results]
    return {each.number: (each.proposed_by, each.expected, each.promoted_to) for each in trials}


@pytest.mark.nights
def test_an_extension_and_other_results_of_earlier_trials_keep_what_was_proposed(
    rounds: Path, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds.write_text(rounds.read_text().replace(ROUNDS, 'method = "gp"\ntrials = 5\nepochs = 1\n'))
    first = trained(tune(rounds))
    store = open_store(store_root)
    run = next(each.run_id for each in tune(rounds).results if each.trial.number == 0)
    client(store).log_metric(run, "objective", 9.0, step=1)  # as if it had been tried again with another end
    longer = trained(tune(rounds, trials=6))
    assert sorted(longer) == list(range(6))
    assert {number: longer[number] for number in first} == first


def interrupt_after_trainings(count: int, patch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C in the first epoch of the training after this number of them."""
    from nightune.models.engines.fit.engine import FitEngine

    run_epoch, begun = FitEngine.run_epoch, []

    def run_or_stop(engine: Any, state: Any, plan: Any) -> Any:
        begun.append(plan.epoch == 1)
        if sum(begun) > count:
            raise KeyboardInterrupt
        return run_epoch(engine, state, plan)

    patch.setattr(FitEngine, "run_epoch", run_or_stop)
