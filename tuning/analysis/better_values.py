"""Which value of a dimension is better: the option, or the third of a range, with the best median objective."""

from collections.abc import Sequence
from statistics import median

from nightune.tuning.analysis.value_text import value_text
from nightune.tuning.search.domains import Cases, Choice, Domain
from nightune.tuning.trial import Params, Value
from nightune.vocabulary import sign_of

THIRDS = ("lowest", "middle", "highest")
FEWEST = 2  # trials of an option or a third

Tried = Sequence[tuple[Params, float]]  # the params of a trial, and its objective


def better_values(name: str, domain: Domain, tried: Tried, direction: str) -> str:
    """Return `adamw over sgd`, `0.0021 to 0.01`, or for a range that depends on another param `its highest third`.

    `tried` are the trials in which the dimension is active. Empty if they do not compare two options or thirds.
    """
    sign = sign_of(direction)
    held: dict[int, list[float]] = {}
    for params, objective in tried:
        held.setdefault(_group(domain, params[name], params), []).append(sign * objective)
    medians = {group: median(scores) for group, scores in held.items() if len(scores) >= FEWEST}
    if len(medians) < 2 or min(medians.values()) == max(medians.values()):
        return ""
    best, worst = min(medians, key=medians.__getitem__), max(medians, key=medians.__getitem__)
    if isinstance(domain, Choice):
        return f"{value_text(domain.options[best])} over {value_text(domain.options[worst])}"
    if isinstance(domain, Cases):
        return f"its {THIRDS[best]} third"
    low, high = (domain.from_unit(min((best + end) / 3, 1 - 1e-12)) for end in (0, 1))
    return f"{value_text(low)} to {value_text(high)}"


def _group(domain: Domain, value: Value, params: Params) -> int:
    """The number of the option, or of the third of a range."""
    held = domain.under(params)
    place = held.to_unit(value)
    count = len(held.options) if isinstance(held, Choice) and not isinstance(domain, Cases) else len(THIRDS)
    return min(int(place * count), count - 1)
