"""The learning curves of LCBench, by the surrogate of YAHPO Gym: tasks for `simulate_search.py`.

The folder holds model.onnx, encoding.json and config_space.json (Pfisterer et al. 2022; Zimmer, Lindauer, Hutter 2021).
It gives the validation accuracy by epoch, up to 50, of any configuration of a dense network on 34 data sets. Needs
onnxruntime.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from nightune.tuning.search.domains import Range
from nightune.tuning.search.greedy_portfolio import choose
from nightune.tuning.search.prior_mean import PriorMean
from nightune.tuning.search.recorded_scores import mean_scores
from nightune.tuning.search.search_space import Dimension, SearchSpace
from nightune.tuning.simulator import Bank
from nightune.tuning.trial import Params, Value

EPOCHS = 50
MARKS = (200, 400, 800, 1600)
MEASURED = np.array([1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 21, 25, 30, 35, 40, 45, 50])  # epochs of validation
COARSE = MEASURED[[5, 8, 11, 13, 15, 17]]
NOISE = 0.1  # of a trial, in distances from best to median; half of it of an epoch
POOL = 4000  # random configurations, the same for all tasks
SCORED = 400  # of them, whose scores on the other tasks are the prior mean of a search, as many as the shipped ones
FEATURES = ("batch_size", "learning_rate", "momentum", "weight_decay", "num_layers", "max_units", "max_dropout")


def read_tasks(folder: Path) -> "list[Task]":
    """Return the tasks of a folder."""
    surrogate = Surrogate(folder)
    tasks = [Task(surrogate, name) for name in surrogate.tasks]
    for each in tasks:
        each.others = [other for other in tasks if other is not each]
    return tasks


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

    @cached_property
    def pool(self) -> list[Params]:
        """Random configurations."""
        names = list(self.space.by_name)
        return [self.space.at(dict(zip(names, row, strict=True))) for row in _pool_units(len(names))]

    def accuracy(self, task: str, points: list[Params], epochs: np.ndarray) -> np.ndarray:
        """Return the accuracies, (points, epochs)."""
        numbers = np.array([[float(str(point[name])) for name in FEATURES] for point in points])
        rows = np.hstack([np.tile(epochs, len(points))[:, None], np.repeat(numbers, len(epochs), axis=0)])
        code = np.full((len(rows), 1), self.codes[task], np.int32)
        (found,) = self.session.run(None, {"x_cat": code, "x_cont": rows.astype(np.float32)})
        return np.asarray(found)[:, 1].reshape(len(points), len(epochs))


def _pool_units(columns: int) -> np.ndarray:
    return np.random.default_rng(1).random((POOL, columns))


def _range(described: dict[str, object]) -> Range:
    is_whole, is_log = described["type"] == "uniform_int", bool(described["log"])
    low, high = (float(f"{described[end]:.6g}") for end in ("lower", "upper"))
    ends = (int(low), int(high)) if is_whole else (low, high)
    return Range(*ends, "log" if is_log else "linear", is_whole)


class Task:
    """One data set: its curves with noise, and the regret of a configuration."""

    epochs, marks, direction = EPOCHS, MARKS, "maximize"
    structural = ("num_layers", "max_units")

    def __init__(self, surrogate: Surrogate, name: str) -> None:
        self.surrogate, self.name = surrogate, name
        self.others: Sequence[Task] = ()

    @property
    def space(self) -> SearchSpace:
        """The search space, that of all tasks."""
        return self.surrogate.space

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

    def portfolio(self, count: int) -> list[dict[str, Value]]:
        """Return the configurations that are best on the other tasks, chosen greedily."""
        chosen = choose(-np.stack([each.pool_reached for each in self.others])[:, :, None], count)
        return [dict(self.surrogate.pool[place]) for place in chosen]

    @cached_property
    def prior(self) -> PriorMean:
        """The first configurations of the pool with their scores on the other tasks."""
        losses = -np.stack([each.pool_reached for each in self.others])[:, :SCORED, None]
        return PriorMean(self.space, self.surrogate.pool[:SCORED], mean_scores(losses))

    @cached_property
    def pool_reached(self) -> np.ndarray:
        """The accuracies of the pool's configurations."""
        return self.surrogate.accuracy(self.name, self.surrogate.pool, COARSE).max(axis=1)

    @property
    def best(self) -> float:
        """The best accuracy known."""
        return self._ends[0]

    @property
    def median(self) -> float:
        """The median accuracy of the pool."""
        return self._ends[1]

    @cached_property
    def _ends(self) -> tuple[float, float]:
        """Return the best accuracy known, from the pool and a local search, and the pool's median."""
        generator = np.random.default_rng(1)
        units, reached = generator.random((POOL, len(self.space.by_name))), self.pool_reached  # those of the pool
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
        return self.surrogate.accuracy(self.name, points, COARSE).max(axis=1)
