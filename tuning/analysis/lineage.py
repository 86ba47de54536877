"""What a population did: which members continued which, and the values of a member by epoch."""

from collections.abc import Iterable
from itertools import pairwise

from nightune.tuning.analysis.beliefs import Text, continuation
from nightune.tuning.search.population import changes_of
from nightune.tuning.trial import Params, TrialResult

MOST_LINES = 20


def schedule_line(trial: int, params: Params, epochs: int) -> str:
    """Say which values of a trial changed from which epoch on; empty if none did."""
    changes = changes_of(params)
    begins = sorted(map(int, changes))
    if not begins:
        return ""
    names = sorted({name for values in changes.values() for name in values})
    held = {name: params.get(name) for name in names}
    parts = [f"to epoch {begins[0] - 1}: {_values(held)}"]
    for first, following in pairwise([*begins, epochs + 1]):
        held |= changes[str(first)]
        span = f"epoch {first}" if following - 1 <= first else f"epochs {first} to {following - 1}"
        parts.append(f"{span}: {_values(held)}")
    return f"The values of trial {trial} by epoch · {' · '.join(parts)}"


def continuation_lines(results: Iterable[TrialResult], text: Text) -> list[str]:
    """Say of each new member which trial it continued and replaced, by number; `text` writes an objective."""
    members = sorted((each.trial for each in results if each.trial.parent is not None), key=lambda each: each.number)
    lines = [
        f"Trial {trial.number} {continuation(trial.parent, text)}" for trial in members if trial.parent is not None
    ]
    more = len(lines) - MOST_LINES
    return [*lines[:MOST_LINES], f"… and {more} more"] if more > 0 else lines


def _values(values: Params) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items() if isinstance(value, int | float))
