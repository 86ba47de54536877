"""What is customarily searched for each optimizer, as a study file would write it: what `"default"` is to stand for.

Ranges are those of the literature, wide rather than fine: Dahl et al., 2023 (AlgoPerf), Godbole et al., 2023 (Tuning
Playbook), Choi et al., 2019, and of each optimizer's own paper. The rates are meant for batches of 64 examples.
Parameters near 1 are searched as their distance from 1, on a log scale; a list holds options.
"""

from typing import Any

Ranges = dict[str, Any]  # param → a table of low, high and scale, or a list of options

ARTICLE_OPTIMIZERS = ("gd", "sgd", "adam")
DEFAULT_OPTIMIZERS = (*ARTICLE_OPTIMIZERS, "adamw", "rmsprop", "nadam", "lion")


def customary_ranges(optimizer: str) -> Ranges:
    """Return the ranges of an optimizer, in the order of importance: with few trials, search the first ones only."""
    return {
        param: dict(domain) if isinstance(domain, dict) else list(domain) for param, domain in RANGES[optimizer].items()
    }


def _log(low: float, high: float) -> Ranges:
    return {"low": low, "high": high, "scale": "log"}


_ADAM: Ranges = {
    "learning_rate.peak": _log(1e-5, 3e-2),
    "one_minus_beta_1": _log(1e-2, 0.5),
    "epsilon": _log(1e-10, 1e-2),
    "one_minus_beta_2": _log(1e-4, 0.1),
}

RANGES: dict[str, Ranges] = {
    "gd": {"learning_rate.peak": _log(1e-3, 2.0)},
    "sgd": {
        "learning_rate.peak": _log(1e-4, 1.0),
        "one_minus_momentum": _log(5e-3, 1.0),  # 1 is no momentum
        "nesterov": [False, True],
    },
    "adam": _ADAM,
    "adamw": {**_ADAM, "weight_decay.strength": _log(5e-3, 1.0)},
    "rmsprop": {
        "learning_rate.peak": _log(1e-5, 1e-2),
        "one_minus_rho": _log(1e-3, 0.5),
        "one_minus_momentum": [1.0, 0.1],
        "centered": [False, True],
    },
    "nadam": _ADAM,
    "lion": {"learning_rate.peak": _log(1e-6, 3e-3), "one_minus_beta_1": _log(1e-2, 0.5)},
    "adagrad": {"learning_rate.peak": _log(1e-3, 1.0), "initial_accumulator": [0.0, 0.1]},
    "adadelta": {"learning_rate.peak": _log(3e-2, 3.0), "one_minus_rho": _log(1e-2, 0.2)},
    "adamax": _ADAM,
}
