"""The ledger of a sweep: kept by its commands, read from MLflow, written on the page."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from nightune.phases import CONFIRMATION, IDLE, PREPARATION, SEARCH, TRAINING, stage
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.reporting.ledger_keeper import command_clock, counted_training, ledger_kept
from nightune.tasks.reporting.night.accounts import Accounts
from nightune.tasks.reporting.night.card import card
from nightune.tasks.reporting.night.ledger_part import entries, ledger_numbers
from nightune.tasks.reporting.night.page import Context, draw_page
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.ledgers import parse_ledger, read_ledger
from nightune.tasks.tracking.sweeps.sweeps import Sweep, SweepStatus
from nightune.tuning.analysis.ledger import Ledger, Session, Training
from nightune.tuning.study.sections import Limits
from nightune.tuning.trial import Trial
from tests.tasks.nights import Page, log_trial, night, result

SESSION = Session(
    "tune",
    0.0,
    {PREPARATION: {IDLE: 10.0}, SEARCH: {TRAINING: 80.0, IDLE: 4.0}, CONFIRMATION: {TRAINING: 6.0}},
    (Training(0, 0, SEARCH, 4, 60.0), Training(1, 0, SEARCH, 4, 20.0)),
    joules=7200.0,
    energy_of="processor",
    price_per_hour=36.0,
)


@pytest.fixture
def setting(store: Store, sweep: Sweep) -> Any:
    study = SimpleNamespace(limits=Limits(price_per_hour=36.0))
    return Setting(store, sweep, study, None)  # type: ignore[arg-type]


def work(setting: Setting, trial: Trial, command: str = "tune") -> None:
    with command_clock(), ledger_kept(setting, command), stage(SEARCH), counted_training(trial, False) as told:
        told.epochs = 7


def test_each_command_adds_its_session_and_mlflow_has_the_sums(setting: Setting, trial: Trial) -> None:
    work(setting, trial)
    with pytest.raises(KeyboardInterrupt), command_clock(), ledger_kept(setting, "promote"):
        raise KeyboardInterrupt
    ledger = read_ledger(setting.store, setting.sweep)
    assert ledger is not None
    assert [each.command for each in ledger.sessions] == ["tune", "promote"]
    assert [(each.trial, each.stage, each.epochs) for each in ledger.trainings(SEARCH)] == [(0, SEARCH, 7)]
    metrics = client(setting.store).get_run(setting.sweep.run_id).data.metrics
    assert metrics[names.HOURS] == pytest.approx(ledger.seconds / 3600)
    assert metrics[names.COST] == pytest.approx(36 * metrics[names.HOURS])
    assert metrics[names.DEVICE_SECONDS] == pytest.approx(ledger.device_seconds)


def test_a_command_that_shows_a_complete_sweep_adds_nothing(setting: Setting, trial: Trial) -> None:
    work(setting, trial)
    shown = replace(setting, sweep=replace(setting.sweep, status=SweepStatus.COMPLETE))
    with command_clock(), ledger_kept(shown, "tune"):
        pass
    held = read_ledger(setting.store, setting.sweep)
    assert held is not None
    assert len(held.sessions) == 1


def test_a_sweep_of_an_earlier_version_or_a_damaged_file_has_none(setting: Setting, trial: Trial) -> None:
    assert read_ledger(setting.store, setting.sweep) is None
    work(setting, trial)
    client(setting.store).log_text(setting.sweep.run_id, "[1]", names.LEDGER)
    assert read_ledger(setting.store, setting.sweep) is None
    with pytest.raises(ValueError, match="sessions"):
        parse_ledger(json.dumps({"sessions": 3}))


def test_the_lines_of_the_page_sum_to_the_wall_time() -> None:
    lines = entries(Ledger((SESSION,)))
    assert sum(each.seconds for each in lines) == 100.0
    assert sum(each.share for each in lines) == pytest.approx(1.0)
    assert [each.name for each in lines if each.seconds] == ["Preparation", "Training", "Idle", "Confirmation"]


def test_the_page_has_time_energy_and_money_by_trial() -> None:
    subject = replace(night([result(0, 0.9), result(1, 0.8)]), accounts=Accounts(ledger=Ledger((SESSION,))))
    page = Page(draw_page(subject, Context("a.toml", "sqlite:///a.db")))
    text = page.text.partition("What it cost")[2]
    for words in ("1\u00a0min 40\u00a0s", "86\u00a0%", "2\u00a0Wh"):
        assert words in text
    assert "cost 1.00" in text
    assert "75\u00a0%" in text  # of trial 0
    numbers = ledger_numbers(subject)
    assert numbers is not None
    assert numbers["is_whole"]
    assert (numbers["cost"], numbers["energy_kwh"], numbers["device_seconds"]) == (1.0, 0.002, 86.0)


def test_the_page_says_how_much_of_its_time_each_worker_trained() -> None:
    """In 84 s of search one worker trained for 80 s, and one for 40 s; 6 s of confirmation were in one process."""
    busy, idle = {TRAINING: 80.0, IDLE: 4.0}, {TRAINING: 40.0, IDLE: 44.0}
    stages = {SEARCH: {TRAINING: 60.0, IDLE: 24.0}, CONFIRMATION: {TRAINING: 6.0}}
    session = replace(SESSION, stages=stages, workers={"worker-1": {SEARCH: busy}, "worker-2": {SEARCH: idle}})
    subject = replace(night([result(0, 0.9), result(1, 0.8)]), accounts=Accounts(ledger=Ledger((session,))))
    text = Page(draw_page(subject, Context("a.toml", "sqlite:///a.db"))).text.partition("What it cost")[2]
    for words in ("worker-1", "95\u00a0%", "worker-2", "48\u00a0%", "126\u00a0s", "73\u00a0%", "2 workers"):
        assert words in text
    assert "73 % of it each worker" in card(subject, "a.toml", [])


def test_a_ledger_without_some_trials_is_said_to_be_of_some_commands() -> None:
    held = [result(number, 0.9) for number in range(3)]  # 2 by a command that kept no ledger
    subject = replace(night(held), accounts=Accounts(ledger=Ledger((SESSION,))))
    text = Page(draw_page(subject, Context("a.toml", "sqlite:///a.db"))).text.partition("What it cost")[2]
    assert "took more" in text
    assert "--workers" in text
    assert "at least" in card(subject, "a.toml", [])
    numbers = ledger_numbers(subject)
    assert numbers is not None
    assert not numbers["is_whole"]
    assert "at least" not in card(replace(subject, trials=subject.trials[:2]), "a.toml", [])


def test_the_ledger_of_a_later_command_does_not_stand_for_the_sweep(
    setting: Setting, trial: Trial, data: PreparedData
) -> None:
    log_trial(setting.store, setting.sweep, data, 5, [0.5, 0.3])
    work(setting, trial, "promote")
    metrics = client(setting.store).get_run(setting.sweep.run_id).data.metrics
    assert math.isnan(metrics[names.HOURS])
    assert names.COST not in metrics
    assert read_ledger(setting.store, setting.sweep) is not None


def test_a_cost_that_is_no_longer_known_is_not_kept(setting: Setting, trial: Trial) -> None:
    work(setting, trial)
    free = SimpleNamespace(limits=Limits())
    work(replace(setting, study=free), trial, "promote")  # type: ignore[arg-type]
    metrics = client(setting.store).get_run(setting.sweep.run_id).data.metrics
    assert math.isnan(metrics[names.COST])
    assert metrics[names.HOURS] > 0


def test_a_page_without_a_ledger_says_so_and_one_without_counters() -> None:
    bare = night([result(0, 0.9)])
    assert "Not recorded" in Page(draw_page(bare, Context("a.toml", "sqlite:///a.db"))).text
    session = replace(SESSION, joules=None, price_per_hour=None)
    told = replace(bare, accounts=Accounts(ledger=Ledger((session,))))
    text = Page(draw_page(told, Context("a.toml", "sqlite:///a.db"))).text
    assert "not known" in text
    assert "price_per_hour" in text
