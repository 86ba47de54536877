"""Covering arrays over the kinds of the six techniques: few recipes in which every option, or every pair, occurs.

Read from the vocabulary, so that they contain a new kind as soon as a dict does. Deterministic.
"""

import itertools
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nightune.models.recipe.params import KEYS, read_recipe
from nightune.models.recipe.rules import RecipeError

KINDS = (
    "optimizer",
    "learning_rate.schedule",
    "batch_size.policy",
    "weight_decay.profile",
    "penalty.kind",
    "stopping.rule",
)
PLAIN = {
    "optimizer": "sgd",
    "learning_rate.schedule": "fixed",
    "batch_size.policy": "fixed",
    "weight_decay.profile": "none",
    "penalty.kind": "none",
    "stopping.rule": "none",
}
# params that an option requires, and numbers with which it acts in a short training of few examples
NEEDS: dict[str, dict[str, Any]] = {
    "inverse_sqrt": {"learning_rate.warmup_fraction": 0.1},
    "threshold": {"stopping.limit": 1e9},
    "target": {"stopping.target": -1e9},
}
SMALL: dict[str, Any] = {
    "batch_size.size": 8,
    "batch_size.minimum": 3,
    "batch_size.maximum": 16,
    "model.units": [4],
}

Row = dict[str, str]  # kind key → option
Options = Mapping[str, Sequence[str]]
ALL: Options = {name: tuple(KEYS[name].options) for name in KINDS}
Pair = tuple[tuple[str, str], tuple[str, str]]


@dataclass(frozen=True)
class Covering:
    """The rows, each a recipe that no rule refuses, and the pairs that a rule refuses, with its code."""

    rows: tuple[Row, ...]
    refused: dict[Pair, str]


def params_of(row: Row) -> dict[str, Any]:
    """Complete a row to params: what its options require, and small numbers where these are active."""
    params: dict[str, Any] = dict(row)
    for option in row.values():
        params |= NEEDS.get(option, {})
    for name, value in SMALL.items():
        if name == "model.units" or _is_active(name, params):
            params[name] = value
    return params


def alone() -> dict[tuple[str, str], Row]:
    """Each option with the plain ones of the other kinds: (kind key, option) → row."""
    return {(name, option): _active_kinds(PLAIN | {name: option}, {name}) for name in KINDS for option in ALL[name]}


def covering(strength: int, options: Options = ALL) -> Covering:
    """Cover the options (strength 1) or all pairs of options of two kinds (strength 2), greedily."""
    uncovered = dict.fromkeys(_combinations(strength, options))
    rows: list[Row] = []
    refused: dict[Pair, str] = {}
    while uncovered:
        wanted = next(iter(uncovered))
        row = _row(dict(wanted), uncovered, strength, options)
        if isinstance(row, str):
            refused[wanted] = row  # type: ignore[index] # of one kind alone nothing is refused
            del uncovered[wanted]
            continue
        rows.append(row)
        for found in _within(row, strength):
            uncovered.pop(found, None)
    return Covering(tuple(rows), refused)


def sample(array: Covering, times: int) -> list[Row]:
    """Choose a few rows in which every option occurs `times` times, or as often as in the array."""
    missing = Counter(option for row in array.rows for option in row.items())
    missing = Counter({option: min(times, count) for option, count in missing.items()})
    chosen: list[Row] = []
    left = list(array.rows)
    while missing:
        best = max(left, key=lambda row: sum(option in missing for option in row.items()))
        left.remove(best)
        chosen.append(best)
        missing -= Counter(best.items())
    return chosen


def refusal(row: Row) -> str | None:
    """Return the code of the rule that refuses the row, or None; raise any other error."""
    try:
        read_recipe(params_of(row))
    except RecipeError as error:
        return error.rule
    return None


def _active_kinds(row: Row, wanted: Collection[str]) -> Row:
    """The row without kinds that are inactive beside the others, unless they are wanted."""
    return {name: option for name, option in row.items() if name in wanted or _is_active(name, row)}


def _row(wanted: Row, uncovered: Any, strength: int, allowed: Options) -> Row | str:
    """Complete the wanted options to a row that no rule refuses; return the code of the rule that refuses them."""
    row = _active_kinds(PLAIN | wanted, wanted)
    code = refusal(row)
    if code is not None:
        return code
    for name in KINDS:
        if name in wanted or name not in row:
            continue
        options = sorted(allowed[name], key=lambda option: -_gain({**row, name: option}, uncovered, strength))
        row |= {name: next(option for option in options if refusal({**row, name: option}) is None)}
    return row


def _gain(row: Row, uncovered: Any, strength: int) -> int:
    return sum(found in uncovered for found in _within(row, strength))


def _within(row: Row, strength: int) -> list[Any]:
    ordered = [(name, row[name]) for name in KINDS if name in row]
    return list(itertools.combinations(ordered, strength))


def _combinations(strength: int, options: Options) -> list[Any]:
    return [
        tuple(zip(names, chosen, strict=True))
        for names in itertools.combinations(KINDS, strength)
        for chosen in itertools.product(*(options[name] for name in names))
    ]


def _is_active(name: str, params: dict[str, Any]) -> bool:
    """True if the key is active with these params, defaults included."""
    return all(
        _is_active(controller, params) and params.get(controller, KEYS[controller].default) in values
        for controller, values in KEYS[name].when.items()
    )
