"""Measure how long a running sweep takes to stop: from Ctrl-C, SIGTERM or a cancellation in Prefect to the exit.

    python benchmarks/stops.py [--repeat 2] [--engines fit,tensorflow,jax] [--seed 1]

`short` trains trials of a fraction of a second, so that stops fall between trials and into their writing; `long` trains
epochs of seconds, so that they fall into a compiled call, or into compiling. Each stop comes at a random moment after
training has begun, and must end with exit code 130, and leave no process of the store and no open run.
"""

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kill_checks import left_over
from kill_moments import ask, contents

FOLDER = Path(__file__).parent
STUDIES = {"short": FOLDER / "digits_mlp.toml", "long": FOLDER / "long_epochs.toml"}
TRIALS = 2000  # more than can end before the stop
ENGINES = {"fit": ("fit", "tensorflow"), "tensorflow": ("compiled", "tensorflow"), "jax": ("compiled", "jax")}
SPREAD_SECONDS = 8.0
START_SECONDS = 180.0
INTERRUPTED = 130

Process = subprocess.Popen[bytes]


def main() -> None:
    """Stop sweeps in every way and print a row for each study, engine and way."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job started with & ignores it, and so would its sweeps
    os.environ |= {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--engines", default="fit,tensorflow,jax")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    moments = random.Random(options.seed)
    print("| study | engine | stopped by | median, s | maximum, s | stops |\n|---|---|---|---|---|---|")
    with prefect_test_harness(server_startup_timeout=180):
        os.environ["PREFECT_API_URL"] = str(PREFECT_API_URL.value())
        for study, path in STUDIES.items():
            for engine in options.engines.split(","):
                for way, stop in WAYS.items():
                    taken = [seconds(path, engine, stop, moments) for _ in range(options.repeat)]
                    row = f"{statistics.median(taken):.1f} | {max(taken):.1f} | {len(taken)}"
                    print(f"| {study} | {engine} | {way} | {row} |", flush=True)


def seconds(study: Path, engine: str, stop: Callable[[Process], None], moments: random.Random) -> float:
    """Start a sweep, stop it while it trains, and return the seconds to its end; raise RuntimeError for leftovers."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        process = start(study, engine, store)
        try:
            wait_for_training(process, store)
            time.sleep(moments.uniform(0.0, SPREAD_SECONDS))
            asked_at = time.monotonic()
            stop(process)
            code = process.wait(START_SECONDS)
            taken = time.monotonic() - asked_at
        finally:
            process.kill()
        left = left_over(store) + [str(run) for run in ask(store, "select name from runs where status = 'RUNNING'")]
        if code != INTERRUPTED or left:
            output = store.with_suffix(".log").read_text(encoding="utf-8")
            raise RuntimeError(f"{study.name}, {engine}: code {code}, left {left}\n{output[-2000:]}")
    return taken


def start(study: Path, engine: str, store: Path) -> Process:
    """Start `nightune tune` in a store, with its output in a file beside it."""
    choice, backend = ENGINES[engine]
    command = [sys.executable, "-c", "from nightune.flows.commands.main import main; main()", "tune", str(study)]
    environment = os.environ | {"NIGHTUNE_STORE": str(store), "KERAS_BACKEND": backend}
    with store.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            [*command, "--engine", choice, "--trials", str(TRIALS)], env=environment, stdout=log, stderr=log
        )


def wait_for_training(process: Process, store: Path) -> None:
    """Wait until the first trial is in training."""
    deadline, begun = time.monotonic() + START_SECONDS, contents("locks/*.training.json")
    while not begun(store):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(store.with_suffix(".log").read_text(encoding="utf-8")[-2000:])
        time.sleep(0.02)


def cancel_in_prefect(_process: Process) -> None:
    """Cancel the flow run, as Prefect's UI does."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.states import Cancelling

    running: Any = {"state": {"type": {"any_": ["RUNNING"]}}}
    with get_client(sync_client=True) as client:
        (run,) = client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(running))
        client.set_flow_run_state(run.id, Cancelling())


WAYS: dict[str, Callable[[Process], None]] = {
    "Ctrl-C": lambda process: process.send_signal(signal.SIGINT),
    "SIGTERM": lambda process: process.send_signal(signal.SIGTERM),
    "Prefect": cancel_in_prefect,
}


if __name__ == "__main__":
    main()
