"""Trials are written while others train: in order, and nothing is lost in case of an error."""

import logging
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials.runs import unfinished_runs
from nightune.tasks.tracking.trials.trial_log import TrialLog
from nightune.tasks.tracking.trials.trials import finished_trials
from nightune.tasks.trial.crash_log import open_crash_log
from nightune.tasks.trial.interrupts import interrupts_remembered
from nightune.tasks.trial.model_limits import OverLimitError
from nightune.tasks.trial.trainer import Trainer
from nightune.tasks.trial.trial_runner import TrainedTrial, TrialRunner
from nightune.tuning.study.sections import Limits
from nightune.tuning.trial import Trial, TrialResult
from tests.tasks.conftest import SmallStudy, result_of


@dataclass(frozen=True)
class NamedEngine:
    """The part of an engine that a log requires."""

    name: str = "none"
    tags: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "tags", {})


@pytest.fixture
def run(
    store: Store, sweep: Sweep, study: SmallStudy, data: PreparedData, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[TrialResult]]:
    """Train trials by a function that is called instead of an engine, with a trial's number."""

    def run(count: int, on_trial: Callable[[int], None] = lambda number: None) -> list[TrialResult]:
        def trained(_runner: TrialRunner, trial: Trial, _engine: Any, log: TrialLog, path: Path) -> TrainedTrial:
            on_trial(trial.number)
            log.log_epoch(1, {"loss": 1.0, "val_loss": 0.5})

            def write_checkpoint() -> bool:
                path.write_text(str(trial.number))
                return True

            return TrainedTrial(result_of(trial), write_checkpoint)

        monkeypatch.setattr(TrialRunner, "_train_once", trained)
        setting = Setting(store, sweep, study, data)  # type: ignore[arg-type]
        trials = [replace(trial, number=number, key=f"key-{number}") for number in range(count)]
        trainer = Trainer(NamedEngine(), None, None, None)  # type: ignore[arg-type]
        return TrialRunner(setting, trainer, open_crash_log(store.root, study.name)).run(trials)

    return run


def written(store: Store, sweep: Sweep) -> list[int]:
    return sorted(result.trial.number for result in finished_trials(store, sweep).values())


def test_results_and_runs_are_in_the_trials_order_each_with_its_checkpoint(
    run: Callable[..., list[TrialResult]], store: Store, tmp_path: Path
) -> None:
    results = run(6)
    assert [result.trial.number for result in results] == list(range(6))
    runs = [client(store).get_run(result.run_id).info for result in results]
    assert [info.end_time for info in runs] == sorted(info.end_time for info in runs)
    assert all(info.start_time <= info.end_time for info in runs)
    for result in results:
        path = client(store).download_artifacts(result.run_id, "checkpoint/model.keras", str(tmp_path))
        assert Path(path).read_text() == str(result.trial.number)


def test_a_trial_is_announced_once_it_is_written(
    run: Callable[..., list[TrialResult]], store: Store, sweep: Sweep, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[tuple[int, list[int]]] = []

    class Watch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append((record.news.result.trial.number, written(store, sweep)))  # type: ignore[attr-defined]

    caplog.set_level(logging.INFO, "nightune")
    watch = Watch()
    logging.getLogger("nightune").addHandler(watch)
    try:
        run(3)
    finally:
        logging.getLogger("nightune").removeHandler(watch)
    assert seen == [(0, [0]), (1, [0, 1]), (2, [0, 1, 2])]


def test_an_error_while_writing_stops_the_sweep_and_the_others_are_written(
    run: Callable[..., list[TrialResult]], store: Store, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = TrialLog.finish

    def full(log: TrialLog, result: TrialResult, checkpoint: Path | None) -> str:
        if result.trial.number == 1:
            raise OSError("the disk is full")
        return finish(log, result, checkpoint)

    monkeypatch.setattr(TrialLog, "finish", full)
    trained: list[int] = []
    with pytest.raises(OSError, match="the disk is full"):
        run(20, trained.append)
    assert len(trained) < 20
    assert written(store, sweep) == [number for number in trained if number != 1]


def test_an_interrupt_waits_until_ended_trials_are_written(
    run: Callable[..., list[TrialResult]], store: Store, sweep: Sweep
) -> None:
    def interrupt(number: int) -> None:
        if number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(5, interrupt)
    assert written(store, sweep) == [0, 1]


@pytest.mark.parametrize("error", [None, RuntimeError("returned NULL without setting an exception")])
def test_a_trial_in_which_an_interrupt_was_dropped_is_no_result(
    error: Exception | None,
    store: Store,
    sweep: Sweep,
    study: SmallStudy,
    data: PreparedData,
    trial: Trial,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would be failed for good, by an error that is the interrupt's, and never trained again."""

    def interrupted(_runner: TrialRunner, trial: Trial, _engine: Any, log: TrialLog, *_: Any) -> Any:
        log.log_epoch(1, {"loss": 1.0, "val_loss": 0.5})
        log.open()
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise error or OverLimitError("of its model")

    study.limits = Limits()  # type: ignore[attr-defined]
    study.objective.costs = ()  # type: ignore[attr-defined]
    monkeypatch.setattr(TrialRunner, "_outcome", interrupted)
    setting = Setting(store, sweep, study, data)  # type: ignore[arg-type]
    runner = TrialRunner(setting, Trainer(NamedEngine(), None, None, None), open_crash_log(store.root, study.name))  # type: ignore[arg-type]
    with interrupts_remembered(), pytest.raises(KeyboardInterrupt):
        runner.run([trial])
    (run,) = unfinished_runs(store, sweep).values()
    assert (run.info.status, finished_trials(store, sweep)) == ("KILLED", {})


@pytest.mark.parametrize(("times", "status"), [(2, "completed"), (9, "failed")])
def test_a_trial_that_runs_out_of_memory_is_tried_three_times_and_the_others_are_trained(
    run: Callable[..., list[TrialResult]], times: int, status: str, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[int] = []

    def exhaust(number: int) -> None:
        if number == 1:
            tries.append(number)
            if len(tries) <= times:
                raise MemoryError("no 8 GiB")

    with caplog.at_level(logging.WARNING, "nightune"):
        results = run(3, exhaust)
    assert [str(result.status) for result in results] == ["completed", status, "completed"]
    assert len(tries) == 3
    assert results[1].message == ("" if status == "completed" else "MemoryError: no 8 GiB, 3 times")
    assert ("no 8 GiB" in results[1].traceback) == (status == "failed")
    assert f"out of memory · attempt {min(times, 3)} of 3" in caplog.text
