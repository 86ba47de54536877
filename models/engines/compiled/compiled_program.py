"""What a backend makes of a program: the functions that it has compiled, with the data that they read."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from nightune.models.engines.compiled.arrays import State, Updates
from nightune.models.engines.compiled.batch_layout import Part, Shape
from nightune.models.engines.compiled.pace import Pace
from nightune.models.engines.compiled.program import Program
from nightune.models.recipe.recipe import Recipe
from nightune.models.training.plan import EpochPlan


class CompiledProgram(Protocol):
    """A program that a backend has compiled. States may be used up: only the state returned is good afterwards."""

    program: Program
    pace: Pace

    def tags(self, recipe: Recipe) -> Mapping[str, str]:
        """Say how the recipe's trials are computed."""

    def put(self, state: State) -> State:
        """Return copies of a state's arrays on the device."""

    def parts(self, plan: EpochPlan) -> tuple[Part, ...]:
        """Lay out a plan."""

    def train(self, state: State, updates: Updates, before: Any, shape: Shape) -> tuple[State, Any, Any | None]:
        """Make the span's updates; return the sum of losses, added to that before it, and if it validates the outputs.

        Whether it validates is the third number of the span.
        """


@runtime_checkable
class ManyEpochs(Protocol):
    """Compiled programs that compute several epochs in one call, where a backend gains by it."""

    def epochs_at_once(self, state: State, plan: EpochPlan) -> int:
        """How many epochs of this layout `train_epochs` takes at most; 1: it is not to be called."""

    def train_epochs(
        self, state: State, numbers: Sequence[np.ndarray], plans: Sequence[EpochPlan]
    ) -> tuple[State, np.ndarray, np.ndarray, list[list[np.ndarray]]]:
        """Carry out plans of one layout; return each one's sum of losses, its outputs and its weights."""
