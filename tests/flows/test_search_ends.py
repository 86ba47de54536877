"""A search that ends before its last trial: recorded, shown, resumed and continued."""

from itertools import count
from pathlib import Path

import pytest

from nightune.tasks.reporting.sweep_report import SweepReport
from tests.flows.conftest import SMALL_STUDY

pytestmark = pytest.mark.usefixtures("plain_flows", "store_root")

BOUNDED = SMALL_STUDY.replace("trials = 4\n", "total_epochs = 6\n")


def tune(study: Path, text: str, **options: object) -> SweepReport:
    from nightune.flows.tune import tune as flow

    study.write_text(text)
    report = flow(study, engine="fit", **options)
    assert isinstance(report, SweepReport)
    return report


def numbers(report: SweepReport) -> list[int]:
    return sorted(result.trial.number for result in report.results)


def test_epochs_in_total_end_a_search_and_more_of_them_continue_it(small_study: Path, store_root: Path) -> None:
    """A search that ended retires no trial, and keeps its deadline."""
    first = tune(small_study, BOUNDED)
    assert len(first.results) == 3
    assert first.sweep.is_complete
    assert (first.sweep.ended_by, first.sweep.planned_trials) == ("total_epochs = 6", 3)
    assert first.summary()["ended_by"] == "total_epochs = 6"
    assert tune(small_study, BOUNDED).results == first.results
    assert tune(small_study, BOUNDED, retry_failed=True).results == first.results
    assert_deadline_is_kept(first, store_root)
    more = tune(small_study, BOUNDED.replace("= 6", "= 11"))
    assert more.sweep.run_id == first.sweep.run_id
    assert more.sweep.ended_by == "total_epochs = 11"
    assert len(more.results) == 5
    assert {each.run_id for each in first.results} < {each.run_id for each in more.results}


def assert_deadline_is_kept(report: SweepReport, store_root: Path) -> None:
    from datetime import datetime, timedelta

    from nightune.tasks.tracking.store.store import open_store
    from nightune.tasks.tracking.sweeps.ends import deadline

    store, evening = open_store(store_root), datetime.now().astimezone().replace(hour=20, minute=0)
    night = deadline(store, report.sweep, "7:00", evening)
    assert deadline(store, report.sweep, "07:00", evening + timedelta(days=1)) == night
    assert deadline(store, report.sweep, "23:00", evening) < night


def test_patience_ends_a_search_after_a_round(small_study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightune.tuning.study.budgets.ROUND", 4)
    report = tune(small_study, SMALL_STUDY.replace("trials = 4", "patience = 2"))
    numbers_by_score = [each.trial.number for each in report.results]
    since_best = {
        count: count - 1 - next(number for number in numbers_by_score if number < count)
        for count in range(4, len(numbers_by_score) + 1, 4)
    }
    assert [count for count, since in since_best.items() if since >= 2] == [len(numbers_by_score)]
    assert report.sweep.ended_by == "patience = 2"
    assert numbers(report) == list(range(len(report.results)))


def test_a_training_that_outlasts_the_hours_leaves_no_result(
    small_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thousands = count(0, 1000)
    monkeypatch.setattr("nightune.tasks.search_budget.clock", lambda: float(next(thousands)))
    report = tune(small_study, SMALL_STUDY.replace("trials = 4", "hours = 2.3"))
    assert report.sweep.ended_by == "hours = 2.3"
    # The budget reads the clock when it opens, before a trial and after each epoch: 8280 s are over in the third trial.
    assert len(report.results) == 2
    assert {str(each.status) for each in report.results} == {"completed"}


def test_the_confirmation_is_part_of_the_epochs_in_total_and_check_says_how_large_it_is(small_study: Path) -> None:
    from nightune.flows.commands.check_tables import _confirmation_line
    from nightune.tasks.check_study import check_study
    from nightune.tasks.load_study import load_study

    text = BOUNDED.replace("= 6", "= 17") + "\n[confirmation]\n"
    report = tune(small_study, text)
    assert report.confirmation is not None
    assert len(report.results) == 2  # 2 epochs each; 12 epochs are left for 3 finalists with 2 seeds
    assert [len(each.finalist.scores) for each in report.confirmation.finalists] == [2, 2]
    small_study.write_text(text)
    check = check_study(load_study(small_study))
    assert [(row["finalists"], row["replicates"], row["epochs"]) for row in check.confirmation] == [
        (3, 2, 12),
        (5, 3, 30),
    ]
    assert "from 60 trials on" in _confirmation_line(check)[1]


def test_what_a_model_believed_when_its_search_ended_is_read_of_all_rounds(
    small_study: Path, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightune.tasks.tracking.store.store import client, open_store

    monkeypatch.setattr("nightune.tuning.study.budgets.ROUND", 3)
    text = SMALL_STUDY.replace('"random"\ntrials = 4\nepochs = 2', '"gp"\nepochs = 1\ntotal_epochs = 8')
    first = tune(small_study, text)
    assert numbers(first) == list(range(8))  # the third round is not whole
    assert first.beliefs is not None
    assert [each.trial for each in first.beliefs.predictions] == [3, 4, 5, 6, 7]
    store, run = client(open_store(store_root)), first.sweep.run_id
    store.delete_tag(run, "nightune.predicted")  # as an earlier version left it
    assert tune(small_study, text).beliefs == first.beliefs
    store.set_tag(run, "nightune.status", "interrupted")  # as a stop in the confirmation leaves it
    again = tune(small_study, text)
    assert (again.beliefs, again.results) == (first.beliefs, first.results)
    store.delete_tag(run, "nightune.predicted")
    store.log_text(run, "{", "proposals.json")  # only the first round is known
    assert tune(small_study, text).beliefs is None
