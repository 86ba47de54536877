"""The ledger sums to the wall time, and divides the device's time among trials."""

import pytest

from nightune.phases import COMPILING, CONFIRMATION, IDLE, PREPARATION, SEARCH, TRAINING
from nightune.tuning.analysis.ledger import Ledger, Session, Training, rung_shares, shares

STAGES = {PREPARATION: {IDLE: 5.0}, SEARCH: {TRAINING: 30.0, COMPILING: 10.0, IDLE: 1.0}, CONFIRMATION: {TRAINING: 4.0}}


def training(trial: int, seconds: float, epochs: int = 8, **changes: object) -> Training:
    return Training(trial, 0, SEARCH, epochs, seconds, **changes)  # type: ignore[arg-type]


def session(*trainings: Training, **changes: object) -> Session:
    return Session("tune", 0.0, **{"stages": STAGES, "trainings": trainings, **changes})  # type: ignore[arg-type]


def test_phases_sum_to_the_wall_time_of_all_commands() -> None:
    ledger = Ledger((session(), session()))
    assert ledger.seconds == 100.0
    assert sum(sum(ledger.of_stage(each).values()) for each in ledger.stages) == 100.0
    assert ledger.device_seconds == 88.0
    assert ledger.stages == [PREPARATION, SEARCH, CONFIRMATION]


def test_device_seconds_of_workers_are_added_and_shares_are_means() -> None:
    """Of 41 s of search, workers trained for 30 s on average: 40 s and 20 s; the confirmation was in one process."""
    busy, idle = {TRAINING: 40.0, IDLE: 1.0}, {TRAINING: 20.0, IDLE: 21.0}
    stages = {SEARCH: {TRAINING: 30.0, IDLE: 11.0}, CONFIRMATION: {TRAINING: 4.0}}
    ledger = Ledger((session(stages=stages, workers={"worker-1": {SEARCH: busy}, "worker-2": {SEARCH: idle}}),))
    assert ledger.seconds == 45.0
    assert ledger.device_seconds == 64.0
    assert ledger.device_share == pytest.approx(34 / 45)
    assert [(each.name, each.seconds) for each in ledger.worker_shares] == [("worker-1", 40.0), ("worker-2", 20.0)]
    assert [each.share for each in ledger.worker_shares] == pytest.approx([40 / 41, 20 / 41])


def test_energy_and_money_are_known_if_every_command_tells_them() -> None:
    priced, free = session(price_per_hour=36.0, joules=50.0), session(price_per_hour=0.0, joules=1.0)
    assert Ledger((priced,)).cost == pytest.approx(0.5)
    assert Ledger((priced, free)).cost == pytest.approx(0.5)
    assert Ledger((priced, free)).joules == 51.0
    assert Ledger((priced, session())).cost is None
    assert Ledger((priced, session())).joules is None


def test_trials_are_grouped_and_unknown_ones_left_out() -> None:
    held = [training(0, 3.0), training(1, 1.0), training(1, 4.0), training(2, 9.0)]
    found = shares(held, {0: "adam", 1: "sgd"})
    assert [(each.name, each.trainings, each.seconds, each.share) for each in found] == [
        ("sgd", 2, 5.0, 0.625),
        ("adam", 1, 3.0, 0.375),
    ]
    assert shares([], {}) == []


def test_a_training_belongs_to_the_first_rung_that_its_last_epoch_reaches() -> None:
    held = [training(0, 1.0, 2), training(1, 2.0, 1), training(0, 4.0, 4), training(0, 8.0, 7)]
    assert [(each.name, each.seconds) for each in rung_shares(held, [8, 2, 4])] == [("2", 3.0), ("4", 4.0), ("8", 8.0)]


def test_trainings_that_share_a_device_share_its_time() -> None:
    ledger = Ledger((session(training(0, 60.0, is_shared=True), training(1, 20.0, is_shared=True)),))
    assert [each.seconds for each in ledger.trainings(SEARCH)] == [30.0, 10.0]
    assert sum(each.seconds for each in ledger.trainings(SEARCH)) == 40.0  # of the search, compiling included
    alone = Ledger((session(training(0, 30.0)),))
    assert [each.seconds for each in alone.trainings(SEARCH)] == [30.0]
