"""The seam between what an epoch does (EpochPlan) and how it is computed, and the choice of who computes it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from models.errors import InputError, unknown_name
from models.examples import Dataset
from models.recipe import Recipe
from models.training.plan import EpochPlan
from models.training.seeds import Seeds
from models.training.snapshots import EngineSnapshot

REQUESTS = ("auto", "compiled", "fit")
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


@dataclass(frozen=True)
class EngineChoice:
    """Which engine trains a sweep, and why."""

    name: str
    reason: str


def choose_engine(request: str, recipes: Sequence[Recipe], dataset: Dataset, folder: Path) -> EngineChoice:
    """Settle the engine before the first trial, by the recipes that are to be trained; it stays for the whole sweep.

    `auto` takes a compiled engine where there is one that can, and that trains two of the recipes as `fit` does.
    """
    if request not in REQUESTS:
        raise InputError("engine", unknown_name(request, REQUESTS))
    if request == "fit":
        return EngineChoice("fit", "as asked")
    from models.training.verification import compare_engines  # noqa: PLC0415 - Keras takes seconds

    comparison = compare_engines(recipes, dataset, folder)
    if comparison.refusal is None:
        return EngineChoice(comparison.engine, comparison.agreement)
    if request == "compiled":
        raise InputError("engine", f"'compiled' is not possible: {comparison.refusal} (allowed: auto, fit)")
    return EngineChoice("fit", comparison.refusal)


def make_engine(name: str, dataset: Dataset, folder: Path) -> Engine:
    """Return the engine of a choice for one data set; `folder` is where a study's own files are looked for."""
    if name not in ENGINES:
        raise InputError("engine", unknown_name(name, ENGINES))
    return ENGINES[name](dataset, folder)


def _fit(dataset: Dataset, folder: Path) -> Engine:
    from models.training.engine_fit import FitEngine  # noqa: PLC0415 - Keras takes seconds

    return FitEngine(dataset, folder)


def _tensorflow(dataset: Dataset, folder: Path) -> Engine:
    from models.training.engine_tensorflow import make_tensorflow_engine  # noqa: PLC0415 - TensorFlow takes seconds

    return make_tensorflow_engine(dataset, folder)


def _jax(dataset: Dataset, folder: Path) -> Engine:
    from models.training.compiled import CompiledEngine  # noqa: PLC0415 - Keras takes seconds
    from models.training.engine_jax import JaxBackend  # noqa: PLC0415 - only with the extra `jax`

    return CompiledEngine(dataset, folder, JaxBackend())


ENGINES: dict[str, Callable[[Dataset, Path], Engine]] = {"fit": _fit, "tensorflow": _tensorflow, "jax": _jax}
