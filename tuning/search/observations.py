"""What a model learns from: the points of earlier trials, and their losses at the rungs that they entered."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nightune.tuning.trial import Trial, TrialResult, Value
from nightune.vocabulary import sign_of

LEAST_FINITE = 10  # losses at a rung, below which a model reads a lower rung with more of them


@dataclass(frozen=True, slots=True)
class Observation:
    """A trial's point, and its loss by the epochs of each rung: lower is better, NaN for a failed or diverged trial."""

    number: int
    point: Mapping[str, Value]
    losses: Mapping[int, float]
    further: Sequence[float] = ()  # losses of the objectives after the first, at the end; NaN for what is not known

    @property
    def is_bad(self) -> bool:
        """True if the trial failed or diverged at one of its rungs."""
        return any(math.isnan(loss) for loss in self.losses.values())


def observed(
    trials: Sequence[Trial],
    rungs: Sequence[tuple[int, Sequence[TrialResult]]],
    direction: str,
    further: Sequence[tuple[str, str]] = (),
) -> list[Observation]:
    """Return what a bracket's trials were observed to reach, from the results at the end of each rung, by number.

    `further` are names and directions of the objectives after the first. Trials without a result are omitted.
    """
    sign = sign_of(direction)
    losses: dict[int, dict[int, float]] = {}
    more: dict[int, tuple[float, ...]] = {}
    for epochs, results in rungs:
        for result in results:
            loss = sign * result.objective if result.is_ranked else math.nan
            losses.setdefault(result.trial.number, {})[epochs] = loss
            more[result.trial.number] = tuple(
                sign_of(each) * result.further.get(name, math.nan) for name, each in further
            )
    points = {trial.number: trial.point for trial in trials}
    found = [number for number in sorted(losses) if number in points]
    return [Observation(number, points[number], losses[number], more[number]) for number in found]


def comparable(observations: Sequence[Observation]) -> list[tuple[Observation, float]]:
    """Return the observations of equal epochs with their losses, and the failed ones with NaN.

    The epochs are those of `compared_epochs`.
    """
    chosen = compared_epochs(observations)
    return [
        (each, math.nan if each.is_bad else each.losses[chosen])
        for each in observations
        if each.is_bad or chosen in each.losses
    ]


def compared_epochs(observations: Sequence[Observation]) -> int:
    """Return the epochs of the highest rung with ten finite losses, or of the rung that has the most; 0 without any."""
    epochs = {each for observation in observations for each in observation.losses}
    finite = {each: sum(math.isfinite(seen.losses.get(each, math.nan)) for seen in observations) for each in epochs}
    enough = [each for each, count in finite.items() if count >= LEAST_FINITE]
    return max(enough) if enough else max(finite, key=lambda each: (finite[each], each), default=0)
