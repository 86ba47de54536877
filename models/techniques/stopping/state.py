"""The observation of an epoch, and the state of a stopping rule between epochs."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

# A user's rule: the curves so far, one value per epoch, NaN if not finite → the reason to stop, or None.
StopFunction = Callable[[Mapping[str, list[float]]], str | None]


@dataclass(frozen=True)
class StoppingInputs:
    """Additional inputs of a rule: the curves of the monitored metric in earlier trials, and the user's function.

    A training whose rule `is_ignored` is not stopped by it, and is otherwise the same.
    """

    earlier_curves: Sequence[Sequence[float]] = ()
    function: StopFunction | None = None
    is_ignored: bool = False


NO_INPUTS = StoppingInputs()


@dataclass(frozen=True)
class StoppingState:
    """The state of a rule between epochs; a `reason` stops the training."""

    reference: float = math.inf  # the score, or training loss, that the rule compares with
    wait: int = 0  # consecutive epochs or strips without the required result
    reason: str = ""
    losses: tuple[float, ...] = ()  # training losses of the strip so far
    scores: tuple[float, ...] = ()  # of all observed epochs, for rules that need more than a reference
    history: Mapping[str, list[float | None]] = field(default_factory=dict)  # all metrics, for a user's rule


@dataclass(frozen=True)
class Observation:
    """The observation of an epoch, counted from 1."""

    epoch: int
    score: float  # lower is better; +inf if the metric is not finite
    loss: float = math.nan  # the training loss
    plateaus: int = 0  # so far, by `plateau_rule`
    sign: float = 1.0  # score = sign × metric
    epochs: int = 0  # the budget
    earlier: tuple[tuple[float, ...], ...] = ()  # the scores of earlier trials, one per epoch
    metrics: Mapping[str, float] = field(default_factory=dict)
    stop_function: StopFunction | None = None
