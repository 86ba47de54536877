"""Measure the overhead of a trial: an engine that computes nothing, with everything else as in a sweep.

    python benchmarks/overhead.py [--trials 10,100,1000]

Controller, curves, checkpoint and MLflow on SQLite are measured; Prefect is not: it runs one task for 50 trials. A
sweep writes most of it while the next trial trains; here nothing trains, so all of it is visible. The last column is
the mean of the last tenth of the trials, which shows whether the cost grows with the store.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from nightune.models.engines.fit.engine import FitEngine
from nightune.models.training.engine import EpochOutput

STUDY = Path(__file__).parent / "digits_mlp.toml"


def main() -> None:
    """Measure each number of trials in a new store, and print the table."""
    from nightune.models.backend import load_keras
    from nightune.tasks.tracking.store.provenance import environment

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", default="10,100,1000", help="separated by commas")
    counts = [int(count) for count in parser.parse_args().trials.split(",")]
    load_keras()
    print("| trials | ms per trial, mean | median | last tenth, mean |\n|---|---|---|---|")
    for count in counts:
        seconds = measure(count)
        last = seconds[-max(1, len(seconds) // 10) :]
        values = (statistics.mean(seconds), statistics.median(seconds), statistics.mean(last))
        print(f"| {count:,} | {' | '.join(f'{1000 * value:.0f}' for value in values)} |", flush=True)
    facts = environment()
    print(f"\n{time.strftime('%Y-%m-%d')}, {facts['processors']} processors, {facts['platform']}; {facts['packages']}")


def measure(count: int) -> list[float]:
    """Return the seconds per trial of each cohort, in order."""
    from nightune.models.data.storage import open_dataset
    from nightune.models.training.checkpoint import Checkpoints
    from nightune.models.training.halted import HaltedTrainings
    from nightune.tasks.cohorts import COHORT_TRIALS
    from nightune.tasks.load_study import load_study
    from nightune.tasks.prepare_data import prepare_data
    from nightune.tasks.propose_trials import propose_trials
    from nightune.tasks.setting import Setting
    from nightune.tasks.tracking.store.store import open_store
    from nightune.tasks.tracking.sweeps.sweeps import open_sweep
    from nightune.tasks.trial.crash_log import open_crash_log
    from nightune.tasks.trial.trainer import Trainer
    from nightune.tasks.trial.trial_runner import TrialRunner
    from nightune.tuning.trial import Bracket, Rung

    study = load_study(STUDY, trials=count)
    folder = Path(tempfile.mkdtemp())
    try:
        store = open_store(folder)
        data = prepare_data.fn(study, store.root)
        setting = Setting(store, open_sweep(store, study, data.version, False, count), study, data)
        dataset = open_dataset(data.folder)
        engine = NoTraining(dataset, STUDY.parent)
        trainer = Trainer(engine, dataset, Checkpoints(engine, STUDY.parent, dataset), HaltedTrainings())
        trials = propose_trials.fn(study, 0, data, Bracket((Rung(count, study.search.epochs),)), [])
        seconds = []
        for start in range(0, count, COHORT_TRIALS):
            cohort = trials[start : start + COHORT_TRIALS]
            started_at = time.perf_counter()
            results = TrialRunner(setting, trainer, open_crash_log(store.root, study.name)).run(cohort)
            seconds.append((time.perf_counter() - started_at) / len(cohort))
            if any(result.status != "completed" for result in results):
                raise SystemExit(f"not completed: {[result.message for result in results]}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return seconds


class NoTraining(FitEngine):
    """Returns the same weights and outputs for every epoch; builds and writes the models of checkpoints as usual."""

    name = "none"

    def __init__(self, dataset: Any, folder: Path) -> None:
        super().__init__(dataset, folder)
        self._outputs = np.zeros((len(dataset.validation), dataset.output_size), np.float32)
        self._state: Any = None

    def start(self, recipe: Any, seeds: Any) -> Any:
        """Build a model for the first trial only: all have the same weights."""
        if self._state is None:
            self._state = super().start(recipe, seeds)
            self._initial = [np.array(weight) for weight in self._state.model.get_weights()]
        return self._state

    def run_epoch(self, state: Any, plan: Any) -> tuple[Any, EpochOutput]:
        """Compute nothing."""
        return state, EpochOutput(1.0, self._outputs, state.head, 0.0)

    def is_finite(self, state: Any) -> bool:
        """Return True: the weights never change."""
        return True

    def weights(self, state: Any) -> list[np.ndarray]:
        """Return copies, as an engine that trains must."""
        return [weight.copy() for weight in self._initial]


if __name__ == "__main__":
    main()
