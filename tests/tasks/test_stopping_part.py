"""The part of the report on early stopping has the numbers of its trials."""

from dataclasses import replace
from typing import Any

import pytest

from nightune.phases import SEARCH, TRAINING
from nightune.tasks.reporting.night.accounts import Accounts
from nightune.tasks.reporting.night.page import Context, draw_page
from nightune.tasks.reporting.night.record import Night
from nightune.tasks.reporting.night.stopping_part import stopping_numbers
from nightune.tasks.tracking.sweeps.origins import Origin
from nightune.tuning.analysis.early_stopping import audit_key
from nightune.tuning.analysis.ledger import Ledger, Session, Training
from nightune.tuning.trial import Status
from tests.tasks.nights import HOSTILE, Page, night, result

BUDGET = Origin(90.0, content={"search": {"epochs": 10}})


def halted(number: int, score: float, epochs: int, status: Status = Status.STOPPED_EARLY) -> Any:
    return result(number, score, status=status, epochs=epochs, best_epoch=1, seconds=2.0 * epochs, message=HOSTILE)


def stopped_night(*audits: Any, **accounts: Any) -> Night:
    trials = [result(0, 0.9, epochs=10), halted(1, 0.8, 4), halted(2, 0.7, 2, Status.NOT_PROMOTED)]
    held = [(each, replace(each.trial, key=audit_key(each.trial.key), is_audit=True)) for each in audits]
    marked = tuple(replace(each, trial=trial) for each, trial in held)
    return night(trials, origin=BUDGET, accounts=Accounts(audits=marked, **accounts))


def text_of(subject: Night) -> str:
    page = Page(draw_page(subject, Context("a.toml", "sqlite:///a.db")))
    assert "img" not in page.elements
    return page.text.rpartition("Early stopping")[2].partition("What it cost")[0]


def test_epochs_and_seconds_are_summed_over_stopped_and_dropped_trials() -> None:
    subject = stopped_night()
    assert stopping_numbers(subject) == {"stopped": 2, "saved_epochs": 14, "saved_seconds": 28.0}
    text = text_of(subject)
    for words in ("saved 47\u00a0% of all epochs", "28\u00a0s", "not measured", "audit = 0.05", HOSTILE):
        assert words in text


def test_the_pace_leaves_out_compiling_where_the_ledger_has_it() -> None:
    training = Training(1, 0, SEARCH, 4, 10.0, compiling=6.0)
    ledger = Ledger((Session("tune", 0.0, {SEARCH: {TRAINING: 10.0}}, (training,)),))
    numbers = stopping_numbers(stopped_night(ledger=ledger))
    assert numbers is not None
    assert numbers["saved_seconds"] == 6 * 1.0 + 8 * 2.0


def test_audited_trials_have_both_scores_and_the_regret_its_interval() -> None:
    subject = stopped_night(result(1, 0.95, epochs=10), result(2, 0.7, epochs=10))
    numbers = stopping_numbers(subject)
    assert numbers is not None
    assert numbers["audit"]["missed"] == pytest.approx(0.075)
    assert numbers["audit"]["interval"] == pytest.approx([0.075, 0.075])  # both stopped trials
    assert (numbers["audit"]["better"], numbers["audit"]["better_of_all"]) == (1, [1, 1])
    text = text_of(subject)
    for words in ("1 of 2 audited trials would have been the best", "80.00\u00a0%", "95.00\u00a0%", "7.5\u00a0points"):
        assert words in text


def test_a_sweep_that_stopped_nothing_has_no_such_part() -> None:
    page = Page(draw_page(night([result(0, 0.9, epochs=10)], origin=BUDGET), Context("a.toml", "sqlite:///a.db")))
    assert "Early stopping" not in page.text
    assert stopping_numbers(night([halted(1, 0.8, 4)])) is None  # the budget is not recorded


def test_a_population_saves_nothing_by_the_members_that_it_replaces() -> None:
    stopped = stopped_night()
    subject = replace(stopped, sweep=replace(stopped.sweep, method="pbt"))
    assert stopping_numbers(subject) is None
    page = Page(draw_page(subject, Context("a.toml", "sqlite:///a.db")))
    assert "Early stopping" not in page.text


def test_the_pace_is_that_of_the_epochs_that_were_trained() -> None:
    again = (Training(1, 0, SEARCH, 2, 4.0), Training(1, 0, SEARCH, 4, 8.0))  # from its first epoch at each rung
    resumed = (Training(2, 0, SEARCH, 0, 9.0), Training(2, 0, SEARCH, 2, 3.0, begin=1))  # after an interruption
    ledger = Ledger((Session("tune", 0.0, {SEARCH: {TRAINING: 24.0}}, (*again, *resumed)),))
    numbers = stopping_numbers(stopped_night(ledger=ledger))
    assert numbers is not None
    assert numbers["saved_seconds"] == 6 * 2.0 + 8 * 3.0
