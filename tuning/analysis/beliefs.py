"""What a model's search believes when it ends, and how well what it expected of its trials came true."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nightune.tuning.analysis.value_text import value_text
from nightune.tuning.search.expectation import expected_best
from nightune.tuning.search.observations import Observation
from nightune.tuning.search.prior_mean import PriorMean
from nightune.tuning.search.rung_agreement import rank_correlation
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.trial import Expectation, Parent, Status, Trial, TrialResult, Value
from nightune.vocabulary import after_epochs, counted, sign_of

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
    """What was expected of a trial, and the objective that it reached after these epochs; None if it has none there.

    `has_entered` is False for a trial without a training to these epochs: dropped at an earlier rung, as a rule.
    """

    trial: int
    expected: Expectation
    reached: float | None
    has_entered: bool = True

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

    @property
    def is_whole(self) -> bool:
        """True if each trial entered the rung of its expectation; else those that did are the best of their rounds."""
        return all(each.has_entered for each in self.predictions)

    def within(self, deviations: float) -> int:
        """Return how many trials came within so many standard deviations of what was expected."""
        return sum(abs(each.deviations) <= deviations for each in self.compared)

    @property
    def correlation(self) -> float | None:
        """The rank correlation of expected and reached objectives, among those after equal numbers of epochs.

        The mean over these numbers, by predictions; None if too few are known, or all are equal.
        """
        pairs: dict[int, list[tuple[float, float]]] = {}
        for each in self.predictions:
            if each.reached is not None:
                pairs.setdefault(each.expected.epochs, []).append((each.expected.value, each.reached))
        known = [(len(alike), rank_correlation(alike)) for alike in pairs.values() if len(alike) >= LEAST_COMPARED]
        weighed = [(count, correlation) for count, correlation in known if not math.isnan(correlation)]
        total = sum(count for count, _ in weighed)
        return sum(count * correlation for count, correlation in weighed) / total if total else None

    @property
    def epochs(self) -> list[int]:
        """The numbers of epochs after which something is expected: later rounds may have later ones."""
        return sorted({each.expected.epochs for each in self.predictions})


def beliefs(
    space: SearchSpace,
    trials: Sequence[Trial],
    observations: Sequence[Observation],
    direction: str,
    seed: Sequence[int],
    prior: PriorMean | None = None,
) -> Beliefs:
    """Return what a model of the sweep's own trials, and of a prior, believes, and how its predictions came true."""
    sign = sign_of(direction)
    losses = {each.number: each.losses for each in observations}
    found = expected_best(space, observations, direction, seed, prior)
    point, expected = found or (None, None)
    trained = next((each.number for each in observations if each.point == point), None)
    predictions = [
        _prediction(each.number, each.expected, losses[each.number], sign)
        for each in trials
        if each.expected is not None and each.number in losses
    ]
    searched = None if point is None else {name: point[name] for name in space.varying if name in point}
    return Beliefs(searched, expected, trained, tuple(predictions))


def _prediction(trial: int, expected: Expectation, losses: Mapping[int, float], sign: float) -> Prediction:
    reached = sign * losses.get(expected.epochs, math.nan)
    return Prediction(trial, expected, _finite(reached), expected.epochs in losses)


def why_proposed(result: TrialResult, text: Text, reach: Text | None = None, *, is_replaced: bool = False) -> str:
    """Say how a trial's point was chosen, what was expected of it, and which rung it entered; empty if unknown.

    `text` writes an objective, and `reach` a deviation, if that is written otherwise. `is_replaced`: the trial was a
    member of a population, which others replaced.
    """
    trial = result.trial
    parts = [CHOSEN.get(trial.proposed_by, f"proposed by {trial.proposed_by}")] if trial.proposed_by else []
    if trial.parent is not None:
        parts = [continuation(trial.parent, text)]
        parts += [f"no better than trial {trial.parent.trial}"] if result.is_inherited else []
    if trial.expected is not None:
        parts.append(f"expected {_range(trial.expected, text, reach)}")
        halted = result.status is Status.NOT_PROMOTED and result.epochs < trial.expected.epochs
        if halted or result.epochs > trial.expected.epochs:
            parts[-1] += f" after {trial.expected.epochs} epochs"
        elif result.is_ranked:
            parts.append(f"got {text(result.objective)}")
    if result.status is Status.NOT_PROMOTED:
        how = "replaced after" if is_replaced else "halted at the rung of"
        parts.append(f"{how} {result.epochs} epochs")
    elif trial.promoted_to:
        parts.append(f"promoted to the rung of {trial.promoted_to} epochs")
    return ", ".join(parts)


def continuation(parent: Parent, text: Text) -> str:
    """Say which trial a new member of a population continues and which it replaced, with their objectives then."""
    value, replaced = ("" if each is None else f" ({text(each)})" for each in (parent.value, parent.replaced_value))
    lost = replaced or " (no finite result)"
    return f"continues trial {parent.trial} after epoch {parent.epoch}{value}, replaced trial {parent.replaces}{lost}"


def belief_lines(held: Beliefs, text: Text, reach: Text | None = None) -> list[str]:
    """Say what the search expects at best and where, and how its predictions came true; `text` as in `why_proposed`."""
    lines = []
    if held.expected is not None and held.point is not None:
        where = f"the point of trial {held.trial}" if held.trial is not None else f"a new point ({_point(held.point)})"
        best = f"{_range(held.expected, text, reach)} at best{after_epochs(held.expected.epochs)}"
        lines.append(f"The search expects {best}, at {where}.")
    if count := len(held.compared):
        lines.append(f"{_calibration(held, count)}{_correlation_text(held)}.")
    return lines


def _calibration(held: Beliefs, count: int) -> str:
    """Compare with the normal distribution only where no rung has chosen among the trials."""
    one, two, after = held.within(1), held.within(2), f"after {epochs_text(held)}"
    if held.is_whole:
        said = f"Of {count} trials that the model proposed, {one} reached what it expected {after} within"
        return f"{said} one standard deviation (68%: {0.68 * count:.0f}) and {two} within two (95%: {0.95 * count:.0f})"
    of = f"{count} of {len(held.predictions)} trials that the model proposed"
    said = f"{of} reached the rung of their expectation, of {epochs_text(held)}"
    return f"{said}: {one} of these came within one standard deviation of it and {two} within two"


def _correlation_text(held: Beliefs) -> str:
    if held.correlation is None:
        return ""
    within = " within equal epochs" if len(held.epochs) > 1 else ""
    return f"; rank correlation{within} {held.correlation:.2f}"


def epochs_text(held: Beliefs) -> str:
    """Return the epochs of the expectations in words: `3, 7 or 15 epochs`."""
    *others, last = map(str, held.epochs)
    return f"{', '.join(others)} or {last} epochs" if others else counted(held.epochs[0], "epoch")


def _range(expected: Expectation, text: Text, reach: Text | None) -> str:
    return f"{text(expected.value)} ± {(reach or text)(expected.deviation)}"


def _point(point: Mapping[str, Value]) -> str:
    return ", ".join(f"{name} {value_text(value)}" for name, value in point.items())


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
