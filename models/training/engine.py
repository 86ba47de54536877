"""The interface between the plan of an epoch (EpochPlan) and its computation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from nightune.models.recipe.recipe import Recipe
from nightune.models.training.plan import EpochPlan
from nightune.models.training.seeds import Seeds
from nightune.models.training.snapshots import EngineSnapshot

if TYPE_CHECKING:
    from nightune.models.data.dataset import Dataset
    from nightune.models.networks.heads import Head

COMPILED_ENGINES = {"tensorflow": "tensorflow", "jax": "jax"}  # by Keras' backend


@dataclass(frozen=True, eq=False)
class EpochOutput:
    """The result of an epoch. `loss` is the mean over the epoch's examples during training, without penalties.

    `statistics` are the measurements that adaptive techniques need, by the names under which the controller observes
    them and they are logged.
    """

    loss: float
    outputs: np.ndarray  # (validation examples, size), in inference mode after the last update
    head: "Head"  # what the outputs are, and the loss
    seconds: float  # of training and validation
    statistics: Mapping[str, float] = field(default_factory=dict)
    weights: list[np.ndarray] | None = None  # after the epoch, if the state is that of a later one

    @property
    def all_weights(self) -> list[np.ndarray] | None:
        """The weights of everything that was trained."""
        return self.weights


@dataclass(frozen=True)
class Compilation:
    """The functions that an engine has compiled, and the seconds of tracing and compiling them."""

    functions: int
    seconds: float

    def __sub__(self, other: "Compilation") -> "Compilation":
        return Compilation(self.functions - other.functions, self.seconds - other.seconds)


@runtime_checkable
class Compiles(Protocol):
    """Engines that count what they compile."""

    def program_count(self, recipes: Sequence[Recipe]) -> int:
        """Return the number of programs that would train these recipes; it may build their models."""

    @property
    def compilation(self) -> Compilation:
        """What the engine has compiled so far."""


@runtime_checkable
class CompilesAhead(Protocol):
    """Engines that compile programs beside the training."""

    def compile_ahead(self, recipe: Recipe, plan: EpochPlan) -> None:
        """Trace the recipe's program for such plans now, and compile it beside what follows."""

    def has_program(self, recipe: Recipe) -> bool:
        """Return whether the recipe's program exists already; it may build its model."""

    def would_compile(self, recipe: Recipe, plan: EpochPlan) -> bool:
        """Return whether `compile_ahead` would begin something: a program, or a function of one, for such plans."""


class Engine(Protocol):
    """Trains plans on one data set. A state belongs to one trial, and to the engine that started it."""

    @property
    def name(self) -> str:
        """The name in studies and in MLflow's tags."""

    @property
    def tags(self) -> Mapping[str, str]:
        """Tags on how trials are computed."""

    def of_fold(self, dataset: "Dataset") -> "Engine":
        """Return an engine for a fold of this one's data: it shares heads and programs, and has data of its own."""

    def start(self, recipe: Recipe, seeds: Seeds) -> Any:
        """Return a new model and a new optimizer, independent of earlier trials."""

    def unfreeze(self, state: Any) -> Any:
        """Return the start of the second phase: a new optimizer for the weights as the first phase evaluates them.

        Random streams continue. Do not use the given state again.
        """

    def run_epoch(self, state: Any, plan: EpochPlan) -> tuple[Any, EpochOutput]:
        """Execute one plan and compute the outputs on the validation split."""

    def epochs_at_once(self, state: Any, plan: EpochPlan) -> int:
        """Return how many epochs like this one `run_epochs` computes in about a second; 1: use `run_epoch`."""

    def run_epochs(self, state: Any, plans: Sequence[EpochPlan]) -> tuple[Any, list[EpochOutput]]:
        """Execute one or more of the first plans; return the state after them, and the output of each."""

    def weights(self, state: Any) -> list[np.ndarray]:
        """Return copies of all weights, in the model's order."""

    def is_finite(self, state: Any) -> bool:
        """Return whether all weights are finite, which outputs may not show; without copies if possible."""

    def snapshot(self, state: Any) -> EngineSnapshot:
        """Return copies of everything in a state that training changes."""

    def restore(self, state: Any, snapshot: EngineSnapshot) -> Any:
        """Return the snapshot's state; `state` was just started with the same recipe, and must not be used again.

        Raise SnapshotError if the arrays do not fit.
        """

    def head(self, recipe: Recipe) -> "Head":
        """Return what the outputs of the recipe's model are, and the loss for them."""

    def trial_tags(self, state: Any) -> Mapping[str, str]:
        """Return tags on how this trial is computed."""

    def model(self, recipe: Recipe, weights: list[np.ndarray]) -> Any:
        """Return a plain Keras model, not compiled, with these weights."""
