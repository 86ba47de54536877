"""A command reads a sweep once: what it knows since equals what the store holds, and few runs are asked for."""

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.setting import Setting
from nightune.tasks.start_sweep import already_finished
from nightune.tasks.tracking.store import retry
from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials.known_trials import KnownTrials
from nightune.tasks.tracking.trials.rungs import rung_results
from nightune.tasks.tracking.trials.runs import unfinished_runs
from nightune.tasks.tracking.trials.trial_log import TrialLog
from nightune.tasks.tracking.trials.trials import (
    copy_as_reused,
    finished_trials,
    read_curve,
    reconcile,
    reusable_trials,
)
from nightune.tuning.trial import Status, Trial, TrialResult
from tests.tasks.conftest import SmallStudy, result_of

HALTED, STOPPED, FAILED = Status.NOT_PROMOTED, Status.STOPPED_EARLY, Status.FAILED
Train = Callable[..., TrialResult]


def trial_of(number: int) -> Trial:
    return Trial(number=number, params={"optimizer": "sgd"}, seed=number, key=f"{number:016}")


@pytest.fixture
def train(store: Store, sweep: Sweep, data: PreparedData) -> Train:
    """Train a trial to an epoch, further if it has halted before, and return its result."""

    def to(number: int, status: Status, epochs: int) -> TrialResult:
        trial = trial_of(number)
        log = TrialLog(store, sweep, trial, {}, data)
        for epoch in range(1, epochs + 1):
            log.log_epoch(epoch, {"loss": 1.0, "val_loss": 1.0 / epoch, "updates": epoch, "examples": 3 * epoch})
        result = result_of(trial, status=status, epochs=epochs, best_epoch=1)
        if status is FAILED:
            result = replace(result, objective=math.nan, best_epoch=0)
        result = replace(result, updates=epochs, examples=3 * epochs)
        return replace(result, run_id=log.finish(result, None))

    return to


CALLS = ("create_run", "log_inputs", "log_batch", "set_terminated", "update_run", "set_tag")


class Killed(BaseException):
    """The end of a process by SIGKILL, between two calls to MLflow."""


@contextmanager
def killed_at(store: Store, place: int) -> Iterator[None]:
    """Kill what the block does before its call to MLflow number `place`, counted from 0."""
    mlflow_client, places = client(store)._client, itertools.count()

    def or_killed(call: Callable[..., Any], *values: Any, **options: Any) -> Any:
        if next(places) >= place:
            raise Killed
        return call(*values, **options)

    with pytest.MonkeyPatch.context() as patch, suppress(Killed):
        for name in CALLS:
            patch.setattr(mlflow_client, name, partial(or_killed, getattr(mlflow_client, name)))
        yield


@pytest.mark.parametrize(("writing", "closing"), [(0, 0), (1, 1), (2, 2), (3, 1), (3, 2), (3, 3), (4, 0)])
def test_a_kill_between_any_two_calls_leaves_a_trial_finished_or_to_resume(
    writing: int, closing: int, store: Store, sweep: Sweep, train: Train
) -> None:
    """Also where the next command is killed while it closes the run: the trial ends once, in one finished run."""
    with killed_at(store, writing):
        train(0, Status.COMPLETED, 2)
    with killed_at(store, closing):
        reconcile(store, sweep.experiment_id)
    reconcile(store, sweep.experiment_id)
    known, trial = KnownTrials(store, sweep), trial_of(0)
    is_known = trial.key in known.results_at(2)
    assert is_known == (writing == 4)
    assert (known.resumed_run(trial)() is not None) == (1 <= writing <= 3)
    if not is_known:
        train(0, Status.COMPLETED, 2)
    (run,) = client(store).search_runs([sweep.experiment_id], "tags.`nightune.kind` = 'trial'")
    assert (run.info.status, run.data.tags["nightune.status"]) == ("FINISHED", "completed")
    assert read_curve(store, run.info.run_id, "loss") == [1.0, 1.0]


def in_store(store: Store, sweep: Sweep, epochs: int) -> dict[str, TrialResult]:
    return rung_results(store, sweep, epochs)


def test_what_is_read_equals_what_the_store_holds_at_each_rung(store: Store, sweep: Sweep, train: Train) -> None:
    train(0, HALTED, 2)
    train(1, HALTED, 2)
    train(1, HALTED, 4)
    train(2, HALTED, 2)
    train(2, Status.COMPLETED, 8)
    train(3, STOPPED, 1)
    train(4, FAILED, 0)
    known = KnownTrials(store, sweep)
    assert {result.trial.key: result for result in known.results()} == finished_trials(store, sweep)
    for epochs in (2, 4, 8):
        assert known.results_at(epochs) == in_store(store, sweep, epochs)
    keys = [trial_of(number).key for number in (1, 3, 9)]
    assert list(known.results_at(4, keys)) == keys[:2]


def test_what_is_added_equals_what_the_store_holds_at_each_rung(store: Store, sweep: Sweep, train: Train) -> None:
    known = KnownTrials(store, sweep)
    assert known.results() == []
    for number, status, epochs in ((0, HALTED, 2), (1, HALTED, 2), (1, HALTED, 4), (2, STOPPED, 1), (3, FAILED, 0)):
        known.add(train(number, status, epochs))
        assert {result.trial.key: result for result in known.results()} == finished_trials(store, sweep)
        for rung in (2, 4, 8):
            assert known.results_at(rung) == in_store(store, sweep, rung)


def test_a_trial_that_failed_after_a_rung_is_at_each_rung_as_the_store_holds_it(
    store: Store, sweep: Sweep, train: Train
) -> None:
    known = KnownTrials(store, sweep)
    for status, epochs in ((HALTED, 2), (HALTED, 4), (FAILED, 0)):
        known.add(train(0, status, epochs))
    found = {rung: known.results_at(rung) for rung in (2, 3, 4, 8)}
    assert found == {rung: in_store(store, sweep, rung) for rung in found}
    assert [found[rung][trial_of(0).key].status for rung in (2, 4, 8)] == [HALTED, HALTED, FAILED]


def test_the_runs_to_resume_are_those_of_the_trials_that_halted_and_those_that_a_kill_left(
    store: Store, sweep: Sweep, data: PreparedData, train: Train
) -> None:
    for number in range(3):
        train(number, HALTED, 2)
    train(3, STOPPED, 2)
    TrialLog(store, sweep, trial_of(4), {}, data).open()
    known = KnownTrials(store, sweep)
    everything = unfinished_runs(store, sweep)
    found = {number: known.resumed_run(trial_of(number))() for number in (1, 3, 4, 7)}
    assert {number: run and run.info.run_id for number, run in found.items()} == {
        number: everything[trial_of(number).key].info.run_id if number in (1, 4) else None for number in (1, 3, 4, 7)
    }
    client(store).delete_run(found[1].info.run_id)
    assert known.resumed_run(trial_of(1))() is None
    assert known.resumed_run(trial_of(4))() is not None


def test_a_result_that_is_still_to_be_written_counts_and_its_run_is_waited_for(
    store: Store, sweep: Sweep, train: Train
) -> None:
    known, waits = KnownTrials(store, sweep), list[TrialResult]()

    def wait() -> None:
        while waits:
            known.add(waits.pop(0))

    with known.written_beside(wait):
        for status, epochs in ((HALTED, 2), (Status.COMPLETED, 4)):
            run_to_resume = known.resumed_run(trial_of(0))
            written = train(0, status, epochs)
            known.add(replace(written, run_id=""))
            waits.append(written)
            assert [each.epochs for each in known.results()] == [epochs]
            assert known.results()[0].run_id == ""
        known.add(waits.pop(0))  # the record of the first rung, after the training beyond it
        assert [each.epochs for each in known.results()] == [4]
        assert known.results_at(2) == in_store(store, sweep, 2)
    assert waits == []
    assert known.results() == [written]
    assert run_to_resume().info.run_id == written.run_id


def test_a_failed_trial_has_its_run_once_it_is_written(store: Store, sweep: Sweep, train: Train) -> None:
    """Its objective is not a number, and equals none."""
    known, written = KnownTrials(store, sweep), train(0, FAILED, 0)
    known.add(replace(written, objective=float("nan"), run_id=""))
    known.add(written)
    assert [each.run_id for each in known.results()] == [written.run_id]


@pytest.mark.parametrize("error", [ValueError("no such group"), MemoryError(), None])
def test_a_record_that_failed_is_no_failure_of_the_trial_that_continues_from_it(
    error: Exception | None, store: Store, sweep: Sweep, train: Train
) -> None:
    """What a user's code raises, or a lack of memory, would be a result of that trial."""
    known, written = KnownTrials(store, sweep), train(0, HALTED, 2)

    def wait() -> None:
        if error is not None:
            raise error

    known.add(written)
    with known.written_beside(wait):
        known.add(replace(written, epochs=4, run_id=""))
        with pytest.raises(StoreError, match="could not be written"):
            known.resumed_run(trial_of(0))()


def test_a_replicate_is_not_among_the_trials(store: Store, sweep: Sweep) -> None:
    known = KnownTrials(store, sweep)
    known.add(result_of(replace(trial_of(0), replicate=1, replicate_of="r")))
    assert known.results() == []


def test_copied_trials_have_cost_the_sweep_nothing(
    store: Store, sweep: Sweep, data: PreparedData, train: Train
) -> None:
    earlier = replace(train(0, Status.COMPLETED, 2), best_epoch=0)  # no checkpoint to copy
    copy_as_reused(store, sweep, trial_of(1), earlier, data)
    known = KnownTrials(store, sweep)
    assert [result.trial.number for result in known.trained()] == [0]
    assert len(known.results()) == 2


def test_earlier_trials_are_found_by_key_as_before(store: Store, sweep: Sweep, train: Train) -> None:
    train(0, Status.COMPLETED, 2)
    train(1, FAILED, 0)
    train(2, HALTED, 2)
    keys = [trial_of(number).key for number in range(4)]
    later = replace(sweep, id="flowers-1", run_id="none")
    assert KnownTrials(store, later).reusable(keys) == reusable_trials(store, later, keys)
    assert len(reusable_trials(store, later, keys)) == 1


def test_no_query_that_a_sweep_repeats_returns_its_trials_again(
    store: Store,
    sweep: Sweep,
    study: SmallStudy,
    data: PreparedData,
    train: Train,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(12):
        train(number, HALTED if number % 2 else STOPPED, 2)
    study.search.values["reuse"] = False
    monkeypatch.setattr(study.search, "reuse", False, raising=False)
    setting = Setting(store, sweep, study, data, rung=2, known=KnownTrials(store, sweep))  # type: ignore[arg-type]
    trials = [trial_of(number) for number in range(14)]
    returned: list[int] = []
    call = retry.RetryingClient._call

    def counted(self: Any, name: str, action: Callable[[], Any]) -> Any:
        found = call(self, name, action)
        returned.append(len(found) if name == "search_runs" else 1)
        return found

    monkeypatch.setattr(retry.RetryingClient, "_call", counted)
    assert len(already_finished(setting, trials)) == 12
    assert len(setting.finished()) == 12
    assert setting.known is not None
    assert sum(setting.known.resumed_run(trial)() is not None for trial in trials) == 6
    assert max(returned, default=0) <= 10
    assert len(returned) <= 60  # the histories of the trials that halted at this rung


def test_one_read_asks_for_the_whole_sweep_in_pages(store: Store, sweep: Sweep, train: Train, tmp_path: Path) -> None:
    from nightune.tasks.tracking.trials import runs

    for number in range(5):
        train(number, STOPPED, 1)
    runs_per_page, runs.PAGE = runs.PAGE, 2
    try:
        assert len(KnownTrials(store, sweep).results()) == 5
    finally:
        runs.PAGE = runs_per_page
