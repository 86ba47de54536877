"""The lines of a worker reach its flow with their news, and not its own terminal."""

import logging

import pytest

from nightune.tasks.reporting.events import EpochEnded, TrialEnded, announce_epoch, announce_trial
from nightune.tasks.workers.relay import read_record, relayed
from nightune.tuning.trial import Status, Trial
from tests.tasks.conftest import result_of

LOGGER = logging.getLogger("nightune")


def sent_by_a_worker(level: int, trial: Trial) -> list[logging.LogRecord]:
    sent: list[bytes] = []
    with relayed(sent.append, level):
        for epoch in range(1, 4):
            announce_epoch(EpochEnded(trial.number, epoch, 3))
        announce_trial(result_of(trial, status=Status.FAILED, message="no", traceback="line 1"), "val_loss")
    LOGGER.warning("after the block")
    return [read_record(each) for each in sent]


def test_records_arrive_with_level_text_process_and_news(trial: Trial) -> None:
    (record,) = sent_by_a_worker(logging.INFO, trial)
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("trial 0 · failed")
    assert record.process
    news = record.news  # type: ignore[attr-defined]
    assert isinstance(news, TrialEnded)
    assert news.result.traceback == "line 1"


def test_epochs_are_sent_for_a_progress_bar_only_and_not_each_of_them(trial: Trial) -> None:
    records = sent_by_a_worker(logging.DEBUG, trial)
    assert [record.levelno for record in records] == [logging.DEBUG, logging.WARNING]


def test_a_worker_prints_nothing_itself(trial: Trial, caplog: pytest.LogCaptureFixture) -> None:
    sent_by_a_worker(logging.INFO, trial)
    assert caplog.messages == ["after the block"]
