"""Measure the memory of a flow that feeds local workers: its resident size after 1,000 trials and after 10,000.

    python benchmarks/flow_memory.py [--trials 10000] [--workers 2]

The flow's process is as in a sweep: the scheduler of Dask, the feed, the results and the ledger, the log lines of the
workers. Its workers train nothing: they return a result for each trial, with the account and the log line of a real
one. Prefect, which has one task run for all trials of a rung, is not measured.
"""

import argparse
import asyncio
import gc
import logging
import pickle
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

STUDY = Path(__file__).with_name("digits_mlp.toml")
MARKS = (500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000)  # trials after which the size is printed


def main() -> None:
    """Feed the trials and print the size at each mark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", default="measure", choices=["measure", "worker"], help=argparse.SUPPRESS)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if options.part == "worker":
        serve_light_worker()
    else:
        measure(options.trials, options.workers)


def measure(count: int, workers: int) -> None:
    """Feed workers that train nothing, in a new store."""
    from nightune.phases import SEARCH, stage
    from nightune.tasks.load_study import load_study
    from nightune.tasks.prepare_data import prepare_data
    from nightune.tasks.propose_trials import propose_trials
    from nightune.tasks.reporting.ledger_keeper import command_clock, ledger_kept
    from nightune.tasks.setting import Setting
    from nightune.tasks.tracking.store.store import open_store
    from nightune.tasks.tracking.sweeps.sweeps import open_sweep
    from nightune.tasks.tracking.trials.known_trials import KnownTrials
    from nightune.tasks.workers.sweep_workers import CrewOfSweep
    from nightune.tuning.trial import Bracket, Rung

    logging.getLogger("nightune").setLevel(logging.INFO)
    study = load_study(STUDY, trials=count)
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder))
        data = prepare_data.fn(study, store.root)
        sweep = open_sweep(store, study, data.version, False, count)
        setting = Setting(store, sweep, study, data, known=KnownTrials(store, sweep))
        trials = propose_trials.fn(study, 0, data, Bracket((Rung(count, study.search.epochs),)), [])
        crew = _light_crew(workers, store.compiled)
        print("| trials | resident MiB | more than after the first mark, KiB a trial | seconds |\n|---|---|---|---|")
        with command_clock(), ledger_kept(setting, "tune"), stage(SEARCH):
            try:
                results = CrewOfSweep(crew).train(setting, trials)
            finally:
                crew.close()
        assert [result.trial.number for result in results] == list(range(count))
        crew.note_size(count)


def _light_crew(workers: int, compiled: Path) -> Any:
    """Return a crew whose workers import no Keras and train nothing, and which prints its process's size."""
    from nightune.flows.runtime.worker_process import worker_environment
    from nightune.tasks.workers.local_crew import LocalCrew, LocalWorker

    class LightCrew(LocalCrew):
        marks, sizes, sent, began = list(MARKS), list[tuple[int, float]](), 0, time.monotonic()

        def send(self, worker: LocalWorker, job: Any) -> Any:
            if self.marks and self.sent >= self.marks[0]:
                self.note_size(self.sent)
            self.sent += len(job.trials)
            assert self._dask is not None
            future = self._dask.submit(train_nothing, pickle.dumps(job.trials), at=worker.address)
            future.add_done_callback(self.inbox.put)
            return future

        def note_size(self, count: int) -> None:
            """Print the process's size after so many trials."""
            self.marks = [mark for mark in self.marks if mark > count]
            gc.collect()
            self.sizes.append((count, psutil.Process().memory_info().rss / 1024))
            (first, before), (_, now) = self.sizes[0], self.sizes[-1]
            growth = (now - before) / max(1, count - first)
            print(f"| {count:,} | {now / 1024:.1f} | {growth:.2f} | {time.monotonic() - self.began:.0f} |", flush=True)

    command = (sys.executable, __file__, "worker")
    return LightCrew(command, [worker_environment()] * workers, compiled)


def train_nothing(trials: bytes) -> Any:
    """Return what a cohort returns, and send the log line of each trial."""
    from distributed import get_worker

    from nightune.models.training.engine import Compilation
    from nightune.phases import SEARCH, TRAINING
    from nightune.tasks.reporting.events import announce_trial
    from nightune.tasks.workers.job import Trained
    from nightune.tasks.workers.relay import TOPIC, relayed
    from nightune.tuning.analysis.ledger import Training
    from nightune.tuning.trial import Status, TrialResult

    worker = get_worker()
    results = [
        TrialResult(trial, Status.COMPLETED, 1.0 / (2 + trial.number), 20, 20, 1000, 30_000, 0.5, run_id=trial.key * 2)
        for trial in pickle.loads(trials)
    ]
    with relayed(lambda record: worker.log_event(TOPIC, record), logging.INFO):
        for result in results:
            announce_trial(result, "val_loss")
    trainings = tuple(Training(each.trial.number, 0, SEARCH, 20, 0.5, 0.1, 0.1) for each in results)
    return Trained(results, Compilation(0, 0.0), phases={TRAINING: 0.5 * len(results)}, trainings=trainings)


def serve_light_worker() -> None:
    """Be a local worker without Keras: the flow says where its scheduler is."""
    from nightune.tasks.workers import local_worker

    asyncio.run(local_worker._serve(pickle.load(sys.stdin.buffer)))


if __name__ == "__main__":
    main()
