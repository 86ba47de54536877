"""Measure the whole command `nightune tune STUDY` against a script with a naive loop: start-up and imports included.

    python benchmarks/whole_command.py [--model studies/digits] [--trials 24,200] [--repeat 1]
        [--backend tensorflow,jax] [--engine auto,fit] [--nights 1,2] [--naive-trials 24]

Both train the same space with the same early stopping and log the same to MLflow, each in a new process. The first
night begins with a new store, the second with `--fresh` in that store. Ratios are to the naive loop of the same turn.
With `--naive-trials` the loop trains so many trials at most, and the time of its loop, not of its imports, is scaled to
all trials; 0 leaves it out. Each measurement is saved in `--results` immediately: run the same command to resume.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from first_result import COMMAND, machine
from report import measurements
from trials_per_hour import FOLDER, GRIDS, STUDIES

NAIVE = "naive loop"
NIGHTS = {1: "first night", 2: "second night"}


def main() -> None:
    """Measure what is missing, and print a table per study and number of trials: medians over the turns."""
    options = _options()
    asked = [
        (model, trials)
        for model in options.model.split(",")
        for trials in dict.fromkeys(GRIDS.get(model, int(each)) for each in options.trials.split(","))
    ]
    for turn in range(options.repeat):
        for model, trials in asked:
            _measure_naive(options, {"turn": turn, "model": model}, trials)
            for backend in options.backend.split(","):
                for engine in options.engine.split(","):
                    _measure_nights(options, {"turn": turn, "model": model, "trials": trials}, backend, engine)
    for model, trials in asked:
        print("\n".join(table(measurements(options.results), model, trials)), end="\n\n", flush=True)
    print(machine())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="studies/digits", help=", ".join(STUDIES))
    parser.add_argument("--trials", default="24")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--backend", default="tensorflow,jax")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--nights", default="1,2", choices=("1", "1,2"))
    parser.add_argument("--naive-trials", type=int, default=1_000_000)
    parser.add_argument("--results", type=Path, default=FOLDER / "results" / "whole_command.jsonl")
    return parser.parse_args()


def _measure_naive(options: argparse.Namespace, key: dict[str, Any], trials: int) -> None:
    """Run the script with the naive loop once for all numbers of trials."""
    count = min(trials, options.naive_trials)
    key = key | {"command": NAIVE, "trials": count}
    if count == 0 or _is_known(options.results, key):
        return
    script = [sys.executable, str(FOLDER / "trials_per_hour.py"), "--contender", "naive", "--model", key["model"]]
    with tempfile.TemporaryDirectory() as folder:
        seconds, processor, output = _run([*script, "--trials", str(count), "--store", f"{folder}/naive"], {})
    _save(options.results, key, seconds, processor, {"loop": json.loads(output.strip().splitlines()[-1])["seconds"]})


def _measure_nights(options: argparse.Namespace, key: dict[str, Any], backend: str, engine: str) -> None:
    """Run the nights of a store, if the last of them is not known."""
    engine_said = "" if engine == "auto" else f", {engine}"
    nights = [int(night) for night in options.nights.split(",")]
    keys = [key | {"command": f"nightune tune, {backend}{engine_said}, {NIGHTS[night]}"} for night in nights]
    if _is_known(options.results, keys[-1]):
        return
    tune = [sys.executable, "-c", COMMAND, "tune", str(FOLDER / STUDIES[key["model"]]), "--engine", engine]
    tune += [] if key["model"] in GRIDS else ["--trials", str(key["trials"])]
    with tempfile.TemporaryDirectory() as folder:
        settings = {"KERAS_BACKEND": backend, "NIGHTUNE_STORE": folder}
        for night, each in zip(nights, keys, strict=True):
            seconds, processor, _ = _run([*tune, *(["--fresh"] if night > 1 else [])], settings)
            _save(options.results, each, seconds, processor, {})


def _is_known(file: Path, key: dict[str, Any]) -> bool:
    return any(key.items() <= known.items() for known in measurements(file))


def _save(file: Path, key: dict[str, Any], seconds: float, processor: float, more: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    taken = {"seconds": seconds, "processor": processor, **more, "machine": machine()}
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(key | taken) + "\n")
    print(f"turn {key['turn'] + 1} · {key['model']} · {key['command']} · {seconds:.1f} s", file=sys.stderr)


def table(known: Sequence[dict[str, Any]], model: str, trials: int) -> Iterator[str]:
    """Yield the lines of a table: medians over the turns of seconds, of processor seconds and of ratios in a turn."""
    mine = [each for each in known if each["model"] == model]
    measured = sorted((each for each in mine if each["command"] == NAIVE), key=lambda each: each["trials"] == trials)
    loops = {each["turn"]: each for each in measured}  # one of so many trials if there is one
    naive = {turn: _scaled(each, trials) for turn, each in loops.items()}
    rows = [each for each in mine if each["trials"] == trials and each["command"] != NAIVE]
    yield f"{model}, {trials} trials, the whole command:\n"
    yield "| command | seconds | processor | speedup over naive | turns |\n|---|---|---|---|---|"
    if naive:
        others = {each["trials"] for each in loops.values()} - {trials}
        scaled = f" (scaled from {max(others)} trials)" if others else ""
        yield f"| {NAIVE}{scaled} | {statistics.median(naive.values()):.1f} | – | 1.0 | {len(naive)} |"
    for command in dict.fromkeys(each["command"] for each in rows):
        turns = [each for each in rows if each["command"] == command]
        seconds, processor = (statistics.median(each[name] for each in turns) for name in ("seconds", "processor"))
        ratios = [naive[each["turn"]] / each["seconds"] for each in turns if each["turn"] in naive]
        ratio = f"{statistics.median(ratios):.1f}" if ratios else "–"
        yield f"| {command} | {seconds:.1f} | {processor:.1f} | {ratio} | {len(turns)} |"


def _scaled(naive: dict[str, Any], trials: int) -> float:
    """Return the seconds of the script for another number of trials: only its loop grows."""
    return float(naive["seconds"] + naive["loop"] * (trials / naive["trials"] - 1.0))


def _run(command: list[str], settings: dict[str, str]) -> tuple[float, float, str]:
    """Return the seconds of a command, its processor seconds with its children, and its standard output."""
    paths = os.pathsep.join([str(FOLDER.parent), str(FOLDER), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": paths} | settings
    started_at, before = time.perf_counter(), _processor_seconds()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.perf_counter() - started_at, _processor_seconds() - before, done.stdout


def _processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
