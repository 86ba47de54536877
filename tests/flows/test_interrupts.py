"""A stop takes effect even if Python drops the interrupt, and the process then ends at once."""

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from nightune.flows.runtime.interrupts import reraise_lost_interrupts
from nightune.tasks.trial.interrupts import (
    interrupts_raised,
    interrupts_remembered,
    refuse_interrupted,
    terminations_remembered,
)

SECONDS = 10.0  # maximum; a dropped interrupt that is not re-raised never arrives


class Deaf:
    """Is interrupted while it is deleted."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def in_a_finalizer() -> None:
    Deaf()


def in_a_callback_of_the_garbage_collector() -> None:
    def interrupted(phase: str, _: dict[str, int]) -> None:
        gc.callbacks.remove(interrupted)
        signal.raise_signal(signal.SIGINT)

    gc.callbacks.append(interrupted)
    gc.collect()


@pytest.mark.parametrize("lose", [in_a_finalizer, in_a_callback_of_the_garbage_collector])
def test_a_swallowed_interrupt_is_raised_again(lose: Callable[[], None]) -> None:
    with interrupts_remembered(), pytest.raises(KeyboardInterrupt):
        continue_after(lose)


@reraise_lost_interrupts()
def continue_after(lose: Callable[[], None]) -> None:
    lose()
    time.sleep(SECONDS)


def drop_an_interrupt() -> None:
    with suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_a_dropped_interrupt_is_remembered_until_the_block_ends() -> None:
    with interrupts_remembered():
        refuse_interrupted()
        drop_an_interrupt()
        with pytest.raises(KeyboardInterrupt):
            refuse_interrupted()
    refuse_interrupted()


@pytest.mark.parametrize("error", [None, RuntimeError("REPLACED BY KeyboardInterrupt")])
def test_what_follows_from_a_dropped_interrupt_is_no_result_and_no_error(error: Exception | None) -> None:
    def drop_and_go_on(drop: Callable[[], None]) -> int:
        with interrupts_raised():
            drop()
            if error is not None:
                raise error
            return 1

    if error is None:
        assert drop_and_go_on(lambda: None) == 1
    else:
        with pytest.raises(RuntimeError, match="REPLACED"):
            drop_and_go_on(lambda: None)
    with interrupts_remembered(), pytest.raises(KeyboardInterrupt):
        drop_and_go_on(drop_an_interrupt)


def test_a_sweep_whose_interrupt_was_dropped_stops_at_its_next_epoch(
    prefect_server: str, store_root: Path, small_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightune.flows import tune as flow

    tune = flow.tune
    with interrupts_remembered():
        drop_an_interrupt()
        with pytest.raises(KeyboardInterrupt):
            tune(small_study, engine="fit")
    with monkeypatch.context() as patch, interrupts_remembered():
        patch.setattr(flow, "load_study", after_a_dropped_termination(flow.load_study))
        with pytest.raises(KeyboardInterrupt):
            tune(small_study, engine="fit")
    assert len(tune(small_study, engine="fit").results) == 4


def test_a_trial_whose_interrupt_became_another_error_has_not_failed(
    prefect_server: str, store_root: Path, small_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightune.flows.tune import tune
    from nightune.tasks.trial.trial_runner import TrialRunner

    def interrupted(*_: Any) -> None:
        drop_an_interrupt()
        raise ValueError("an operation was cancelled")

    with monkeypatch.context() as patch, interrupts_remembered():
        patch.setattr(TrialRunner, "_outcome", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tune(small_study, engine="fit")
    assert {str(each.status) for each in tune(small_study, engine="fit").results} == {"completed"}


def after_a_dropped_termination(function: Callable[..., Any]) -> Callable[..., Any]:
    from prefect.exceptions import TerminationSignal

    def call(*values: Any, **options: Any) -> Any:
        with suppress(TerminationSignal):
            signal.raise_signal(signal.SIGTERM)
        return function(*values, **options)

    return call


def test_outside_of_a_command_the_handler_of_prefect_stays() -> None:
    from prefect.utilities.engine import capture_sigterm

    with capture_sigterm():
        before = signal.getsignal(signal.SIGTERM)
        with terminations_remembered():
            assert signal.getsignal(signal.SIGTERM) is before
        with interrupts_remembered():
            command = signal.getsignal(signal.SIGTERM)
            with terminations_remembered():
                assert signal.getsignal(signal.SIGTERM) is not command
            assert signal.getsignal(signal.SIGTERM) is command
    refuse_interrupted()


def test_errors_in_finalizers_are_still_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[object] = []

    class Broken:
        def __del__(self) -> None:
            raise ValueError("reported")

    monkeypatch.setattr(sys, "unraisablehook", reported.append)
    with reraise_lost_interrupts():
        Broken()
    assert [str(each.exc_value) for each in reported] == ["reported"]  # type: ignore[attr-defined]


def test_an_interrupt_swallowed_at_the_very_end_is_not_raised_afterwards() -> None:
    with interrupts_remembered():
        with reraise_lost_interrupts():
            in_a_finalizer()
        time.sleep(0.5)


def test_an_ending_command_does_not_collect_cycles_among_its_imports() -> None:
    reported_at_exit = "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count() > 0))"
    done = subprocess.run(
        [sys.executable, "-c", f"{reported_at_exit}; from nightune.flows.commands.main import main; main()", "--help"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip().endswith("True")
