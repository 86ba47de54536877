"""The interface of the part of a program that moves the weights."""

from collections.abc import Sequence
from typing import Any, Protocol

from nightune.models.engines.compiled.arrays import Arrays, State, Update
from nightune.models.engines.keras_parts.traced_scalar import Hyperparameter
from nightune.models.recipe.recipe import Recipe

Pairs = list[tuple[Any, Any]]  # variables of Keras, and their values in a `StatelessScope`


class UpdateRule(Protocol):
    """Moves the weights by their gradients, and determines the form of weights and slots in a state."""

    adds_penalty: bool  # True if `apply` adds the gradient of the L1 and L2 penalties itself

    @property
    def hyperparameters(self) -> list[Hyperparameter]:
        """The variables of the rule's numbers."""

    def values(self, recipe: Recipe) -> list[float]:
        """Return the values of the hyperparameters."""

    def index(self, recipe: Recipe) -> int:
        """Return the recipe's rule, where there are several."""

    def start(self, weights: Sequence[Any], recipe: Recipe) -> tuple[Arrays, Arrays]:
        """Return the weights as a state holds them, and the initial slots."""

    def trained(self, state: State) -> Arrays:
        """Return the trainable weights, in the model's order."""

    def evaluated(self, state: State) -> Arrays:
        """Return the trainable weights used for evaluation."""

    def joined(self, gradients: Arrays) -> Arrays:
        """Return the gradients of the weights as a state holds the weights."""

    def apply(self, state: State, gradients: Arrays, update: Update, hyperparameters: Pairs) -> tuple[Arrays, Arrays]:
        """Apply decay and the rule's step by joined gradients; return the weights as a state holds them, and slots."""
