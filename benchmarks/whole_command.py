"""Measure the whole command `nightune tune STUDY` against a script with a naive loop: start-up and imports included.

    python benchmarks/whole_command.py [--model studies/digits] [--trials 24] [--repeat 1] [--backend tensorflow,jax]

Both train the same space with the same early stopping and log the same to MLflow, each in a new process. The first
night begins with a new store, the second with `--fresh` in that store. Ratios are to the naive loop of the same turn.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

from first_result import COMMAND, machine
from trials_per_hour import FOLDER, GRIDS, STUDIES


def main() -> None:
    """Print a table per study: medians over the turns of seconds and of ratios in a turn."""
    options = _options()
    for model in options.model.split(","):
        turns = [_one_turn(model, options.trials, options.backend.split(",")) for _ in range(options.repeat)]
        print(f"{model}, {GRIDS.get(model, options.trials)} trials, the whole command:\n")
        print("| command | seconds | speedup over naive | turns |\n|---|---|---|---|")
        for name in turns[0]:
            seconds = statistics.median(turn[name] for turn in turns)
            ratio = statistics.median(turn["naive loop"] / turn[name] for turn in turns)
            print(f"| {name} | {seconds:.1f} | {ratio:.1f} | {len(turns)} |")
        print(flush=True)
    print(machine())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="studies/digits", help=", ".join(STUDIES))
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--backend", default="tensorflow,jax")
    return parser.parse_args()


def _one_turn(model: str, trials: int, backends: list[str]) -> dict[str, float]:
    """Return the seconds of each command, run one after the other."""
    script = [sys.executable, str(FOLDER / "trials_per_hour.py"), "--contender", "naive", "--model", model]
    tune = [sys.executable, "-c", COMMAND, "tune", str(FOLDER / STUDIES[model])]
    tune += [] if model in GRIDS else ["--trials", str(trials)]
    number = str(GRIDS.get(model, trials))
    with tempfile.TemporaryDirectory() as folder:
        seconds = {"naive loop": _seconds([*script, "--trials", number, "--store", f"{folder}/naive"], {})}
        for backend in backends:
            settings = {"KERAS_BACKEND": backend, "NIGHTUNE_STORE": f"{folder}/{backend}"}
            seconds[f"nightune tune, {backend}, first night"] = _seconds(tune, settings)
            seconds[f"nightune tune, {backend}, second night"] = _seconds([*tune, "--fresh"], settings)
    return seconds


def _seconds(command: list[str], settings: dict[str, str]) -> float:
    paths = os.pathsep.join([str(FOLDER.parent), str(FOLDER), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": paths} | settings
    started_at = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.perf_counter() - started_at


if __name__ == "__main__":
    main()
