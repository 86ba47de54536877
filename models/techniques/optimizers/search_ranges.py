"""Customary search ranges of each optimizer, in the form of a study file.

Ranges are wide ones from the literature: Dahl et al., 2023 (AlgoPerf), Godbole et al., 2023 (Tuning
Playbook), Choi et al., 2019, and each optimizer's paper. The rates are for batches of 64 examples.
Parameters near 1 are searched as their distance from 1, on a log scale; a list holds options.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nightune.vocabulary import row_of

Ranges = dict[str, Any]  # param → a table of low, high and scale, or a list of options

ARTICLE_OPTIMIZERS = ("gd", "sgd", "adam")
DEFAULT_OPTIMIZERS = (*ARTICLE_OPTIMIZERS, "adamw", "rmsprop", "nadam", "lion")


@dataclass(frozen=True)
class Customary:
    """The ranges of one optimizer by importance: the rate, the core params, and the rest."""

    rate: Ranges
    core: Ranges = field(default_factory=dict)
    full: Ranges = field(default_factory=dict)


def customary_ranges(optimizer: str, level: str = "full") -> Ranges:
    """Return the ranges of an optimizer, most important first: with few trials, search only the first ones."""
    known = row_of(RANGES, optimizer, "RANGES in models/techniques/optimizers/search_ranges.py")
    core, full = (known.rate, known.core), (known.rate, known.core, known.full)
    parts = {"article": (known.rate,), "default": core, "full": full}
    return {
        param: dict(domain) if isinstance(domain, dict) else list(domain)
        for part in parts[level]
        for param, domain in part.items()
    }


def customary_spaces() -> Mapping[str, Mapping[str, Ranges]]:
    """Return the optimizers of each level that a study's `optimizer` can name, each with its ranges."""
    return {
        level: {optimizer: customary_ranges(optimizer, level) for optimizer in optimizers}
        for level, optimizers in LEVELS.items()
    }


def _log(low: float, high: float) -> Ranges:
    return {"low": low, "high": high, "scale": "log"}


def _rate(low: float, high: float) -> Ranges:
    return {"learning_rate.peak": _log(low, high)}


_AVERAGE: Ranges = {"weight_average.kind": ["none", "exponential"], "weight_average.one_minus_decay": _log(1e-4, 0.1)}
_BETA_1: Ranges = {"one_minus_beta_1": _log(1e-2, 0.5)}
# Choi et al., 2019: with ε as large as 1, Adam approaches momentum.
_SECOND_MOMENT: Ranges = {"epsilon": _log(1e-10, 1.0), "one_minus_beta_2": _log(1e-4, 0.1)}
_ADAM = Customary(_rate(1e-5, 3e-2), _BETA_1, {**_SECOND_MOMENT, **_AVERAGE})

RANGES: dict[str, Customary] = {
    "gd": Customary(_rate(1e-3, 2.0), full=_AVERAGE),
    "sgd": Customary(
        _rate(1e-4, 1.0),
        {"one_minus_momentum": _log(5e-3, 1.0), "nesterov": [False, True]},  # 1 is no momentum
        _AVERAGE,
    ),
    "adam": _ADAM,
    "adamw": Customary(_ADAM.rate, {**_ADAM.core, "weight_decay.strength": _log(5e-3, 1.0)}, _ADAM.full),
    "rmsprop": Customary(
        _rate(1e-5, 1e-2),
        {"one_minus_rho": _log(1e-3, 0.5), "one_minus_momentum": [1.0, 0.1]},
        {"centered": [False, True], "epsilon": _log(1e-10, 1e-2), **_AVERAGE},
    ),
    "nadam": _ADAM,
    "lion": Customary(_rate(1e-6, 3e-3), _BETA_1, _AVERAGE),
    "adagrad": Customary(_rate(1e-3, 1.0), {"initial_accumulator": [0.0, 0.1]}, _AVERAGE),
    "adadelta": Customary(_rate(3e-2, 3.0), {"one_minus_rho": _log(1e-2, 0.2)}, _AVERAGE),
    "adamax": _ADAM,
    "lamb": Customary(_rate(1e-4, 1e-1), _BETA_1, {**_SECOND_MOMENT, **_AVERAGE}),
    "adafactor": Customary(_rate(1e-4, 1e-1), full=_AVERAGE),  # relative to the weights
    "muon": Customary(_rate(1e-4, 5e-2), {"one_minus_momentum": _log(1e-2, 0.2)}, _AVERAGE),
    "prodigy": Customary({}, _BETA_1, _AVERAGE),  # sets its own rate
    "dog": Customary({}, full={"initial_distance": _log(1e-6, 1e-2)}),  # sets its own rate
    "schedule_free": Customary(_rate(1e-4, 3e-2), {"one_minus_beta_1": [0.1, 0.05, 0.02]}),
}

LEVELS: dict[str, tuple[str, ...]] = {
    "article": ARTICLE_OPTIMIZERS,
    "default": DEFAULT_OPTIMIZERS,
    "full": tuple(RANGES),
}
