"""Compare search methods on recorded learning curves, without training: python benchmarks/simulate_search.py FOLDER.

FOLDER holds the LCBench surrogate of YAHPO Gym (Pfisterer et al. 2022; Zimmer, Lindauer, Hutter 2021): model.onnx,
encoding.json and config_space.json. It gives the validation accuracy by epoch, up to 50, of any configuration of a
dense network on 34 data sets. Measured is the regret of the trial that leads after 200, 400, 800 and 1600 epochs of
training, in thousandths: 0 is the best configuration known, 1000 the median of random ones. Objectives have noise of a
tenth of that distance by trial, as between training seeds, and half of it by epoch. Needs onnxruntime.
"""

import argparse
import json
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np

from nightune.tuning.search.domains import Range
from nightune.tuning.search.search_space import Dimension, SearchSpace
from nightune.tuning.simulator import Bank, leaders, simulate
from nightune.tuning.study.budgets import brackets, largest_cost_epochs
from nightune.tuning.study.search_section import SearchSection
from nightune.tuning.trial import Params

EPOCHS = 50
MEASURED = np.array([1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 21, 25, 30, 35, 40, 45, 50])  # epochs of validation
MARKS = (200, 400, 800, 1600)
NOISE = 0.1  # of a trial, in distances from best to median; half of it of an epoch
FEATURES = ("batch_size", "learning_rate", "momentum", "weight_decay", "num_layers", "max_units", "max_dropout")
METHODS: dict[str, dict[str, object]] = {
    "random": {"method": "random", "trials": 64},
    "successive_halving": {"method": "successive_halving"},  # with as many trials as the epochs allow
    "hyperband": {"method": "hyperband"},
    "rounds at random": {"method": "successive_halving", "trials": 16},
    "gp": {"method": "gp", "trials": 64},
    "gp with rungs": {"method": "gp", "trials": 256, "smallest_epochs": 3},
}


class Surrogate:
    """The recorded tasks: the accuracy by epoch of configurations."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(folder / "model.onnx", options)
        self.codes = json.loads((folder / "encoding.json").read_text())["OpenML_task_id"]
        space = json.loads((folder / "config_space.json").read_text())["hyperparameters"]
        self.tasks = next(each["choices"] for each in space if each["name"] == "OpenML_task_id")
        ranges = {each["name"]: each for each in space if each["name"] in FEATURES}
        self.space = SearchSpace(tuple(Dimension(name, _range(ranges[name])) for name in FEATURES))

    def accuracy(self, task: str, points: list[Params], epochs: np.ndarray) -> np.ndarray:
        """Return the accuracies, (points, epochs)."""
        numbers = np.array([[float(str(point[name])) for name in FEATURES] for point in points])
        rows = np.hstack([np.tile(epochs, len(points))[:, None], np.repeat(numbers, len(epochs), axis=0)])
        code = np.full((len(rows), 1), self.codes[task], np.int32)
        (found,) = self.session.run(None, {"x_cat": code, "x_cont": rows.astype(np.float32)})
        return np.asarray(found)[:, 1].reshape(len(points), len(epochs))


def _range(described: dict[str, object]) -> Range:
    is_whole, is_log = described["type"] == "uniform_int", bool(described["log"])
    low, high = (float(f"{described[end]:.6g}") for end in ("lower", "upper"))
    ends = (int(low), int(high)) if is_whole else (low, high)
    return Range(*ends, "log" if is_log else "linear", is_whole)


class Task:
    """One data set: its curves with noise, and the regret of a configuration."""

    def __init__(self, surrogate: Surrogate, name: str) -> None:
        self.surrogate, self.name = surrogate, name
        self.best, self.median = self._ends()

    def bank(self, seed: int) -> Bank:
        """Return the curves as a search with this seed measures them."""
        deviation = NOISE * (self.best - self.median)

        def curve(point: Params, trial: int) -> list[float]:
            generator = np.random.default_rng([seed, trial, 17])
            noise = deviation * (generator.standard_normal() + 0.5 * generator.standard_normal(len(MEASURED)))
            values = np.full(EPOCHS, np.nan)
            values[MEASURED - 1] = self.surrogate.accuracy(self.name, [point], MEASURED)[0] + noise
            return values.tolist()

        return Bank(self.surrogate.space, "maximize", curve)

    def regret(self, point: Params) -> float:
        """Return the distance of a configuration's true best epoch from the best known, in thousandths."""
        reached = self.surrogate.accuracy(self.name, [point], MEASURED).max()
        return float(1000 * (self.best - reached) / (self.best - self.median))

    def _ends(self) -> tuple[float, float]:
        """Return the best accuracy known, from 4,000 random configurations and a local search, and their median."""
        generator, space = np.random.default_rng(1), self.surrogate.space
        names = list(space.by_name)
        units = generator.random((4000, len(names)))
        reached = self._reached(units)
        best, median = units[np.argsort(-reached)[:20]], float(np.median(reached))
        for width in (0.15, 0.08, 0.04, 0.02):
            moved = np.repeat(best, 25, axis=0)
            moved = np.clip(moved + width * generator.standard_normal(moved.shape), 0, 1 - 1e-9)
            both = np.vstack([best, moved])
            best = both[np.argsort(-self._reached(both))[:20]]
        return float(self._reached(best).max()), median

    def _reached(self, units: np.ndarray) -> np.ndarray:
        names = list(self.surrogate.space.by_name)
        points = [self.surrogate.space.at(dict(zip(names, row, strict=True))) for row in units]
        return self.surrogate.accuracy(self.name, points, MEASURED[[5, 8, 11, 13, 15, 17]]).max(axis=1)


def search_of(method: str, epochs: int, space: SearchSpace) -> SearchSection:
    """Return a method's section; one that is sized for its budget gets as many trials as these epochs allow."""
    settings = {"epochs": EPOCHS, **METHODS[method]}
    if method == "successive_halving":
        sizes = (SearchSection.model_validate({**settings, "trials": trials}) for trials in count(2))
        fitting: list[SearchSection] = []
        for section in sizes:
            if largest_cost_epochs(brackets(section, space)) > epochs:
                return fitting[-1]
            fitting.append(section)
    return SearchSection.model_validate(settings)


def regrets(method: str, task: Task, seed: int) -> Iterator[float]:
    """Yield the regret after each number of epochs."""
    bank, space = task.bank(seed), task.surrogate.space
    is_sized = method == "successive_halving"
    for marks in [(mark,) for mark in MARKS] if is_sized else [MARKS]:
        search = search_of(method, marks[-1], space)
        for leader in leaders(simulate(search, bank, seed), marks, "maximize"):
            yield float("nan") if leader is None else task.regret(leader.point)


def main() -> None:
    """Measure the methods and print a table; each measurement is appended to a file, from which a run resumes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results/simulate_search.jsonl"))
    arguments = parser.parse_args()
    methods = arguments.methods.split(",")
    lines = arguments.results.read_text().splitlines() if arguments.results.exists() else []
    done = {(row["method"], row["task"], row["seed"]): row for row in map(json.loads, lines)}
    surrogate = Surrogate(arguments.folder)
    with arguments.results.open("a") as results:
        for name in surrogate.tasks:
            missing = [
                (method, seed)
                for method in methods
                for seed in range(arguments.seeds)
                if (method, name, seed) not in done
            ]
            task = Task(surrogate, name) if missing else None
            for method, seed in missing:
                assert task is not None
                started = time.process_time()
                found = [round(each, 1) for each in regrets(method, task, seed)]
                row = {"method": method, "task": name, "seed": seed, "regret": found}
                row["seconds"] = round(time.process_time() - started, 2)
                done[(method, name, seed)] = row
                print(json.dumps(row), file=results, flush=True)
    print("| regret after epochs, mean (median) | " + " | ".join(map(str, MARKS)) + " |\n|---|" + "---|" * len(MARKS))
    for method in methods:
        rows = [done[(method, name, seed)]["regret"] for name in surrogate.tasks for seed in range(arguments.seeds)]
        cells = [
            f"{mean:.0f} ({median:.0f})" for mean, median in zip(np.mean(rows, 0), np.median(rows, 0), strict=True)
        ]
        print(f"| {method} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
