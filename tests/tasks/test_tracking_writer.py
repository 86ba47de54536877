"""The background writer: in order, bounded, and nothing is lost in case of an error."""

import threading
from collections.abc import Callable

import pytest

from nightune.tasks.tracking.store import background_writer as module
from nightune.tasks.tracking.store.background_writer import BackgroundWriter

TIMEOUT = 30.0


def test_writes_happen_in_order_in_one_other_thread() -> None:
    threads: set[int] = set()

    def write(number: int) -> Callable[[], int]:
        return lambda: threads.add(threading.get_ident()) or number  # type: ignore[func-returns-value]

    with BackgroundWriter[int]() as writer:
        for number in range(20):
            writer.submit(write(number))
        assert writer.results() == list(range(20))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_the_caller_continues_during_a_write() -> None:
    may_end = threading.Event()
    with BackgroundWriter[bool]() as writer:
        writer.submit(lambda: may_end.wait(TIMEOUT))
        may_end.set()  # reached only because submit does not wait
        assert writer.results() == [True]


def test_a_write_that_waits_for_those_before_it_goes_on() -> None:
    with BackgroundWriter[None]() as writer:
        for _ in range(3):
            writer.submit(writer.wait)
        writer.wait()
        assert writer.results() == [None] * 3


def test_the_number_of_waiting_writes_is_bounded() -> None:
    begun: list[int] = []
    gates = [threading.Event() for _ in range(4)]

    def write(number: int) -> Callable[[], bool]:
        return lambda: begun.append(number) or gates[number].wait(TIMEOUT)

    with BackgroundWriter[bool](maximum_pending=2) as writer:
        writer.submit(write(0))
        writer.submit(write(1))
        threading.Timer(0.1, gates[0].set).start()
        writer.submit(write(2))  # waits for the first
        assert begun[0] == 0
        assert gates[0].is_set()
        for gate in gates:
            gate.set()
        assert writer.results() == [True, True, True]


def test_a_write_error_stops_the_caller_and_accepted_writes_are_still_done() -> None:
    written: list[str] = []
    may_fail = threading.Event()

    def fail() -> None:
        may_fail.wait(TIMEOUT)
        raise OSError("the disk is full")

    def go() -> None:
        with BackgroundWriter[None](maximum_pending=2) as writer:
            writer.submit(fail)
            writer.submit(lambda: written.append("second"))
            may_fail.set()
            writer.submit(lambda: written.append("third"))
            pytest.fail("the caller continues")

    with pytest.raises(OSError, match="the disk is full"):
        go()
    assert written == ["second", "third"]


def test_an_error_after_the_last_submit_is_raised_too() -> None:
    def fail() -> None:
        raise OSError("the disk is full")

    def go() -> None:
        with BackgroundWriter[None]() as writer:
            writer.submit(fail)

    with pytest.raises(OSError, match="the disk is full"):
        go()


def test_an_interrupt_waits_for_accepted_writes(caplog: pytest.LogCaptureFixture) -> None:
    written: list[int] = []
    may_write = threading.Event()

    def fail() -> None:
        raise OSError("the disk is full")

    def go() -> None:
        with BackgroundWriter[object]() as writer:
            writer.submit(lambda: may_write.wait(TIMEOUT) and written.append(1))
            writer.submit(fail)
            threading.Timer(0.1, may_write.set).start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go()
    assert written == [1]
    assert "a finished trial could not be written: OSError: the disk is full" in caplog.text


def test_an_interrupt_of_the_wait_for_a_write_does_not_hide_its_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def interrupt(_futures: object) -> None:
        raise KeyboardInterrupt

    def fail() -> None:
        raise OSError("the disk is full")

    def go() -> None:
        with BackgroundWriter[None]() as writer:
            writer.submit(fail)
            writer.wait()

    monkeypatch.setattr(module, "wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        go()
    assert "could not be written: OSError: the disk is full" in caplog.text
