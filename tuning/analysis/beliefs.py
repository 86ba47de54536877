"""What a model's search believes when it ends, and how well what it expected of its trials came true."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nightune.tuning.analysis.value_text import value_text
from nightune.tuning.search.expectation import expected_best
from nightune.tuning.search.observations import Observation
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.trial import Expectation, Status, Trial, TrialResult, Value
from nightune.vocabulary import sign_of

LEAST_COMPARED = 8  # predictions with a result, below which their correlation says nothing
# By the tag of a trial, how its point was chosen; a model stands as it is named in the study.
CHOSEN = {
    "random": "drawn at random",
    "grid": "a point of the grid",
    "history": "one of the best points of earlier sweeps",
    "portfolio": "good on other data, from the portfolio",
}

Text = Callable[[float], str]


@dataclass(frozen=True)
class Prediction:
    """What was expected of a trial, and the objective that it reached after these epochs; None if it has none there."""

    trial: int
    expected: Expectation
    reached: float | None

    @property
    def deviations(self) -> float:
        """The difference of the objective from its expectation, in standard deviations; NaN without an objective."""
        if self.reached is None:
            return math.nan
        return (self.reached - self.expected.value) / max(self.expected.deviation, 1e-300)


@dataclass(frozen=True)
class Beliefs:
    """The point of the best expected objective, by searched params, and all predictions by number of the trial.

    `trial` is the trial of that point, None if none was trained there.
    """

    point: Mapping[str, Any] | None  # of values; pydantic has no schema for their recursive type
    expected: Expectation | None
    trial: int | None
    predictions: tuple[Prediction, ...] = ()

    @property
    def compared(self) -> list[Prediction]:
        """The predictions of trials that have an objective."""
        return [each for each in self.predictions if each.reached is not None]

    def within(self, deviations: float) -> int:
        """Return how many trials came within so many standard deviations of what was expected."""
        return sum(abs(each.deviations) <= deviations for each in self.compared)

    @property
    def correlation(self) -> float | None:
        """The rank correlation of expected and reached objectives; None if too few are known, or all are equal."""
        pairs = [(each.expected.value, each.reached) for each in self.compared]
        if len(pairs) < LEAST_COMPARED or any(len(set(values)) == 1 for values in zip(*pairs, strict=True)):
            return None
        from scipy.stats import spearmanr  # noqa: PLC0415 - takes a moment

        return float(spearmanr(*zip(*pairs, strict=True)).statistic)


def beliefs(
    space: SearchSpace,
    trials: Sequence[Trial],
    observations: Sequence[Observation],
    direction: str,
    seed: Sequence[int],
) -> Beliefs:
    """Return what a model of the sweep's own trials believes, and how its predictions came true."""
    sign = sign_of(direction)
    losses = {each.number: each.losses for each in observations}
    found = expected_best(space, observations, direction, seed)
    point, expected = found or (None, None)
    trained = next((each.number for each in observations if each.point == point), None)
    predictions = [
        Prediction(each.number, each.expected, _finite(sign * losses[each.number].get(each.expected.epochs, math.nan)))
        for each in trials
        if each.expected is not None and each.number in losses
    ]
    searched = None if point is None else {name: point[name] for name in space.varying if name in point}
    return Beliefs(searched, expected, trained, tuple(predictions))


def why_proposed(result: TrialResult, text: Text, reach: Text | None = None) -> str:
    """Say how a trial's point was chosen, what was expected of it, and which rung it entered; empty if unknown.

    `text` writes an objective, and `reach` a deviation, if that is written otherwise.
    """
    trial = result.trial
    parts = [CHOSEN.get(trial.proposed_by, f"proposed by {trial.proposed_by}")] if trial.proposed_by else []
    if trial.expected is not None:
        parts.append(f"expected {_range(trial.expected, text, reach)}")
        halted = result.status is Status.NOT_PROMOTED and result.epochs < trial.expected.epochs
        if halted or result.epochs > trial.expected.epochs:
            parts[-1] += f" after {trial.expected.epochs} epochs"
        elif result.is_ranked:
            parts.append(f"got {text(result.objective)}")
    if result.status is Status.NOT_PROMOTED:
        parts.append(f"halted at the rung of {result.epochs} epochs")
    elif trial.promoted_to:
        parts.append(f"promoted to the rung of {trial.promoted_to} epochs")
    return ", ".join(parts)


def belief_lines(held: Beliefs, text: Text, reach: Text | None = None) -> list[str]:
    """Say what the search expects at best and where, and how its predictions came true; `text` as in `why_proposed`."""
    lines = []
    if held.expected is not None and held.point is not None:
        where = f"the point of trial {held.trial}" if held.trial is not None else f"a new point ({_point(held.point)})"
        lines.append(f"The search expects {_range(held.expected, text, reach)} at best, at {where}.")
    if count := len(held.compared):
        said = f"Of {count} trials that the model proposed, {held.within(1)} reached what it expected within one "
        said += (
            f"standard deviation (68%: {0.68 * count:.0f}) and {held.within(2)} within two (95%: {0.95 * count:.0f})"
        )
        known = held.correlation
        lines.append(f"{said}{'' if known is None else f'; rank correlation {known:.2f}'}.")
    return lines


def _range(expected: Expectation, text: Text, reach: Text | None) -> str:
    return f"{text(expected.value)} ± {(reach or text)(expected.deviation)}"


def _point(point: Mapping[str, Value]) -> str:
    return ", ".join(f"{name} {value_text(value)}" for name, value in point.items())


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
