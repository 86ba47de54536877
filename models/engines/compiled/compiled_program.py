"""The interface of a program that a backend has compiled, together with the data that it reads."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np

from nightune.models.engines.compiled.arrays import Data, State, Updates
from nightune.models.engines.compiled.batch_layout import Part, Shape
from nightune.models.engines.compiled.first_calls import FirstCalls
from nightune.models.engines.compiled.pace import Pace
from nightune.models.engines.compiled.program import Program
from nightune.models.recipe.recipe import Recipe
from nightune.models.training.plan import EpochPlan


class CompiledProgram(Protocol):
    """A program that a backend has compiled. Methods may donate the state they receive: use only the state returned."""

    program: Program
    pace: Pace
    first_calls: FirstCalls

    def tags(self, recipe: Recipe) -> Mapping[str, str]:
        """Return tags on how the recipe's trials are computed."""

    def with_data(self, program: Program, data: Data) -> Self:
        """Return the same compiled functions with other data of the same shapes, and the numbers of its program."""

    def put(self, state: State) -> State:
        """Return copies of a state's arrays on the device."""

    def parts(self, plan: EpochPlan) -> tuple[Part, ...]:
        """Lay out a plan."""

    def train(self, state: State, updates: Updates, before: Any, shape: Shape) -> tuple[State, Any, Any | None]:
        """Execute the span's updates; return the state, the sum of losses, and the validation outputs.

        The sum starts from `before`. The outputs are valid if the third number of the span requests validation.
        """

    def would_compile(self, shape: Shape, length: int, capacity: int) -> bool:
        """Return whether `compile_ahead` would begin a function: with an order of this length, and room for updates."""

    def compile_ahead(self, state: State, updates: Updates, before: Any, shape: Shape) -> None:
        """Trace the function that `train` calls with such arguments, and compile it beside what follows.

        Nothing happens where that does not take the time of a later call.
        """


@runtime_checkable
class ManyEpochs(Protocol):
    """Compiled programs that can compute several epochs in one call, for backends on which that is faster."""

    def epochs_at_once(self, state: State, plan: EpochPlan) -> int:
        """Return the maximum number of epochs of this layout for `train_epochs`; 1: do not call it."""

    def train_epochs(
        self, state: State, hyperparameters: Sequence[np.ndarray], rule: np.int32, plans: Sequence[EpochPlan]
    ) -> tuple[State, np.ndarray, np.ndarray, list[list[np.ndarray]]]:
        """Execute plans of one layout by one rule; return the state, and each epoch's loss, outputs and weights."""


class Backend(Protocol):
    """The operations that the engine requires of a backend."""

    name: str
    is_shape_bound: bool  # without padding, each batch size requires its own compilation

    @property
    def device(self) -> str:
        """A description of the device that computes."""

    def put_data(self, data: Data) -> Data:
        """Copy the data to the device."""

    def compile(self, program: Program, data: Data) -> CompiledProgram:
        """Return the program's functions with their data; a function may be compiled at its first call."""
