"""Recorded curves of a bank (benchmarks/bank.py), and as a bank that the simulator can replay searches on."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nightune.tuning.search.encoding import Encoding
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.simulator import Bank
from nightune.tuning.trial import Params
from nightune.vocabulary import sign_of, unknown_name


@dataclass(frozen=True, eq=False)
class RecordedCurves:
    """The curves of one family of networks: the same points on each of its data sets.

    `curves` are (data sets, points, seeds, metrics, epochs) and `seconds` (data sets, points, seeds), NaN after a
    divergence or for a failure. `data_sets` says of each its task, its metrics, its licence and what was done with it.
    """

    points: tuple[Params, ...]
    data_sets: Mapping[str, Mapping[str, Any]]
    curves: np.ndarray
    seconds: np.ndarray

    def of(self, data_set: str, metric: str) -> np.ndarray:
        """Return the curves (points, seeds, epochs) of a metric on a data set; ValueError if there is none."""
        if data_set not in self.data_sets:
            raise ValueError(unknown_name(data_set, self.data_sets, "data set"))
        metrics: Sequence[str] = self.data_sets[data_set]["metrics"]
        if metric not in metrics:
            raise ValueError(unknown_name(metric, metrics, "metric"))
        curves: np.ndarray = self.curves[list(self.data_sets).index(data_set), :, :, metrics.index(metric)]
        return curves.astype(np.float64)

    def losses(self, data_sets: Sequence[str], metric: str, direction: str = "minimize") -> np.ndarray:
        """Return the metric of each training's best epoch, (data sets, points, seeds), lower is better; NaN if none."""
        signed = np.stack([sign_of(direction) * self.of(name, metric) for name in data_sets])
        best = np.where(np.isfinite(signed), signed, np.inf).min(axis=-1)
        return np.where(np.isfinite(best), best, np.nan)


def read_recorded(file: Path) -> dict[str, RecordedCurves]:
    """Read a bank's file: its curves by family. Errors of NumPy and JSON are raised as usual."""
    with np.load(file) as arrays:
        families: Mapping[str, Any] = json.loads(arrays["manifest"].tobytes())["families"]
        return {
            name: RecordedCurves(
                tuple(family["points"]), family["data_sets"], arrays[f"{name}.curves"], arrays[f"{name}.seconds"]
            )
            for name, family in families.items()
        }


def as_bank(recorded: RecordedCurves, data_set: str, space: SearchSpace, metric: str, direction: str) -> Bank:
    """Return a bank for the simulator, in which any point has the curve of the nearest recorded one.

    Nearest in the encoding of the space that models of the objective use. A trial has the seed of its number, so that
    two trials of one point differ by what seeds differ. A search finds at best the best recorded point, and a model
    sees steps where the objective is smooth: differences between methods are smaller than on the data set itself.
    """
    nearest, curves = nearest_point(recorded, space), recorded.of(data_set, metric)

    def curve(point: Params, trial: int) -> Sequence[float]:
        found: list[float] = curves[nearest(point), trial % curves.shape[1]].tolist()
        return found

    return Bank(space, direction, curve)


def nearest_point(recorded: RecordedCurves, space: SearchSpace) -> Callable[[Params], int]:
    """Return a function from a point of the space to the place of the nearest recorded one."""
    encoding = Encoding(space)
    places = encoding(recorded.points)
    return lambda point: int(np.square(places - encoding([point])).sum(axis=1).argmin())
