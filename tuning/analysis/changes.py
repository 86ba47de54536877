"""A difference between two configurations, or between two sweeps."""

from dataclasses import dataclass

from nightune.tuning.trial import Value


@dataclass(frozen=True, slots=True)
class Change:
    """A name with its values before and after; None if absent."""

    name: str
    before: Value
    after: Value
