"""Measure the memory that trials leave behind: the resident size of a process after 20 trials and after many.

    python benchmarks/memory.py [--trials 300] [--engine tensorflow]

The trials are those of trials_per_hour.py with one epoch each, trained and logged as in a cohort.
Prints the peak resident size regularly, with its ratio to that after 20 trials, and the growth per trial since then.
"""

import argparse
import os
import resource
import tempfile
from pathlib import Path

STUDY = Path(__file__).parent / "digits_mlp.toml"
FIRST = 20
STEP = 20


def main() -> None:
    """Train, and print the peak after each step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--engine", default="tensorflow", choices=("fit", "tensorflow", "jax"))
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "jax" if options.engine == "jax" else "tensorflow"
    print("| trials | peak MiB | ratio to 20 trials | MiB per trial since 20 |\n|---|---|---|---|")
    peaks: dict[int, float] = {}
    for done in train(options.engine, options.trials, options.epochs):
        peaks[done] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        growth = (peaks[done] - peaks[FIRST]) / max(1, done - FIRST)
        print(f"| {done} | {peaks[done]:.0f} | {peaks[done] / peaks[FIRST]:.3f} | {growth:.3f} |", flush=True)


def train(engine: str, count: int, epochs: int):  # type: ignore[no-untyped-def] # the numbers of trials done
    """Train cohorts of the study's trials; yield the number of trials done after each step."""
    from nightune.models.backend import load_keras
    from nightune.tasks.load_study import load_study
    from nightune.tasks.prepare_data import prepare_data
    from nightune.tasks.propose_trials import propose_trials
    from nightune.tasks.setting import Setting
    from nightune.tasks.tracking.store.store import open_store
    from nightune.tasks.tracking.sweeps.sweeps import open_sweep
    from nightune.tasks.trial.crash_log import open_crash_log
    from nightune.tasks.trial.trainer import accumulates_blocks, make_trainer
    from nightune.tasks.trial.trial_runner import TrialRunner
    from nightune.tuning.trial import Bracket, Rung

    load_keras()
    study = load_study(STUDY, trials=count, epochs=epochs)
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder))
        data = prepare_data.fn(study, store.root)
        setting = Setting(store, open_sweep(store, study, data.version, False, count), study, data)
        trials = propose_trials.fn(study, 0, data, Bracket((Rung(count, study.search.epochs),)), [])
        trainer = make_trainer(engine, data, study, store.compiled, accumulates_blocks(engine, data, study))
        for start in range(0, count, STEP):
            TrialRunner(setting, trainer, open_crash_log(store.root, study.name)).run(trials[start : start + STEP])
            yield min(count, start + STEP)


if __name__ == "__main__":
    main()
