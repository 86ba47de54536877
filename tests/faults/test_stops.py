"""A running sweep is stopped by Ctrl-C, SIGTERM or a cancellation in Prefect, and both records show it."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelling

from tests.faults.sweeps import Sweep, run_states, trial_numbers, validation_points

Stop = Callable[[Sweep, FlowRun], None]


def flow_run(state: str) -> FlowRun:
    """The newest flow run in a state."""
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(limit=50)
    return max(
        (run for run in runs if run.state is not None and run.state.type.value == state),
        key=lambda run: run.created or run.expected_start_time,
    )


def cancel_in_prefect(_: Sweep, run: FlowRun) -> None:
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, Cancelling())


STOPS: dict[str, Stop] = {
    "Ctrl-C": lambda sweep, _: sweep.process.send_signal(signal.SIGINT),
    "SIGTERM": lambda sweep, _: sweep.process.send_signal(signal.SIGTERM),
    "Prefect": cancel_in_prefect,
}


@pytest.mark.nights
@pytest.mark.parametrize("how", list(STOPS))
def test_a_stopped_sweep_is_cancelled_in_prefect_closed_in_mlflow_and_resumes(
    store_root: Path,
    prefect_server: str,
    small_study: Path,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    small_study.write_text(small_study.read_text().replace("trials = 4", "trials = 400"))
    sweep = Sweep(small_study, "--engine", "fit")
    sweep.wait_for_output("trial 4 · ")
    run = flow_run("RUNNING")
    asked_at = time.monotonic()
    STOPS[how](sweep, run)
    assert sweep.wait() == 130
    record_property("seconds to the end", f"{time.monotonic() - asked_at:.1f}")
    assert "Traceback" not in sweep.output
    assert "Resume with:" in sweep.output
    assert "RUNNING" not in run_states(store_root / "mlflow.db")
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(run.id).state
    assert state is not None
    assert state.type.value == "CANCELLED"
    before = len(trial_numbers(store_root / "mlflow.db"))
    assert_resumes(small_study, store_root, before + 3)


def assert_resumes(study: Path, store_root: Path, trials: int) -> None:
    """Assert that the same sweep resumes, stops again soon, and has no trial twice."""
    sweep = Sweep(study, "--engine", "fit")
    sweep.wait_for_output("trial ")
    while len(trial_numbers(store_root / "mlflow.db")) < trials:
        time.sleep(0.1)
    sweep.process.send_signal(signal.SIGTERM)
    assert sweep.wait() == 130
    numbers = trial_numbers(store_root / "mlflow.db")
    assert len(set(numbers)) == len(numbers)
    assert validation_points(store_root / "mlflow.db") <= 2 * len(numbers)
