"""Nightune tunes Keras models overnight: one study file, a Prefect flow, every trial in MLflow.

In Python: `sweep = nightune.tune("study.toml", trials=20)` and `nightune.open_sweep("study-0")`.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["CommandError", "SweepResults", "__version__", "open_sweep", "tune"]
_PLACES = {
    "CommandError": "nightune.flows.notebooks.child_command",
    "SweepResults": "nightune.tasks.sweep_results",
    "open_sweep": "nightune.flows.notebooks.tuning",
    "tune": "nightune.flows.notebooks.tuning",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is used: the command line imports this package first. `__init__.pyi` has types."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
