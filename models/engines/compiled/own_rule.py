"""The update rule of one graph key: its optimizer, applied to the weights one by one."""

from collections.abc import Sequence
from typing import Any

import keras

from nightune.models.engines.compiled.arrays import Arrays, State, Update
from nightune.models.engines.compiled.traced_optimizers import build_traced_optimizer, initial_slots
from nightune.models.engines.compiled.update_rule import Pairs
from nightune.models.engines.keras_parts.single_replica import without_replicas
from nightune.models.engines.keras_parts.traced_scalar import Hyperparameter
from nightune.models.recipe.recipe import Recipe


class OwnRule:
    """The optimizer of a recipe, for all recipes of its graph key."""

    adds_penalty = False

    def __init__(self, recipe: Recipe, model: keras.Model) -> None:
        optimizer, self._hyperparameters = build_traced_optimizer(recipe, model)
        self.optimizer = without_replicas(optimizer)
        self._trainable = model.trainable_variables

    @property
    def hyperparameters(self) -> list[Hyperparameter]:
        """The variables of the rule's numbers."""
        return [variable for variable, _ in self._hyperparameters.values()]

    def values(self, recipe: Recipe) -> list[float]:
        """Return the values of the hyperparameters."""
        return [read(recipe) for _, read in self._hyperparameters.values()]

    def index(self, _recipe: Recipe) -> int:
        """Return 0: there is one rule."""
        return 0

    def start(self, weights: Sequence[Any], recipe: Recipe) -> tuple[Arrays, Arrays]:
        """Return the weights and the initial slots."""
        return list(weights), initial_slots(self.optimizer, recipe.optimizer)

    def trained(self, state: State) -> Arrays:
        """Return the weights."""
        return state.trainable

    def evaluated(self, state: State) -> Arrays:
        """Return the weights used for evaluation: the optimizer's averages if it has any."""
        if not hasattr(self.optimizer, "evaluation_values"):
            return state.trainable
        with keras.StatelessScope(self._pairs(state)):
            return list(self.optimizer.evaluation_values())

    def slot(self, state: State, variable: Any) -> Any:
        """Return the value of one of the optimizer's variables."""
        index = next(index for index, slot in enumerate(self.optimizer.variables) if slot is variable)
        return state.slots[index]

    def joined(self, gradients: Arrays) -> Arrays:
        """Return the gradients."""
        return gradients

    def apply(self, state: State, gradients: Arrays, update: Update, hyperparameters: Pairs) -> tuple[Arrays, Arrays]:
        """Apply weight decay and the optimizer's step; return the weights and slots."""
        optimizer, rates = self.optimizer, update.rates
        # Hyperparameters last, so that they override slots: for the engine `fit` some of them are slots.
        pairs = [*self._pairs(state), *hyperparameters]
        pairs += [(optimizer.learning_rate, rates[0]), (optimizer.shrink, rates[1])]
        if hasattr(optimizer, "cycled"):
            pairs.append((optimizer.cycled, rates[2]))
        with keras.StatelessScope(pairs) as scope:
            optimizer.apply(gradients, self._trainable)
            moved = [scope.get_current_value(variable) for variable in self._trainable]
            slots = [scope.get_current_value(variable) for variable in optimizer.variables]
        return moved, slots

    def _pairs(self, state: State) -> Pairs:
        slots = zip(self.optimizer.variables, state.slots, strict=True)
        return [*zip(self._trainable, state.trainable, strict=True), *slots]
