"""Count the programs of a sweep and what compiling them costs, in one engine and one process.

    KERAS_BACKEND=jax python benchmarks/programs.py [--study digits_customary.toml] [--trials 40]

The trials are trained twice: the first pass traces and compiles, the second only computes. The difference in processor
time is what compiling costs; processor time depends less than wall time on what else the machine does. Programs are
counted by graph key, by the engine's own count, and by the functions that the backend compiled.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def main() -> None:
    """Train the trials twice and print a row of the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", default="digits_customary.toml")
    parser.add_argument("--trials", type=int, default=40)
    options = parser.parse_args()
    engine, trainings, keys = prepare(FOLDER / options.study, options.trials)
    cold, warm = (_processor_seconds(trainings) for _ in range(2))
    print("| engine | trials | graph keys | programs | compiled functions | compiling, s | a trial once compiled, s |")
    print("|---|---|---|---|---|---|---|")
    counts = f"{len(trainings)} | {keys} | {engine.programs} | {compiled_functions(engine)}"
    print(f"| {engine.name} | {counts} | {cold - warm:.1f} | {warm / len(trainings):.3f} |")


def prepare(study_file: Path, count: int) -> tuple[Any, list[Any], int]:
    """Return the backend's compiled engine, a function for each trial in the order of training, and the graph keys."""
    from functools import partial

    from nightune.models.data.storage import open_dataset
    from nightune.models.engines.make import make_engine
    from nightune.models.recipe.params import read_recipe
    from nightune.models.training.engine import COMPILED_ENGINES
    from nightune.models.training.loop import train
    from nightune.tasks.cohorts import training_order
    from nightune.tasks.load_study import load_study
    from nightune.tasks.prepare_data import prepare_data
    from nightune.tasks.propose_trials import propose_trials
    from nightune.tuning.trial import Bracket, Rung

    study = load_study(study_file, trials=count)
    data = prepare_data.fn(study, Path(tempfile.mkdtemp()))
    place = training_order(study_file.parent)
    bracket = Bracket((Rung(count, study.search.epochs),))
    trials = sorted(propose_trials.fn(study, 0, data, bracket, []), key=place)
    dataset = open_dataset(data.folder)
    engine = make_engine(COMPILED_ENGINES[os.environ.get("KERAS_BACKEND", "tensorflow")], dataset, study_file.parent)
    how = {"epochs": study.search.epochs, "monitor": "val_loss", "direction": "minimize"}
    trainings = [partial(train, engine, read_recipe(each.params), dataset, seed=each.number, **how) for each in trials]
    return engine, trainings, len({place(each).graph_key for each in trials})


def compiled_functions(engine: Any) -> int:
    """Return how many functions the backend compiled: a program has one for each size of its blocks."""
    programs = engine._programs.values()
    if engine.name == "jax":
        return sum(
            each._cache_size() for program in programs for each in (program._train, program._step, program._predict)
        )
    return sum(each.experimental_get_tracing_count() for program in programs for each in program._train.values())


def _processor_seconds(trainings: list[Any]) -> float:
    started_at = time.process_time()
    for training in trainings:
        training()
    return time.process_time() - started_at


if __name__ == "__main__":
    main()
