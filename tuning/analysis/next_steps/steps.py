"""What a rule of "what to do next" reads, and what it returns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nightune.tuning.analysis.confirmation import Confirmation
from nightune.tuning.analysis.effects import Effect
from nightune.tuning.analysis.promotion_gate import Verdict
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.trial import Status, TrialResult
from nightune.vocabulary import after_epochs, sign_of

SIGNIFICANCE = 0.05  # of a rule, for all that it examines in one sweep


@dataclass(frozen=True, slots=True)
class Change:
    """A key of the study file, as the parts of its name, and its new value."""

    path: tuple[str, ...]
    value: Any


@dataclass(frozen=True, slots=True)
class Step:
    """One action: what to do, the evidence for it, and the keys of the study that change; heavier ones pay more."""

    title: str
    evidence: str
    changes: tuple[Change, ...] = ()
    weight: float = 1.0


@dataclass(frozen=True)
class SweepFacts:
    """A sweep as the rules read it.

    `results` are in the order in which the trials ended. With rungs, `compared` are those at the rung of
    `compared_epochs`, at which `effects` are computed, too; without them they are those that used their budget, and the
    epochs 0. `tables` are those of the study file. `text` writes a score and `points` a difference of two. `limits` are
    the lowest and highest values that a dimension may have at all.
    """

    space: SearchSpace
    tables: Mapping[str, Any]
    results: Sequence[TrialResult]
    direction: str
    epochs: int
    text: Callable[[float], str] = "{:.4g}".format
    points: Callable[[float], str] = "{:.3g}".format
    effects: Sequence[Effect] = ()
    winner: TrialResult | None = None
    confirmation: Confirmation | None = None
    verdict: Verdict | None = None
    has_rungs: bool = False
    at_rung: Sequence[TrialResult] = ()
    compared_epochs: int = 0
    limits: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)

    @property
    def ranked(self) -> list[TrialResult]:
        """The ranked results that used their budget, best first."""
        full = [each for each in self.results if each.is_ranked and each.status is not Status.NOT_PROMOTED]
        return sorted(full, key=lambda each: (sign_of(self.direction) * each.objective, each.trial.number))

    @property
    def compared(self) -> list[TrialResult]:
        """The ranked results that can be compared with each other, best first."""
        return list(self.at_rung) if self.compared_epochs else self.ranked

    @property
    def after_epochs(self) -> str:
        """` after 3 epochs`, where the trials are compared at a rung; else empty."""
        return after_epochs(self.compared_epochs)

    def written(self, path: Sequence[str]) -> Any:
        """Return the value of a key in the study file; None without one."""
        held: Any = self.tables
        for part in path:
            held = held.get(part) if isinstance(held, Mapping) else None
        return held


def place_of(name: str) -> tuple[str, ...]:
    """Return the parts of a dimension's name in a study file: [model] holds those of the model, [space] all others."""
    return tuple(name.split(".")) if name.startswith("model.") else ("space", *name.split("."))


def options_of(values: Sequence[Any]) -> Any:
    """Return options as a study writes them: one alone as a plain value, unless that is a list or a table itself."""
    if len(values) > 1 or isinstance(values[0], list | dict):
        return list(values)
    return float(f"{values[0]:.4g}") if isinstance(values[0], float) else values[0]


def names_text(names: Sequence[str]) -> str:
    """Return `a`, `a and b`, or `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
