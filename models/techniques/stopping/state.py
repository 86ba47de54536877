"""What a stopping rule sees of an epoch, and what it remembers of those before."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

# A user's own rule: the curves so far, one value an epoch and NaN where it was not finite → why to stop, or None.
StopFunction = Callable[[Mapping[str, list[float]]], str | None]


@dataclass(frozen=True)
class StoppingInputs:
    """What a rule needs beside the training: the monitored metric's curves of earlier trials, the user's function."""

    earlier_curves: Sequence[Sequence[float]] = ()
    function: StopFunction | None = None


NO_INPUTS = StoppingInputs()


@dataclass(frozen=True)
class StoppingState:
    """What a rule remembers between epochs; a `reason` means that the training is to stop."""

    reference: float = math.inf  # the score, or training loss, that the rule compares with
    wait: int = 0  # epochs, or strips, in a row that were not as they should be
    reason: str = ""
    losses: tuple[float, ...] = ()  # training losses of the strip so far
    scores: tuple[float, ...] = ()  # of all epochs seen, for rules that need more than a reference
    history: Mapping[str, list[float | None]] = field(default_factory=dict)  # all metrics, for a user's own rule


@dataclass(frozen=True)
class Observation:
    """What a rule sees of an epoch, counted from 1."""

    epoch: int
    score: float  # lower is better; +inf where the metric is not finite
    loss: float = math.nan  # the training loss
    plateaus: int = 0  # so far, by `plateau_rule`
    sign: float = 1.0  # score = sign × metric
    epochs: int = 0  # the budget
    earlier: tuple[tuple[float, ...], ...] = ()  # the scores of earlier trials, one an epoch
    metrics: Mapping[str, float] = field(default_factory=dict)
    stop_function: StopFunction | None = None
