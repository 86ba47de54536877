"""The trials of a search are written beside it: the next cohort and the next rung do not wait for a record."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nightune.tasks import write_beside as module
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.setting import Setting
from nightune.tasks.start_sweep import already_finished
from nightune.tasks.tracking.store.errors import StoreLostError
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep, SweepStatus
from nightune.tasks.tracking.trials.known_trials import KnownTrials
from nightune.tasks.tracking.trials.trial_log import TrialLog
from nightune.tasks.tracking.trials.trials import read_curve
from nightune.tasks.trial.crash_log import open_crash_log
from nightune.tasks.trial.trainer import Trainer
from nightune.tasks.trial.trial_runner import TrainedTrial, TrialRunner
from nightune.tasks.write_beside import written_beside
from nightune.tuning.trial import Bracket, Rung, Status, Trial, TrialResult
from tests.tasks.conftest import SmallStudy, result_of

TIMEOUT = 60.0
HALTED = Status.NOT_PROMOTED
Train = Callable[[Setting, list[Trial], Status, int], list[TrialResult]]


@dataclass(frozen=True)
class NamedEngine:
    """The part of an engine that a log requires."""

    name: str = "none"
    tags: dict[str, str] = field(default_factory=dict)


@pytest.fixture
def setting(store: Store, sweep: Sweep, study: SmallStudy, data: PreparedData) -> Setting:
    search = SimpleNamespace(method="random", total_epochs=None, reuse=False)
    planned = SimpleNamespace(
        name=study.name, path=study.path, objective=study.objective, search=search, brackets=[Bracket((Rung(3, 2),))]
    )
    known = KnownTrials(store, sweep)
    return Setting(store, sweep, planned, data, rung=2, first_rung=2, known=known)  # type: ignore[arg-type]


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Train:
    """Train a cohort to an epoch, and end it as said."""

    def to(setting: Setting, trials: list[Trial], status: Status, epochs: int) -> list[TrialResult]:
        def trained(_runner: TrialRunner, trial: Trial, _engine: Any, log: TrialLog, _path: Path) -> TrainedTrial:
            for epoch in range(1, epochs + 1):
                log.log_epoch(epoch, {"loss": 1.0 / epoch, "val_loss": 0.5})
            return TrainedTrial(result_of(trial, status=status, epochs=epochs))

        monkeypatch.setattr(TrialRunner, "_train_once", trained)
        trainer = Trainer(NamedEngine(), None, None, None)  # type: ignore[arg-type]
        crash_log = open_crash_log(setting.store.root, setting.study.name)
        return TrialRunner(replace(setting, rung=epochs), trainer, crash_log).run(trials)

    return to


def trials_of(trial: Trial, numbers: range) -> list[Trial]:
    return [replace(trial, number=number, key=f"{number:016}") for number in numbers]


def test_cohorts_and_rungs_go_on_while_trials_are_written(
    setting: Setting, trial: Trial, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_write, finish = threading.Event(), TrialLog.finish

    def late(log: TrialLog, result: TrialResult, checkpoint: Path | None) -> str:
        assert may_write.wait(TIMEOUT)
        return finish(log, result, checkpoint)

    monkeypatch.setattr(TrialLog, "finish", late)
    trials, known = trials_of(trial, range(2)), setting.known
    assert known is not None
    with written_beside(setting) as writing:
        first = [result for each in trials for result in train(writing, [each], HALTED, 2)]
        assert [result.run_id for result in first] == ["", ""]
        assert already_finished(writing, trials) == first
        further = train(writing, trials[:1], Status.COMPLETED, 4)
        assert already_finished(replace(writing, rung=4), trials) == further
        may_write.set()
    assert {result.trial.number: (result.status, result.epochs) for result in known.results()} == {
        0: (Status.COMPLETED, 4),
        1: (HALTED, 2),
    }
    runs = client(setting.store).search_runs([setting.sweep.experiment_id], "tags.`nightune.kind` = 'trial'")
    assert {run.info.run_id for run in runs} == {result.run_id for result in known.results()}
    assert {run.data.tags["nightune.attempt"] for run in runs} == {"1"}
    curves = [read_curve(setting.store, result.run_id, "loss") for result in known.results()]
    assert curves == [[1.0, 0.5, pytest.approx(1 / 3), 0.25], [1.0, 0.5]]


def test_an_error_of_a_write_ends_the_search(
    setting: Setting, trial: Trial, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> str:
        raise OSError("the disk is full")

    monkeypatch.setattr(TrialLog, "finish", full)
    with pytest.raises(OSError, match="the disk is full"), written_beside(setting) as writing:
        train(writing, trials_of(trial, range(1)), Status.COMPLETED, 2)


@pytest.mark.parametrize("changes", [{"known": None}, {"workers": object()}])
def test_without_known_trials_and_with_workers_a_cohort_ends_with_its_records(
    setting: Setting, changes: dict[str, Any]
) -> None:
    with written_beside(replace(setting, **changes)) as writing:
        assert writing.writer is None


def test_a_rung_is_not_written_whose_earlier_rung_was_not(
    setting: Setting, trial: Trial, train: Train, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its curve would lack the epochs in between."""
    may_fail, finish = threading.Event(), TrialLog.finish

    def fails_at_four(log: TrialLog, result: TrialResult, checkpoint: Path | None) -> str:
        if result.epochs == 4:
            assert may_fail.wait(TIMEOUT)
            raise OSError("the disk is full")
        return finish(log, result, checkpoint)

    monkeypatch.setattr(TrialLog, "finish", fails_at_four)
    trials = trials_of(trial, range(1))

    def search() -> None:
        with written_beside(setting) as writing:
            train(writing, trials, HALTED, 2)
            train(writing, trials, HALTED, 4)
            train(writing, trials, Status.COMPLETED, 8)
            may_fail.set()

    with pytest.raises(OSError, match="the disk is full"):
        search()
    assert "could not be written" in caplog.text
    (result,) = KnownTrials(setting.store, setting.sweep).results()
    assert (result.status, result.epochs) == (HALTED, 2)
    assert read_curve(setting.store, result.run_id, "loss") == [1.0, 0.5]


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What is recorded of the seconds of searches, by a store that is lost then."""
    written: list[float] = []

    def write(_store: Store, _sweep: Sweep, seconds: float) -> None:
        written.append(seconds)
        raise StoreLostError("no answer")

    monkeypatch.setattr(module, "write_search_seconds", write)
    return written


def budgeted(setting: Setting, **changes: Any) -> Setting:
    budget: Any = SimpleNamespace(seconds=5.0)
    return replace(setting, budget=budget, sweep=replace(setting.sweep, **changes))


def test_an_interrupt_records_the_seconds_and_stays_one(setting: Setting, seconds: list[float]) -> None:
    with pytest.raises(KeyboardInterrupt), written_beside(budgeted(setting)):
        raise KeyboardInterrupt
    assert seconds == [5.0]


@pytest.mark.parametrize("ended", [{"status": SweepStatus.COMPLETE}, {"ended_by": "hours = 8"}])
def test_a_search_that_has_ended_takes_no_seconds_more(
    setting: Setting, seconds: list[float], ended: dict[str, Any]
) -> None:
    with written_beside(budgeted(setting, **ended)):
        pass
    assert seconds == []
