"""The seam between what an epoch does (EpochPlan) and how it is computed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from nightune.models.recipe.recipe import Recipe
from nightune.models.training.plan import EpochPlan
from nightune.models.training.seeds import Seeds
from nightune.models.training.snapshots import EngineSnapshot

COMPILED_ENGINES = {"tensorflow": "tensorflow", "jax": "jax"}  # by Keras' backend


@dataclass(frozen=True, eq=False)
class EpochOutput:
    """What one epoch gave. `loss` is the mean over the epoch's examples while the weights moved, without penalties.

    `statistics` are what an adaptive technique asks an engine to measure, by the names under which the controller
    observes them and they are logged.
    """

    loss: float
    outputs: np.ndarray  # (validation examples, size), in inference mode after the last update
    is_logits: bool
    seconds: float  # training and validation
    statistics: Mapping[str, float] = field(default_factory=dict)
    weights: list[np.ndarray] | None = None  # after it, where the state is of a later epoch: several were asked for


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

    def epochs_at_once(self, state: Any, plan: EpochPlan) -> int:
        """How many epochs like this one `run_epochs` computes in about a second; 1: use `run_epoch`."""

    def run_epochs(self, state: Any, plans: Sequence[EpochPlan]) -> tuple[Any, list[EpochOutput]]:
        """Carry out the first plans, one at least, and return the state after them, and the output of each."""

    def weights(self, state: Any) -> list[np.ndarray]:
        """Return copies of all weights, in the model's order."""

    def is_finite(self, state: Any) -> bool:
        """Say whether all weights are finite, which outputs need not show; without copies where that can be."""

    def snapshot(self, state: Any) -> EngineSnapshot:
        """Return copies of all that a state changes while it trains."""

    def restore(self, state: Any, snapshot: EngineSnapshot) -> Any:
        """Return the snapshot's state; `state` has just been started with the same recipe, and must not be used again.

        SnapshotError where the arrays do not fit.
        """

    def trial_tags(self, state: Any) -> Mapping[str, str]:
        """What else to know of how this one trial is computed."""

    def model(self, recipe: Recipe, weights: list[np.ndarray]) -> Any:
        """Return a stock Keras model, not compiled, that carries the weights."""
