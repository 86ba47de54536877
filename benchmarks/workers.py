"""Measure what workers bring: real trainings by 1 and 2 of them, and up to 64 that sleep instead of training.

    python benchmarks/workers.py real [--study STUDY] [--trials 24] [--workers 1,2] [--processors 1,2] [--threads 0,1]
    python benchmarks/workers.py sleep [--workers 1,4,16,64] [--seconds 1] [--trials-a-worker 10]

`real` tunes the study in a new store for each number of workers, of processors that the command and all that it starts
may use (`taskset`), and of threads of TensorFlow in each process (0: one for each processor). Its rate is that of
the trials that end after each worker has ended one, without start and report. The digest of all curves is equal where
no value differs in a bit.

`sleep` is the feed of a Dask cluster with a scheduler of its own; its workers are light, 16 in a process. It prints the
efficiency (ideal seconds / measured seconds), once in cohorts as the feed cuts them and once a trial at a time, and the
milliseconds of processor time that the flow's process and the scheduler spend on a trial. Other work on the machine
lowers the efficiency, not the processor time.
"""

import argparse
import hashlib
import json
import os
import pickle
import platform
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import psutil

from nightune.models.program_cache import processor_count

COMMAND = "from nightune.flows.commands.main import main; main()"
STUDY = Path(__file__).with_name("digits_mlp.toml")
WORKERS_A_PROCESS = 16
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
CURVES = (
    "select tags.value, metrics.key, metrics.step, metrics.value from metrics join tags using (run_uuid) "
    "where tags.key = 'nightune.trial_key' and metrics.key in ('loss', 'val_loss')"
)


def main() -> None:
    """Print a table of one part, and the machine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["real", "sleep", "light-workers"])
    parser.add_argument("--study", type=Path, default=STUDY)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=0, help="0: those of the study")
    parser.add_argument(
        "--workers", default="", help="default: 1,2 of real ones (0: the command trains), 1,4,16,64 that sleep"
    )
    parser.add_argument(
        "--processors", default=str(processor_count()), help="as many as this process may use, or fewer"
    )
    parser.add_argument("--threads", default="0", help="of TensorFlow in each process; 0: one for each processor")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--trials-a-worker", type=int, default=10)
    parser.add_argument("--address", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part == "light-workers":
        serve_light_workers(options.address, int(options.workers))
        return
    print(f"{platform.platform()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}\n")
    if options.part == "real":
        processors, workers = numbers(options.processors), numbers(options.workers or "1,2")
        if not all(0 < count <= processor_count() for count in processors):
            parser.error(f"--processors: 1 to {processor_count()}, those that this process may use")
        if options.trials < max(workers) + 2:
            parser.error(f"--trials: at least {max(workers) + 2}, two more than workers, for a rate")
        measured = product(processors, numbers(options.threads), workers)
        measure_real(options.study, options.trials, options.epochs, measured)
    else:
        measure_sleep(numbers(options.workers or "1,4,16,64"), options.seconds, options.trials_a_worker)


def numbers(text: str) -> list[int]:
    """Return the numbers of a list with commas."""
    return [int(word) for word in text.split(",")]


def measure_real(study: Path, trials: int, epochs: int, measured: Iterable[tuple[int, ...]]) -> None:
    """Tune the study in a new store for each number of processors, threads and workers."""
    of_row = ("processors", "threads", "workers")
    print(_head(*of_row, "seconds", "processor seconds", "trials an hour", "tracking", "curves"))
    for processors, threads, workers in measured:
        with tempfile.TemporaryDirectory() as folder, _on_processors(processors):
            environment = os.environ | {"NIGHTUNE_STORE": folder}
            if threads:
                environment |= {name: str(threads) for name in THREADS}
            command = [sys.executable, "-c", COMMAND, "tune", str(study), "--trials", str(trials)]
            command += ["--epochs", str(epochs)] if epochs else []
            command += ["--workers", str(workers)] if workers else []
            began, before = time.monotonic(), _of_children()
            subprocess.run(command, env=environment, check=True, capture_output=True)
            seconds, processor = time.monotonic() - began, _of_children() - before
            share, (rate, digest) = _tracking_share(Path(folder)), _trained(Path(folder), max(1, workers))
        row = f"{processors} | {threads or 'default'} | {workers} | {seconds:.1f} | {processor:.1f} | {rate:,.0f}"
        print(f"| {row} | {share} | {digest} |", flush=True)


@contextmanager
def _on_processors(count: int) -> Iterator[None]:
    """Let this process, and what it starts, use so many of the processors that it may use (Linux)."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _trained(store: Path, workers: int) -> tuple[float, str]:
    """Return the trials an hour once each worker has ended one, and a digest of all curves."""
    trials = "select run_uuid from tags where key = 'nightune.kind' and value = 'trial'"
    with closing(sqlite3.connect(store / "mlflow.db")) as database:
        query = f"select end_time from runs where run_uuid in ({trials}) order by 1"
        ends = [end for (end,) in database.execute(query)][workers - 1 :]
        curves = database.execute(f"{CURVES} and metrics.run_uuid in ({trials}) order by 1, 2, 3").fetchall()
    rate = 3_600_000 * (len(ends) - 1) / (ends[-1] - ends[0])
    return rate, hashlib.sha256(repr(curves).encode()).hexdigest()[:8]


def _head(*columns: str) -> str:
    return f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|"


def _tracking_share(store: Path) -> str:
    """Return the share of the search's time that MLflow took by the sweep's ledger: the mean of those that train."""
    from nightune.phases import SEARCH, TRACKING
    from nightune.tasks.tracking.sweeps.ledgers import parse_ledger

    (file,) = store.glob("artifacts/*/*/artifacts/ledger.json")
    phases = parse_ledger(file.read_text(encoding="utf-8")).of_stage(SEARCH)
    return f"{phases[TRACKING] / sum(phases.values()):.1%}"


def _of_children() -> float:
    times = os.times()
    return times.children_user + times.children_system


def measure_sleep(counts: list[int], seconds: float, trials_a_worker: int) -> None:
    """Feed workers that sleep: in cohorts, and one trial at a time."""
    print(_head("workers", "cohorts", "trials", "efficiency", "flow, ms a trial", "scheduler, ms a trial"))
    for count in counts:
        for cohorts, most in (("as fed", 25), ("single", 1)):
            trials = count * trials_a_worker
            with _cluster(count) as (address, scheduler):
                wall, flow, of_scheduler = _fed(address, scheduler, count, trials, seconds, most)
            ideal = seconds * trials / count
            row = f"{ideal / wall:.0%} | {1000 * flow / trials:.1f} | {1000 * of_scheduler / trials:.1f}"
            print(f"| {count} | {cohorts} | {trials} | {row} |", flush=True)


def _fed(
    address: str, scheduler: psutil.Process, count: int, trials: int, seconds: float, most: int
) -> tuple[float, float, float]:
    """Return the seconds of a feed, and the processor seconds of this process and of the scheduler."""
    from nightune.tasks.workers import cuts, feed
    from nightune.tuning.trial import Trial

    crew = _sleeping_crew(address, count, seconds)
    study = SimpleNamespace(path=STUDY, name="sleep", objective=SimpleNamespace(name="val_loss"))
    of_sweep: dict[str, Any] = {"store": None, "sweep": SimpleNamespace(id="sleep"), "study": study}
    setting: Any = SimpleNamespace(**of_sweep, budget=None, epochs=1, known=None, finished=tuple)
    made = [Trial(number, {"optimizer": "sgd"}, 1, f"key-{number}") for number in range(trials)]
    with (
        patch.object(cuts, "MOST_TRIALS", most),
        patch.object(cuts, "FIRST_TRIALS", most),
        patch.object(feed, "replace", lambda value, **_changes: value),
    ):
        crew.start(setting)
        began, flow, of_scheduler = time.monotonic(), time.process_time(), sum(scheduler.cpu_times()[:2])
        results = feed.Feed(crew, setting, made, {}).run()
        wall, used = time.monotonic() - began, time.process_time() - flow
        of_scheduler = sum(scheduler.cpu_times()[:2]) - of_scheduler
    crew.close()
    assert [result.trial.number for result in results] == list(range(trials))
    return wall, used, of_scheduler


def _sleeping_crew(address: str, count: int, seconds: float) -> Any:
    """Return the crew of a cluster whose workers lease nothing, and sleep for each trial."""
    from nightune.tasks.workers.cluster_crew import ClusterCrew, ClusterWorker, HostedEnding

    class SleepingCrew(ClusterCrew):
        def start(self, setting: Any) -> None:
            self._dask = self._connect()
            self._alone_since = time.monotonic()
            while self._ready < count:
                self._looked_at = 0.0
                self.join()
                time.sleep(0.2)

        def send(self, worker: ClusterWorker, job: Any) -> Any:
            answer = pickle.dumps(_slept(job, seconds))
            future = self._connected().submit(sleep_at, len(job.trials) * seconds, answer, at=worker.at)
            ending = HostedEnding(future, worker)
            future.add_done_callback(lambda _future: self.inbox.put(ending))
            return ending

        def _leased(self, name: str, at: str) -> ClusterWorker:
            lease, view = (self._connected().submit(bool, 1, at=at) for _ in range(2))
            return ClusterWorker(name, at=at, lease=lease, view=view)

    return SleepingCrew(address, "")


def _slept(job: Any, seconds: float) -> Any:
    from nightune.models.training.engine import Compilation
    from nightune.tasks.workers.job import Trained
    from nightune.tuning.trial import Status, TrialResult

    of_trial = {"objective": 0.5, "best_epoch": 1, "epochs": 1, "updates": 1, "examples": 1, "seconds": seconds}
    results = [TrialResult(trial, Status.COMPLETED, **of_trial) for trial in job.trials]
    return Trained(results, Compilation(0, 0.0))


def sleep_at(seconds: float, answer: bytes) -> bytes:
    """Sleep instead of training."""
    time.sleep(seconds)
    return answer


@contextmanager
def _cluster(count: int) -> Iterator[tuple[str, psutil.Process]]:
    """Provide a scheduler and that many light workers, all on loopback."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scheduler.json"
        quiet: dict[str, Any] = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        words = ["--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0"]
        command = [sys.executable, "-m", "distributed.cli.dask_scheduler", *words, "--scheduler-file", str(file)]
        processes = [subprocess.Popen(command, **quiet)]
        try:
            while not file.exists():
                time.sleep(0.1)
            address = str(json.loads(file.read_text(encoding="utf-8"))["address"])
            for first in range(0, count, WORKERS_A_PROCESS):
                some = min(WORKERS_A_PROCESS, count - first)
                light = [sys.executable, __file__, "light-workers", "--address", address, "--workers", str(some)]
                processes.append(subprocess.Popen(light, **quiet))
            yield address, psutil.Process(processes[0].pid)
        finally:
            for process in reversed(processes):
                process.kill()
                process.wait()


def serve_light_workers(address: str, count: int) -> None:
    """Be that many workers of one thread in this process."""
    import asyncio

    from distributed import Worker

    async def serve() -> None:
        options: dict[str, Any] = {"nthreads": 1, "memory_limit": 0, "dashboard_address": "127.0.0.1:0"}
        workers = [await Worker(address, host="127.0.0.1", **options) for _ in range(count)]
        await asyncio.gather(*(worker.finished() for worker in workers))

    asyncio.run(serve())


if __name__ == "__main__":
    main()
