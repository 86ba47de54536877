"""The bank of our own recorded curves (`bank.py`): tasks for `simulate_search.py`.

A search chooses among the recorded points, each once, as `nightune simulate` does (decision 117); or it trains any
point of the bank's space, which has the curve of the nearest recorded one (decision 114). Data sets of which the seeds
disagree take no part (`portfolio.py`).
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
from portfolio import LEAST_AGREEMENT, METRIC, agreement, prior, sources_of

from nightune.tasks.load_study import load_study
from nightune.tuning.recorded_curves import RecordedCurves, as_bank, nearest_point, read_recorded
from nightune.tuning.search.greedy_portfolio import choose, regrets_of
from nightune.tuning.search.prior_mean import PriorMean
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.simulator import Bank
from nightune.tuning.trial import Params, Value

FOLDER = Path(__file__).parent
FAMILY = "mlp"
MARKS = (300, 400, 800, 1600)


def read_tasks(is_table: bool, file: Path = FOLDER / "results" / "bank.npz") -> "list[Recorded]":
    """Return the data sets of dense networks on which two seeds agree; `is_table` offers the recorded points alone."""
    recorded = read_recorded(file)[FAMILY]
    space = load_study(FOLDER / f"bank_{FAMILY}.toml").space
    names = [name for name in recorded.data_sets if agreement(recorded, name) >= LEAST_AGREEMENT]
    return [Recorded(recorded, space, name, is_table) for name in names]


class Recorded:
    """One data set: its recorded curves, and the regret of a point by the mean of its losses over seeds."""

    marks, direction = MARKS, "minimize"
    structural = ("model.units",)

    def __init__(self, recorded: RecordedCurves, space: SearchSpace, name: str, is_table: bool) -> None:
        self.recorded, self.space, self.name = recorded, space, name
        self.epochs = recorded.curves.shape[-1]
        self._is_table = is_table
        self._nearest = nearest_point(recorded, space)

    def bank(self, seed: int) -> Bank:
        """Return the curves as a search with this seed measures them: each trial has one of the recorded seeds."""
        recorded = as_bank(self.recorded, self.name, self.space, METRIC, self.direction)
        count = self.recorded.curves.shape[2]

        def curve(point: Params, trial: int) -> Sequence[float]:
            return recorded.curve(point, int(np.random.default_rng([seed, trial, 17]).integers(count)))

        return replace(recorded, curve=curve, points=self.recorded.points if self._is_table else None)

    def regret(self, point: Params) -> float:
        """Return the distance of the nearest recorded point from the best one, in thousandths of the median's."""
        return float(1000 * self._regrets[self._nearest(point)])

    def portfolio(self, count: int) -> list[dict[str, Value]]:
        """Return the configurations that are chosen on the other data sets of the task."""
        sources = sources_of(self.recorded, str(self.recorded.data_sets[self.name]["task"]), self.name)
        places = choose(self.recorded.losses(sources, METRIC), count)
        return [dict(self.recorded.points[place]) for place in places]

    @cached_property
    def prior(self) -> PriorMean:
        """The recorded points with their scores on the other data sets of the task."""
        return prior(self.recorded, self.space, str(self.recorded.data_sets[self.name]["task"]), self.name)

    @cached_property
    def _regrets(self) -> np.ndarray:
        return regrets_of(self.recorded.losses([self.name], METRIC))[0]
