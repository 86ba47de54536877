"""Compare search methods on the trials of sweeps: what each would have found among them, after how many epochs."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from statistics import fmean, stdev

import numpy as np

from nightune.tuning.analysis.quantiles import student_quantile
from nightune.tuning.search.encoding import Encoding
from nightune.tuning.search.portfolio import Fitted
from nightune.tuning.search.prior_mean import PriorMean
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.search.structures import Structure
from nightune.tuning.simulator import Bank, Leader, Training, leaders, simulate
from nightune.tuning.study.budgets import ROUND, brackets, largest_cost_epochs
from nightune.tuning.study.full_trainings import with_possible_rungs
from nightune.tuning.study.search_section import SearchSection
from nightune.tuning.trial import Params
from nightune.vocabulary import sign_of

CONFIDENCE = 0.95
FEWEST = 2 * ROUND  # recorded trials, below which a model has no round to propose that is not all that is left
DRAWN_WEIGHT = 1e-6  # of a param that is drawn, in the distance to a recorded point
FIRST_RUNG, RUNGS = 3, 2  # epochs of the first rung, and how many times as long the second trains
# By name: the keys of [search], beside `epochs`, and whether the method has rungs.
METHODS: dict[str, tuple[dict[str, object], bool]] = {
    "random": ({"method": "random"}, False),
    "gp": ({"method": "gp"}, False),
    "tpe": ({"method": "tpe"}, False),
    "successive_halving": ({"method": "successive_halving"}, True),
    "hyperband": ({"method": "hyperband"}, True),
    "auto": ({"method": "auto"}, False),  # without rungs if the epochs do not suffice
    "auto_drawn": ({"method": "auto", "start": "none"}, False),
    "gp_rungs": ({"method": "gp", "smallest_epochs": FIRST_RUNG}, True),
}


@dataclass(frozen=True, slots=True)
class Recording:
    """A finished trial: its point, its objective by epoch, and the seconds of its training.

    `is_whole` is False if it was stopped, dropped or failed before its last epoch: what would have followed is unknown.
    `is_dropped` if its search dropped it at a rung, where another method may have trained it on.
    """

    point: Params
    curve: tuple[float, ...]
    seconds: float
    is_whole: bool
    is_dropped: bool = False


@dataclass(frozen=True, eq=False)
class Start:
    """What begins a search with the portfolio: its configurations, by seed, and what the search's model expects."""

    configurations: Callable[[int], Sequence[Fitted]]
    prior: PriorMean | None = None


@dataclass(frozen=True)
class Pool:
    """The recorded trials of sweeps of one space, objective, data and number of epochs.

    Left out are `continuations` of other trials, and trials whose point is `outside` the space. `structure` tells which
    points share a program. A method that begins with the portfolio has `start`, or draws without it. With `needs_all`
    `auto` trains all trials in full, as the study asks.
    """

    space: SearchSpace
    direction: str
    epochs: int
    recordings: tuple[Recording, ...]
    continuations: int = 0
    outside: int = 0
    structure: Structure | None = None
    start: Start | None = None
    needs_all: bool = False

    @cached_property
    def by_point(self) -> dict[str, list[Recording]]:
        """The recordings of each point: several, if it was trained with several seeds."""
        found: dict[str, list[Recording]] = {}
        for each in self.recordings:
            found.setdefault(json.dumps(each.point, sort_keys=True), []).append(each)
        return found

    def of(self, point: Params, trial: int) -> Recording:
        """Return the recording of a point that a trial of this number has."""
        several = self.by_point[json.dumps(point, sort_keys=True)]
        return several[trial % len(several)]

    @property
    def bank(self) -> Bank:
        """The recorded curves, of which a search chooses."""
        points = tuple(each[0].point for each in self.by_point.values())
        return Bank(
            self.space, self.direction, lambda point, trial: self.of(point, trial).curve, points, self.structure
        )

    def objective(self, point: Params) -> float:
        """Return the mean of the best epochs of a point's recordings; NaN if none is finite."""
        sign = sign_of(self.direction)
        several = self.by_point[json.dumps(point, sort_keys=True)]
        finite = [[sign * value for value in each.curve if math.isfinite(value)] for each in several]
        best = [min(values) for values in finite if values]
        return sign * fmean(best) if best else math.nan

    @property
    def best(self) -> float:
        """The best objective of a recorded point; NaN if none is finite."""
        sign = sign_of(self.direction)
        found = (sign * self.objective(several[0].point) for several in self.by_point.values())
        return sign * min((value for value in found if math.isfinite(value)), default=math.nan)

    def nearest(self, configurations: Sequence[Fitted]) -> list[Params]:
        """Return the recorded point nearest to each configuration, none twice; fewer if no more are recorded.

        A param that the configuration draws, for want of a value, decides only between points that are equally near.
        """
        (encode, places), recorded = self._encoded, [each[0].point for each in self.by_point.values()]
        parts = [part.dimension.name for part in encode.parts]
        found: list[int] = []
        for each in configurations[: len(recorded)]:
            weights = np.array([DRAWN_WEIGHT if name in each.drawn else 1.0 for name in parts])[encode.groups]
            away = np.square(places - encode([each.point])) @ weights
            away[found] = np.inf
            found.append(int(away.argmin()))
        return [recorded[place] for place in found]

    @cached_property
    def _encoded(self) -> tuple[Encoding, np.ndarray]:
        encode = Encoding(self.space)
        return encode, encode([each[0].point for each in self.by_point.values()])

    @property
    def trained_epochs(self) -> int:
        """The epochs of all recordings."""
        return sum(len(each.curve) for each in self.recordings)


@dataclass(frozen=True, slots=True)
class Mark:
    """What a method has reached after a number of epochs, over seeds: the mean, and the interval of that mean.

    `regret` is the distance of its leader from the best recorded trial, in the unit of the objective, 0 or more; NaN if
    no objective was finite. `seconds` are those that the recorded trainings took, `hits` the share of the seeds that
    found the best.
    """

    epochs: int
    regret: float
    low: float
    high: float
    seconds: float
    hits: float


def compare(pool: Pool, method: str, epochs: Sequence[int], seeds: int) -> list[Mark]:
    """Replay a method on the pool with the seeds 0 to `seeds` − 1; fewer marks if its trials have no more epochs.

    A method whose size depends on its budget is replayed once for each number of epochs.
    """
    sized = method == "successive_halving"
    runs = [
        [
            found
            for marks in ([(mark,) for mark in epochs] if sized else [tuple(epochs)])
            for found in _run(pool, method, marks, seed)
        ]
        for seed in range(seeds)
    ]
    reached = min(map(len, runs), default=0)
    return [_mark(pool, epochs[place], [run[place] for run in runs]) for place in range(reached)]


def default_epochs(pool: Pool) -> list[int]:
    """Return an eighth, a quarter and a half of the recorded epochs: with all of them every method has the best."""
    marks = (max(1, pool.trained_epochs // part) for part in (8, 4, 2))
    return sorted(set(marks))


def left_out(pool: Pool) -> list[str]:
    """Say how many recorded trials are no part of the pool, and why."""
    trials = len(pool.recordings) + pool.continuations + pool.outside
    said = (
        (pool.continuations, "continue others from an epoch on, and cannot be replayed"),
        (pool.outside, "have a point that is not of the space, and are left out"),
    )
    return [f"{count} of {trials} trials {why}" for count, why in said if count]


def limits_of(pool: Pool) -> list[str]:
    """Say what the pool limits, one sentence each."""
    points, cut = len(pool.by_point), sum(not (each.is_whole or each.is_dropped) for each in pool.recordings)
    found = [*_of_dropped(pool)]
    found += [f"{points} recorded points: a method chooses among these, and the best of them has regret 0"]
    found += left_out(pool)
    if points < FEWEST:
        found.append(f"fewer than {FEWEST}: a model has at most one round to propose, of what is left")
    if cut:
        trials = f"{cut} of {len(pool.recordings)} trials ended before their last epoch (stopped or failed)"
        found.append(f"{trials}: what they would have reached is unknown, and they count as they ended")
    found.append("one training of each point, mostly: its luck is part of the best")
    return found


def _of_dropped(pool: Pool) -> Iterator[str]:
    """Say that trials were dropped at rungs, and what would be a fair comparison."""
    dropped = sum(each.is_dropped for each in pool.recordings)
    if dropped:
        said = f"no fair comparison: {dropped} of {len(pool.recordings)} trials were dropped at a rung, and what they"
        remedy = f'a fair one needs a sweep with method = "random" in [search], of {FEWEST} trials or more'
        yield f"{said} would have reached in full is unknown, for methods that train them on, too; {remedy}"


def said_of_start(pool: Pool) -> str:
    """Say what a replay of `auto` begins with, one sentence."""
    if pool.start is None:
        return "auto begins with draws, as auto_drawn does: the task of the data is not recorded"
    scores = "without scores on other data" if pool.start.prior is None else "with its scores on other data"
    nearest, none = "the recorded points nearest to the portfolio's", "draws, for want of a portfolio for this space"
    begun = nearest if pool.start.configurations(0) else none
    return f'auto begins with {begun}, {scores}; auto_drawn, as start = "none", with draws alone'


def fits(pool: Pool, method: str) -> bool:
    """True if the trials have enough epochs for the rungs of a method."""
    return not METHODS[method][1] or pool.epochs >= RUNGS * FIRST_RUNG


def _run(pool: Pool, method: str, marks: Sequence[int], seed: int) -> list[tuple[Leader | None, float]]:
    """Return the leader, and the seconds spent, after each number of epochs."""
    search, spent = _section(pool, method, marks[-1]), [0.0]
    start = pool.start if search.begins_with_portfolio else None
    first, prior = ((), None) if start is None else (pool.nearest(start.configurations(seed)), start.prior)
    kept: list[Training] = []
    for training in simulate(search, pool.bank, seed, first, prior):
        kept.append(training)
        spent.append(spent[-1] + training.end - training.begin)
        if spent[-1] >= marks[-1]:
            break
    found = leaders(iter(kept), marks, pool.direction)
    return list(zip(found, _seconds(pool, kept, marks), strict=False))


def _seconds(pool: Pool, trainings: Iterable[Training], marks: Sequence[int]) -> Iterator[float]:
    """Yield the seconds after each number of epochs: each epoch of a recording takes the same."""
    epochs, seconds, left = 0, 0.0, list(marks)
    for training in trainings:
        recording, length = pool.of(training.point, training.trial), training.end - training.begin
        pace = recording.seconds / max(1, len(recording.curve))
        while left and epochs + length >= left[0]:
            yield seconds + pace * (left.pop(0) - epochs)
        epochs, seconds = epochs + length, seconds + pace * length


def _section(pool: Pool, method: str, epochs: int) -> SearchSection:
    settings, points = {"epochs": pool.epochs, **METHODS[method][0]}, len(pool.by_point)
    if method != "successive_halving":
        search = SearchSection.model_validate(settings | ({} if method == "hyperband" else {"trials": points}))
        needs_all = pool.needs_all and search.chooses_rungs
        return search.in_full() if needs_all else with_possible_rungs(search, None, pool.space)
    sizes = (SearchSection.model_validate({**settings, "trials": trials}) for trials in count(2))
    fitting = next(sizes)
    for each in sizes:
        if each.trials is None or each.trials > points or largest_cost_epochs(brackets(each, pool.space)) > epochs:
            return fitting
        fitting = each
    raise AssertionError("sizes have no end")


def _mark(pool: Pool, epochs: int, runs: Sequence[tuple[Leader | None, float]]) -> Mark:
    regrets = [math.nan if leader is None else abs(pool.objective(leader.point) - pool.best) for leader, _ in runs]
    mean = fmean(regrets)
    reach = math.nan
    if len(regrets) > 1 and math.isfinite(mean):
        reach = student_quantile(len(regrets) - 1, (1 + CONFIDENCE) / 2) * stdev(regrets) / math.sqrt(len(regrets))
    hits = fmean(regret == 0 for regret in regrets)
    low = max(0.0, mean - reach) if math.isfinite(reach) else math.nan
    return Mark(epochs, mean, low, mean + reach, fmean(seconds for _, seconds in runs), hits)
