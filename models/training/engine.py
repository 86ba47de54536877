"""The seam between what an epoch does (EpochPlan) and how it is computed, and the choice of who computes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from models.errors import InputError, unknown_name
from models.examples import Dataset
from models.recipe import Recipe
from models.training.plan import EpochPlan
from models.training.seeds import Seeds

REQUESTS = ("auto", "compiled", "fit")


@dataclass(frozen=True, eq=False)
class EpochOutput:
    """What one epoch gave. `loss` is the mean over the epoch's examples while the weights moved, without penalties."""

    loss: float
    outputs: np.ndarray  # (validation examples, size), in inference mode after the last update
    is_logits: bool
    seconds: float  # training and validation


class Engine(Protocol):
    """Trains plans on one data set. A state belongs to one trial, and to the engine that started it."""

    @property
    def name(self) -> str:
        """The name in a study's request and in MLflow's tags."""

    @property
    def tags(self) -> Mapping[str, str]:
        """What else to know of how a trial was computed."""

    def start(self, recipe: Recipe, seeds: Seeds) -> Any:
        """Return a new model and a new optimizer; nothing of an earlier trial is in them."""

    def run_epoch(self, state: Any, plan: EpochPlan) -> tuple[Any, EpochOutput]:
        """Carry out one plan and compute the outputs on the validation split."""

    def weights(self, state: Any) -> list[np.ndarray]:
        """Return copies of all weights, in the model's order."""

    def model(self, recipe: Recipe, weights: list[np.ndarray]) -> Any:
        """Return a stock Keras model, not compiled, that carries the weights."""


@dataclass(frozen=True)
class EngineChoice:
    """Which engine trains a sweep, and why."""

    name: str
    reason: str


def choose_engine(request: str) -> EngineChoice:
    """Settle the engine before the first trial; it stays for the whole sweep."""
    if request not in REQUESTS:
        raise InputError("engine", unknown_name(request, REQUESTS))
    if request == "compiled":
        raise InputError("engine", "'compiled': no compiled engine is part of this version; use 'fit' or 'auto'")
    if request == "fit":
        return EngineChoice("fit", "as asked")
    return EngineChoice("fit", "the only engine of this version: plain model.fit, which trains every Keras model")


def make_engine(name: str, dataset: Dataset, folder: Path) -> Engine:
    """Return the engine of a choice for one data set; `folder` is where a study's own files are looked for."""
    if name != "fit":
        raise InputError("engine", unknown_name(name, ["fit"]))
    from models.training.engine_fit import FitEngine  # noqa: PLC0415 - Keras takes seconds

    return FitEngine(dataset, folder)
