"""The time of all phases sums to the whole, however they end."""

import threading
from collections.abc import Iterator

import pytest
from greenlet import greenlet

from nightune.phases import (
    COMPILING,
    CONFIRMATION,
    IDLE,
    PREPARATION,
    TRACKING,
    TRAINING,
    Clock,
    clock_running,
    phase,
    stage,
)
from tests.hand_clock import Time


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def clock(time: Time) -> Iterator[Clock]:
    with clock_running(Clock(time)) as clock:
        yield clock


def test_a_moment_counts_for_the_innermost_phase(clock: Clock, time: Time) -> None:
    time.seconds += 1
    with phase(TRAINING):
        time.seconds += 2
        with phase(COMPILING):
            time.seconds += 4
        time.seconds += 8
    time.seconds += 16
    assert clock.read() == {PREPARATION: {IDLE: 17, TRAINING: 10, COMPILING: 4}}


def test_phases_of_a_stage_are_apart_and_all_sum_to_the_whole(clock: Clock, time: Time) -> None:
    def stopped() -> None:
        with stage(CONFIRMATION), phase(TRACKING):
            time.seconds += 3
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    time.seconds += 2
    read = clock.read()
    assert read[CONFIRMATION] == {IDLE: 0, TRACKING: 3}
    assert sum(sum(phases.values()) for phases in read.values()) == 5
    assert clock.total(TRACKING) == 3


def test_a_clock_counts_from_the_start_of_its_command(time: Time) -> None:
    time.seconds = 10
    assert Clock(time, began_at=4).read() == {PREPARATION: {IDLE: 6}}


def test_other_threads_and_threads_without_a_clock_count_nothing(clock: Clock, time: Time) -> None:
    def work() -> None:
        with phase(TRACKING):
            time.seconds += 1

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert clock.read() == {PREPARATION: {IDLE: 1}}


def test_trainings_that_are_coroutines_end_in_any_order(clock: Clock, time: Time) -> None:
    hub = greenlet.getcurrent()

    def train() -> None:
        with phase(TRAINING):
            hub.switch()
            with phase(TRACKING):
                time.seconds += 1

    first, second = greenlet(train), greenlet(train)
    first.switch()
    second.switch()
    time.seconds += 10  # the hub computes both
    first.switch()
    second.switch()
    time.seconds += 5
    assert clock.read() == {PREPARATION: {IDLE: 5, TRAINING: 10, TRACKING: 2}}
