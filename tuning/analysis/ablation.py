"""Ablation: the way from a start configuration to the winner, one changed dimension at a time (Fawcett, Hoos, 2016).

Each step takes the change of which a forest on the sweep's trials expects most. The expectations have intervals over
forests on resampled trials; they say nothing of places in which no trial lies.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nightune.tuning.analysis.changes import Change
from nightune.tuning.analysis.fanova import MINIMUM_ROWS, Forest, explained_share, forest_mean, small_forest
from nightune.tuning.analysis.importance import TRUSTED_EXPLAINED
from nightune.tuning.search.domains import Range, is_same
from nightune.tuning.search.midpoint import middle_point
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.trial import Params, TrialResult, Value

Array = npt.NDArray[np.float64]

MOST_STEPS = 8  # the last of them takes all changes that are left
RESAMPLES = 24
INTERVAL = (0.1, 0.9)  # quantiles over resamples
SMALL_GAIN = 0.05  # of the scores' standard deviation: a forest finds less in dimensions that do nothing
INACTIVE = -0.5  # the place of a dimension that is not active: outside those of all values


@dataclass(frozen=True, slots=True)
class Expected:
    """A number that forests expect, with its interval over resampled trials."""

    middle: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class AblationStep:
    """Changes that are made together, the configuration after them, the score there and the gain of this step.

    A change has no value where its dimension is not active. Scores are numbers of the scale that is drawn, gains are
    positive where the step makes them better. `is_certain`: the forest is trusted, and on nearly all resamples the step
    makes scores better, or worse, by more than next to nothing.
    """

    changes: tuple[Change, ...]
    params: Mapping[str, Value]
    score: Expected
    gain: Expected
    is_certain: bool


@dataclass(frozen=True, slots=True)
class AblationPath:
    """The steps from a start configuration to the winner, and what is known of the forest behind them.

    `explained` is the share of the variance that it explains out of bag, `error` its root mean squared error there.
    """

    start: Mapping[str, Value]
    score: Expected
    steps: tuple[AblationStep, ...]
    explained: float
    error: float
    trials: int

    @property
    def is_trusted(self) -> bool:
        """True if the forest explains enough for the steps to mean something."""
        return self.explained >= TRUSTED_EXPLAINED


def ablation_path(
    space: SearchSpace,
    ranked: Sequence[TrialResult],
    score: Callable[[float], float],
    ends: tuple[Params, Params],
    is_larger_better: bool,
    seed: int,
) -> AblationPath | None:
    """Return the path between two configurations, the start and the winner; None where trials are too few or alike.

    `score` turns an objective into the number that is drawn. The same sweep has the same path.
    """
    values = np.array([score(result.objective) for result in ranked])
    start, winner = (of_space(space, params) for params in ends)
    if len(values) < MINIMUM_ROWS or float(np.ptp(values)) == 0.0 or not list(_moves(space, start, winner)):
        return None
    rows = np.array([_row(space, result.trial.params) for result in ranked])
    explained = explained_share(rows, values, seed)
    error = math.sqrt(max(0.0, 1.0 - explained) * float(np.var(values)))
    forests = _resampled_forests(rows, values, seed)
    sign, least = 1.0 if is_larger_better else -1.0, SMALL_GAIN * float(np.std(values))
    steps, place = [], start
    before = first = _expected(forests, [_row(space, start)])[:, 0]
    for params in _path(space, forests, start, winner, sign):
        after = _expected(forests, [_row(space, params)])[:, 0]
        gain = _interval(sign * (after - before))
        is_certain = explained >= TRUSTED_EXPLAINED and (gain.low > least or gain.high < -least)
        changes = changes_between(space, place, params)
        steps.append(AblationStep(changes, params, _interval(after), gain, is_certain))
        place, before = params, after
    return AblationPath(start, _interval(first), tuple(steps), explained, error, len(ranked))


def of_space(space: SearchSpace, params: Params) -> dict[str, Value]:
    """Return the values of the dimensions that are active, in their order of control."""
    kept: dict[str, Value] = {}
    for dimension in space.in_control_order:
        if dimension.is_active(kept) and dimension.name in params:
            kept[dimension.name] = params[dimension.name]
    return kept


def holds(space: SearchSpace, params: Params) -> bool:
    """True if the configuration is one of the space: each active dimension has a value of its domain."""
    kept: dict[str, Value] = {}
    for dimension in space.in_control_order:
        if dimension.is_active(kept):
            if dimension.name not in params or not dimension.domain.under(kept).contains(params[dimension.name]):
                return False
            kept[dimension.name] = params[dimension.name]
    return True


def default_point(space: SearchSpace, default_of: Callable[[str, Params], Value]) -> dict[str, Value]:
    """Return the configuration of the defaults, as near as the space has it.

    `default_of` returns the default of a param for others, None without one. A number beyond a range is taken at its
    end; an option that the space lacks, and a param without a default, in the middle as in `middle_point`.
    """
    middle = middle_point(space, {})
    kept: dict[str, Value] = {}
    for dimension in space.in_control_order:
        if not dimension.is_active(kept):
            continue
        domain, value = dimension.domain.under(kept), default_of(dimension.name, kept)
        if isinstance(domain, Range) and isinstance(value, int | float) and not isinstance(value, bool):
            near = min(max(value, domain.low), domain.high)
            value = round(near) if domain.integer else float(near)
        if value is None or not domain.contains(value):
            value = middle.get(dimension.name)
        kept[dimension.name] = value if domain.contains(value) else domain.from_unit(0.5)
    return kept


def changes_between(space: SearchSpace, before: Params, after: Params) -> tuple[Change, ...]:
    """Return the dimensions whose values differ, in their order of control."""
    names = [dimension.name for dimension in space.in_control_order]
    return tuple(
        Change(name, before.get(name), after.get(name))
        for name in names
        if (name in before) != (name in after) or not is_same(before.get(name), after.get(name))
    )


def _path(
    space: SearchSpace, forests: Sequence[Forest], start: dict[str, Value], winner: dict[str, Value], sign: float
) -> Iterator[dict[str, Value]]:
    """Yield the configurations after each step: the move of which most is expected, at last all that are left."""
    place = start
    for step in range(1, MOST_STEPS + 1):
        moves = list(_moves(space, place, winner))
        if not moves:
            return
        if step == MOST_STEPS:
            yield winner
            return
        expected = sign * _expected(forests, [_row(space, each) for each in moves]).mean(axis=0)
        place = moves[int(expected.argmax())]
        yield place


def _moves(space: SearchSpace, place: Params, winner: Params) -> Iterator[dict[str, Value]]:
    """Yield the configurations in which one dimension that is active in both has the winner's value."""
    for dimension in space.in_control_order:
        name = dimension.name
        if name in place and name in winner and not is_same(place[name], winner[name]):
            yield _moved(space, place, winner, name)


def _moved(space: SearchSpace, place: Params, winner: Params, moved: str) -> dict[str, Value]:
    """Give a dimension the winner's value, and what becomes active by it, too, as far as the winner has it."""
    kept: dict[str, Value] = {}
    for dimension in space.in_control_order:
        if not dimension.is_active(kept):
            continue
        name, domain = dimension.name, dimension.domain.under(kept)
        own = winner if name == moved else place
        value = next((each[name] for each in (own, winner) if name in each and domain.contains(each[name])), None)
        kept[name] = domain.from_unit(0.5) if value is None else value
    return kept


def _row(space: SearchSpace, params: Params) -> list[float]:
    places = [space.by_name[name].place(params) for name in space.varying]
    return [INACTIVE if place is None else place for place in places]


def _resampled_forests(rows: Array, values: Array, seed: int) -> list[Forest]:
    """Return small forests, each on trials drawn with replacement."""
    generator, forests = np.random.default_rng(seed), []
    for turn in range(RESAMPLES):
        drawn = generator.integers(0, len(values), len(values))
        forests.append(small_forest(rows[drawn], values[drawn], seed + turn))
    return forests


def _expected(forests: Sequence[Forest], rows: Sequence[Sequence[float]]) -> Array:
    """Return the score that each forest expects at places, (forests, places)."""
    places = np.array(rows)
    return np.array([forest_mean(forest, places) for forest in forests])


def _interval(numbers: Array) -> Expected:
    low, middle, high = np.quantile(numbers, [INTERVAL[0], 0.5, INTERVAL[1]])
    return Expected(float(middle), float(low), float(high))
