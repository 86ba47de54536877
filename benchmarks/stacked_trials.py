"""Trials an hour by stack size, and whether stacked trials end where single ones do. For a GPU; it runs on a CPU, too.

    KERAS_BACKEND=jax python benchmarks/stacked_trials.py [--sizes 1,4,16,64] [--trials 64] [--epochs 20]

Only training is measured, without MLflow, once compiled (a first pass is not counted), on trials of digits_mlp.toml.
"""

import argparse
import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

os.environ.setdefault("KERAS_BACKEND", "jax")  # before anything imports Keras
STUDY = Path(__file__).parent / "digits_mlp.toml"
TOLERANCE = 1e-5  # of the weights' length; GPUs add up in another order


def main() -> None:
    """Print a row for each stack size; exit with an error if a trial ends elsewhere than alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1,4,16,64")
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        engine, trainings = prepare(options.trials, options.epochs, Path(folder))
        print(f"{engine.tags['nightune.device']}, {options.trials} trials of {options.epochs} epochs\n")
        print("| stack | trials an hour | largest difference to single | peak memory, MiB |\n|---|---|---|---|")
        alone = [training(engine) for training in trainings]
        for size in map(int, options.sizes.split(",")):
            compare(engine, trainings, size, alone)


def compare(engine: Any, trainings: Sequence[Any], size: int, alone: Sequence[Any]) -> None:
    """Train all as stacks of a size, and print the row."""
    import jax

    from nightune.models.engines.compiled.side_by_side import train_side_by_side
    from nightune.models.engines.compiled.vmap_stacks import Stacks

    stacks = Stacks(size)
    train_side_by_side(engine, trainings, size, stacks.run_epochs)
    started_at = time.perf_counter()
    outcomes = train_side_by_side(engine, trainings, size, stacks.run_epochs)
    hourly = 3600 * len(outcomes) / (time.perf_counter() - started_at)
    worst = max(distance(one, other) for one, other in zip(alone, outcomes, strict=True))
    peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    memory = "unknown" if peak is None else f"{peak / 2**20:.0f}"
    print(f"| {size} (at most {stacks.largest} at once) | {hourly:,.0f} | {worst:.1e} | {memory} |", flush=True)
    if not worst <= TOLERANCE:
        raise SystemExit(f"stacked trials differ from single ones by {worst:.1e} (at most {TOLERANCE:g})")


def distance(one: Any, other: Any) -> float:
    """How far the weights of two outcomes are apart, as a share of their length."""
    first, second = (np.concatenate([weight.ravel() for weight in outcome.weights]) for outcome in (one, other))
    return float(np.linalg.norm(first - second) / np.linalg.norm(first))


def prepare(count: int, epochs: int, folder: Path) -> tuple[Any, list[Any]]:
    """Return the engine, and each trial's training as a function of an engine, in the order of cohorts."""
    from nightune.models.backend import load_keras
    from nightune.models.data.storage import open_dataset
    from nightune.models.engines.make import make_engine
    from nightune.models.recipe.params import read_recipe
    from nightune.models.training.loop import train
    from nightune.tasks.cohorts import cohorts
    from nightune.tasks.load_study import load_study
    from nightune.tasks.prepare_data import prepare_data
    from nightune.tasks.propose_trials import propose_trials
    from nightune.tuning.trial import Bracket, Rung

    load_keras()
    study = load_study(STUDY, trials=count)
    data = prepare_data.fn(study, folder)
    dataset = open_dataset(data.folder)
    trials = propose_trials.fn(study, 0, data, Bracket((Rung(count, study.search.epochs),)), [])
    ordered = [trial for cohort in cohorts(trials, STUDY.parent) for trial in cohort]

    def training(trial: Any, engine: Any) -> Any:
        recipe, monitor = read_recipe(trial.params), study.objective.metric
        return train(engine, recipe, dataset, epochs=epochs, seed=trial.seed, monitor=monitor, direction="minimize")

    return make_engine("jax", dataset, STUDY.parent), [partial(training, trial) for trial in ordered]


if __name__ == "__main__":
    main()
