"""Trials, the rungs that they enter, and their results."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from nightune.vocabulary import Status

__all__ = ["Bracket", "Expectation", "Params", "Parent", "Rung", "Status", "Trial", "TrialResult", "Value", "trial_key"]

UNRANKED = (Status.FAILED, Status.DIVERGED, Status.OVER_LIMIT)

Value = bool | int | float | str | list["Value"] | dict[str, "Value"] | None
Params = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a model expects a training to reach after these epochs: its objective, with one standard deviation.

    The deviation has two parts: what the model does not know, and the noise between two trainings of one point.
    """

    value: float
    deviation: float
    epochs: int


@dataclass(frozen=True, slots=True)
class Parent:
    """The trial from whose state after an epoch another one continues with other values, and what the latter replaces.

    `run_id` is the run with its snapshot; empty if it is not known. `replaces` is the number of a trial, and the values
    are the objectives of both in that epoch, None without a finite one.
    """

    trial: int
    epoch: int
    replaces: int
    value: float | None = None
    replaced_value: float | None = None
    run_id: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """One set of params to train. `key` identifies its content: same key, same result, trained once.

    A replicate has the same params and another seed: `replicate` counts from 1, `replicate_of` is the run of the trial.
    The audit of a stopped trial has its params and its seed, and is trained to the end under its run.
    """

    number: int
    params: dict[str, Value]
    seed: int
    key: str
    replicate: int = 0  # 0: the trial itself
    replicate_of: str = ""
    point: Params = field(default_factory=dict, compare=False, repr=False)  # as proposed; empty if read from a store
    proposed_by: str = field(default="", compare=False)  # empty in stores of earlier versions
    expected: Expectation | None = field(default=None, compare=False)  # when a model proposed it
    parent: Parent | None = field(default=None, compare=False)  # of a member of a population that replaced another one
    promoted_to: int = field(default=0, compare=False)  # epochs of its highest rung but the first; 0 if not read
    is_audit: bool = False
    step: int | None = None  # of an ablation, from 0 for its start; None: no part of one

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError(f"trial number: {self.number} is negative")

    @property
    def is_searched(self) -> bool:
        """True for a trial of the search; False for a replicate or an audit of one."""
        return not (self.replicate or self.is_audit)


@dataclass(frozen=True, slots=True)
class Rung:
    """A number of trials, each trained up to a number of epochs, counted from the start of the trial."""

    trials: int
    epochs: int


@dataclass(frozen=True, slots=True)
class Bracket:
    """Rungs in order: the best trials of each rung enter the next. Grid and random search have one bracket of one rung.

    Trial numbers start at `first`; there are as many as enter the first rung. A generation of a population is a bracket
    of one rung, in which `continued` trials are those of earlier ones, and all continue from the epoch `begin`.
    """

    rungs: tuple[Rung, ...]
    first: int = 0
    continued: int = 0
    begin: int = 0

    @property
    def trials(self) -> int:
        """The number of new trials that enter the bracket."""
        return self.rungs[0].trials - self.continued


@dataclass(frozen=True, slots=True)
class TrialResult:
    """The result of one trial. `objective` is NaN if no epoch was finite; `best_epoch` counts from 1, 0 = none."""

    trial: Trial
    status: Status
    objective: float
    best_epoch: int
    epochs: int
    updates: int
    examples: int
    seconds: float
    message: str = ""
    run_id: str = ""
    traceback: str = field(default="", compare=False, repr=False)  # of a failed trial, where it was trained
    curves: dict[str, list[float]] = field(default_factory=dict, compare=False, repr=False)
    further: Mapping[str, float] = field(default_factory=dict, compare=False)  # objectives after the first, by name

    @property
    def is_inherited(self) -> bool:
        """True if the best epoch is one of the trial that this one continues: its best model is that of its parent."""
        parent = self.trial.parent
        return parent is not None and 1 <= self.best_epoch <= parent.epoch

    @property
    def is_ranked(self) -> bool:
        """True if the objective is finite, the training neither failed nor diverged, and its model is within limits."""
        return math.isfinite(self.objective) and self.status not in UNRANKED


def trial_key(content: Mapping[str, object]) -> str:
    """Return a trial's identifier: 16 hexadecimal digits of the SHA-256 of its content in canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
