"""The time of workers is divided by their own phases, and sums to the wall time of the flow that feeds them."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from nightune.phases import (
    ABSENT,
    COMPILING,
    CONFIRMATION,
    IDLE,
    PREPARATION,
    SEARCH,
    TRACKING,
    TRAINING,
    Clock,
    clock_running,
    phase,
    stage,
)
from nightune.tasks.reporting.ledger_keeper import cohort_recorded, command_clock, counted_training, ledger_kept
from nightune.tasks.reporting.ledger_keeper import sweep_ledger as kept
from nightune.tasks.reporting.night.accounts import Accounts
from nightune.tasks.reporting.night.ledger_part import ledger_part
from nightune.tasks.reporting.worker_times import WorkerTimes
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.ledgers import read_ledger
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tuning.analysis.ledger import Ledger, Session, Training
from nightune.tuning.study.sections import Limits
from nightune.tuning.trial import Trial
from tests.hand_clock import Time
from tests.tasks.nights import night, result

NAMES = ["worker-1", "worker-2"]


@pytest.fixture
def time() -> Time:
    return Time()


def wall_seconds(stages: dict[str, dict[str, float]]) -> float:
    return sum(sum(phases.values()) for phases in stages.values())


def test_workers_share_the_wall_time_and_are_idle_for_the_rest(time: Time) -> None:
    """100 s of feeding: one worker trains 60 s and compiles 20 s, the other one has 40 s under way at its death."""
    with clock_running(Clock(time)) as clock:
        times = WorkerTimes(clock)
        time.seconds = 5.0
        with stage(SEARCH):
            time.seconds = 7.0  # of the flow itself
            with times.feeding(NAMES):
                times.begin("worker-1")
                time.seconds = 27.0
                times.begin("worker-2")
                with phase(TRACKING):
                    time.seconds = 67.0  # the flow reads the store: the workers train meanwhile
                times.end("worker-2", None)
                time.seconds = 90.0
                times.end("worker-1", {TRAINING: 60.0, COMPILING: 20.0})
                time.seconds = 107.0
            time.seconds = 110.0
        stages, workers = times.read()
    assert workers["worker-1"][SEARCH] == {TRAINING: 60.0, COMPILING: 20.0, IDLE: 20.0}
    assert workers["worker-2"][SEARCH] == {TRAINING: 40.0, IDLE: 60.0}
    assert stages[PREPARATION] == {IDLE: 5.0}
    assert stages[SEARCH] == {TRAINING: 50.0, COMPILING: 10.0, TRACKING: 0.0, IDLE: 2.0 + 40.0 + 3.0}
    assert wall_seconds(stages) == 110.0


def test_what_is_under_way_counts_before_it_ends_and_stages_apart(time: Time) -> None:
    with clock_running(Clock(time)) as clock:
        times = WorkerTimes(clock)
        for name, seconds in ((SEARCH, 10.0), (CONFIRMATION, 4.0)):
            with stage(name), times.feeding(NAMES):
                for worker in NAMES:
                    times.begin(worker)
                time.seconds += seconds
                stages, workers = times.read()
                assert [workers[each][name][TRAINING] for each in NAMES] == [seconds, seconds]
                assert wall_seconds(stages) == pytest.approx(time.seconds)
        stages, workers = times.read()  # the blocks ended with both under way
    assert {name: stages[name][TRAINING] for name in (SEARCH, CONFIRMATION)} == {SEARCH: 10.0, CONFIRMATION: 4.0}
    assert [wall_seconds(workers[each]) for each in NAMES] == [14.0, 14.0]


def test_a_worker_never_has_more_than_the_time_in_which_it_was_fed(time: Time) -> None:
    with clock_running(Clock(time)) as clock, stage(SEARCH):
        times = WorkerTimes(clock)
        with times.feeding(NAMES[:1]):
            times.begin("worker-1")
            time.seconds = 10.0
            times.end("worker-1", {TRAINING: 8.0, COMPILING: 2.1})
        stages, workers = times.read()
    assert wall_seconds(workers["worker-1"]) == pytest.approx(10.0)
    assert wall_seconds(stages) == pytest.approx(10.0)


def test_a_worker_has_the_time_in_which_it_was_there(time: Time) -> None:
    """200 s of feeding in two stages: one worker all the time, one from 60 s on, gone from 80 s to 120 s."""
    with clock_running(Clock(time)) as clock:
        times = WorkerTimes(clock)
        with stage(SEARCH), times.feeding(NAMES[:1]):
            times.begin("worker-1")
            time.seconds = 60.0
            times.meet(NAMES)
            times.begin("worker-2")
            time.seconds = 80.0
            times.end("worker-2", None)
            times.meet(NAMES[:1])
            time.seconds = 100.0
            times.end("worker-1", {TRAINING: 100.0})
        with stage(CONFIRMATION), times.feeding(NAMES[:1]):
            time.seconds = 120.0
            times.meet(NAMES)
            times.begin("worker-2")
            time.seconds = 200.0
            times.end("worker-2", {TRAINING: 60.0})
        stages, workers = times.read()
    assert workers["worker-1"] == {SEARCH: {TRAINING: 100.0, IDLE: 0.0}, CONFIRMATION: {IDLE: 100.0}}
    assert workers["worker-2"] == {
        SEARCH: {TRAINING: 20.0, IDLE: 0.0, ABSENT: 80.0},
        CONFIRMATION: {TRAINING: 60.0, IDLE: 20.0, ABSENT: 20.0},
    }
    assert stages[SEARCH] == pytest.approx({TRAINING: 100.0, IDLE: 0.0})
    assert stages[CONFIRMATION] == pytest.approx({TRAINING: 100.0 * 60 / 180, IDLE: 100.0 * 120 / 180})
    session = Session("tune", 0.0, stages, workers=workers)
    assert [session.device_seconds(each) for each in (SEARCH, CONFIRMATION)] == pytest.approx([120.0, 60.0])
    assert [share.share for share in Ledger((session,)).worker_shares] == pytest.approx([0.5, 0.8])


def test_time_without_any_worker_stays_that_of_the_flow(time: Time) -> None:
    with clock_running(Clock(time)) as clock, stage(SEARCH):
        times = WorkerTimes(clock)
        with times.feeding([]):
            time.seconds = 10.0
        with times.feeding(NAMES):
            pass
        stages, workers = times.read()
    assert stages[SEARCH] == {IDLE: 10.0}
    assert Session("tune", 0.0, stages, workers=workers).device_seconds(SEARCH) == 0.0


@pytest.fixture
def setting(store: Store, sweep: Sweep) -> Any:
    study = SimpleNamespace(limits=Limits())
    return Setting(store, sweep, study, None)  # type: ignore[arg-type]


def test_a_cohort_tells_its_phases_and_trainings_and_the_ledger_is_whole(setting: Setting, trial: Trial) -> None:
    with cohort_recorded(SEARCH) as record, counted_training(trial, False) as trained:
        trained.epochs = 3
    assert [(each.trial, each.stage, each.epochs) for each in record.trainings] == [(0, SEARCH, 3)]
    with command_clock(), ledger_kept(setting, "tune"), stage(SEARCH):
        ledger = kept()
        assert ledger is not None
        with ledger.times.feeding(NAMES):
            for worker in NAMES:
                ledger.times.begin(worker)
            ledger.announce(result(0, 0.9))
            ledger.announce(result(1, 0.8))  # its cohort never returns
            ledger.times.end("worker-1", record.phases)
            for training in record.trainings:
                ledger.add(training)
    held = read_ledger(setting.store, setting.sweep)
    assert held is not None
    assert [each.trial for each in held.trainings(SEARCH)] == [0, 1]
    assert held.trainings(SEARCH)[0] == record.trainings[0]
    assert held.has_all([result(0, 0.9), result(1, 0.8)])
    assert [share.name for share in held.worker_shares] == NAMES
    assert kept() is None


def test_a_cluster_has_neither_energy_nor_price(setting: Setting) -> None:
    priced: Any = SimpleNamespace(limits=Limits(price_per_hour=2.0))
    with command_clock(), ledger_kept(replace(setting, study=priced), "tune", is_cluster=True), stage(SEARCH):
        ledger = kept()
        assert ledger is not None
        ledger.add(Training(0, 0, SEARCH, 3, 4.0))
    held = read_ledger(setting.store, setting.sweep)
    assert held is not None
    assert held.sessions[0].is_cluster
    assert (held.joules, held.cost) == (None, None)
    subject = night([result(0, 0.9)], accounts=Accounts(ledger=held))
    part = ledger_part(subject)
    assert part is not None
    assert [fact.doubt for fact in part["facts"] if "cluster" in fact.doubt] == [
        "of the machines of a cluster",
        "the price is of one machine, and a cluster trained",
    ]


def test_a_rung_whose_account_died_with_its_worker_stays_when_the_next_one_is_told(setting: Setting) -> None:
    with command_clock(), ledger_kept(setting, "tune"), stage(SEARCH):
        ledger = kept()
        assert ledger is not None
        for number in (0, 1):
            ledger.announce(replace(result(number, 0.9), epochs=1, seconds=2.0))
        ledger.settle([result(0, 0.9).trial])  # its worker has died
        for number in (0, 1):
            ledger.add(Training(number, 0, SEARCH, 3, 4.0))
    held = read_ledger(setting.store, setting.sweep)
    assert held is not None
    assert sorted((each.trial, each.epochs) for each in held.trainings(SEARCH)) == [(0, 1), (0, 3), (1, 3)]


def test_a_training_outside_of_a_cohort_is_not_added_to_its_record(trial: Trial) -> None:
    with cohort_recorded(SEARCH) as record:
        pass
    with counted_training(trial, False):
        pass
    assert record.trainings == []
