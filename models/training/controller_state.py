"""The state of a controller between epochs, its conversion to plain JSON values, and the training that it is of."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from nightune.models.recipe.params import params_of
from nightune.models.recipe.recipe import Recipe
from nightune.models.techniques.batch_sizes.gradient_noise import NoiseState
from nightune.models.techniques.plateaus import PlateauState
from nightune.models.techniques.stopping.state import StoppingState
from nightune.models.training.plan import SEMANTICS_VERSION


@dataclass(frozen=True)
class ControllerState:
    """Everything that a controller keeps between epochs."""

    epoch: int = 0  # epochs observed
    updates: int = 0
    examples: int = 0
    best_epoch: int = 0  # counted from 1; 0 = none
    best_score: float = math.inf  # lower is better for both directions
    plateau: PlateauState = field(default_factory=PlateauState)
    stopping: StoppingState = field(default_factory=StoppingState)
    noise: NoiseState = field(default_factory=NoiseState)
    divergence: str = ""  # which value was not finite
    penalty: float = 0.0  # the strength of the next epoch


def as_json(state: ControllerState) -> dict[str, Any]:
    """Return the state as plain values, with exact floats."""
    return _with_none(asdict(state))


def from_json(values: Mapping[str, Any]) -> ControllerState:
    """Return the state from the result of `as_json`; raise ValueError if the values do not match this version."""
    try:
        stopping, plateau = values["stopping"], values["plateau"]
        lists = {name: tuple(stopping[name]) for name in ("losses", "scores")}
        return ControllerState(
            **{
                **values,
                "best_score": _score(values["best_score"]),
                "noise": NoiseState(**values["noise"]),
                "plateau": PlateauState(**{**plateau, "best": _score(plateau["best"])}),
                "stopping": StoppingState(**{**stopping, "reference": _score(stopping["reference"]), **lists}),
            }
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"the saved state is from another version of the controller: {error}") from error


def training_identity(whole: Recipe, epoch: int, **facts: int | str) -> dict[str, Any]:
    """Return the values that identify a training up to an epoch, which later changes of its recipe do not affect.

    `facts` are what else it depends on: data size, budget, the seed of the order, and how its epochs are judged.
    """
    begun = replace(whole, training=replace(whole.training, changes=whole.training.changes_until(epoch)))
    return {"semantics": SEMANTICS_VERSION, "params": params_of(begun), **facts}


def divergence(metrics: Mapping[str, float], monitor: str) -> str:
    """Return which of the losses and the monitored metric is not finite, with its value; empty if all are."""
    for name in ("loss", "val_loss", monitor):
        if name in metrics and not math.isfinite(metrics[name]):
            return f"{name} is {float(metrics[name])}"
    return ""


def _with_none(values: dict[str, Any]) -> dict[str, Any]:
    """Replace infinity, which JSON lacks, by None."""
    return {
        name: _with_none(value) if isinstance(value, dict) else None if value == math.inf else value
        for name, value in values.items()
    }


def _score(value: float | None) -> float:
    return math.inf if value is None else value
