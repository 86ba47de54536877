"""Programs: what the trials of one graph key share, as functions of state and numbers that a backend can compile."""

from typing import Any

import keras
import numpy as np
from keras import ops

from nightune.models.engines.compiled.arrays import Arrays, Batch, State
from nightune.models.engines.compiled.initial_weights import InitialWeights
from nightune.models.engines.compiled.traced_optimizers import build_numbered_optimizer, initial_slots
from nightune.models.engines.keras_parts.evaluated_weights import EFFECTIVE_RATE
from nightune.models.engines.keras_parts.model_traits import dropout_layers, has_convolutions, is_noisy, is_separable
from nightune.models.engines.keras_parts.penalty_measurements import ZERO_SHARE, share_of_zeros
from nightune.models.engines.keras_parts.single_replica import without_replicas
from nightune.models.engines.keras_parts.traced_scalar import Hyperparameter, make_variable
from nightune.models.engines.keras_parts.updates import decayed_weights
from nightune.models.networks.heads import Head
from nightune.models.recipe.recipe import Recipe
from nightune.models.training.model_key import has_dropout_as_data
from nightune.models.training.plan import EpochPlan
from nightune.models.training.seeds import Seeds, seed_dropout


class Program:
    """One graph as pure functions of states and numbers; `initial` draws the weights that a trial starts from."""

    def __init__(self, model: keras.Model, head: Head, recipe: Recipe, initial: InitialWeights) -> None:
        self.head = head
        self._model, self._initial = model, initial
        self.trainable = model.trainable_variables
        self.rest = model.non_trainable_variables  # moving statistics, states of random streams
        self._loss = self._trained_loss = head.make_loss()
        self._smoothing = [Hyperparameter(0.0, "label_smoothing")] if recipe.penalty.label_smoothing else []
        if self._smoothing:
            self._trained_loss = head.make_loss(self._smoothing[0])
        self._decayed = decayed_weights(model)
        optimizer, self._optimizer_numbers = build_numbered_optimizer(recipe, model)
        self._optimizer = without_replicas(optimizer)
        self.slots = self._optimizer.variables
        self._l1, self._l2 = Hyperparameter(0.0, "l1"), Hyperparameter(0.0, "l2")
        dropouts = dropout_layers(model) if has_dropout_as_data(recipe) else []
        self._dropouts = [make_variable(layer, "rate") for layer in dropouts]
        rule = [variable for variable, _ in self._optimizer_numbers.values()]
        self._proximal = [self._optimizer.proximal] if hasattr(self._optimizer, "proximal") else []
        self._numbers = [self._l1, self._l2, *self._dropouts, *self._smoothing, *self._proximal, *rule]
        self.is_separable = is_separable(model)
        self.has_convolutions = has_convolutions(model)
        self.has_noise_of_its_own = is_noisy(model) and not self._dropouts  # XLA draws other noise than `fit`
        places = {id(variable): place for place, variable in enumerate([*self.trainable, *self.rest])}
        self._weight_places = [places[id(weight)] for weight in model.weights]

    @property
    def numbers_count(self) -> int:
        """How many numbers `numbers` returns."""
        return len(self._numbers)

    def numbers(self, recipe: Recipe, plan: EpochPlan) -> np.ndarray:
        """The values of all that is data but does not change within an epoch, as one float32 vector."""
        rule = [read(recipe) for _, read in self._optimizer_numbers.values()]
        dropouts = [recipe.model["dropout"] for _ in self._dropouts]
        smoothing = [recipe.penalty.label_smoothing for _ in self._smoothing]
        proximal = [plan.proximal for _ in self._proximal]
        return np.array([plan.l1, plan.l2, *dropouts, *smoothing, *proximal, *rule], np.float32)

    def start(self, recipe: Recipe, seeds: Seeds) -> State:
        """Return a trial's first state: weights and random streams by its seeds, and the slots of the recipe."""
        seed_dropout(self._model, seeds.dropout)
        weights = self._initial.draw(seeds.weights)
        values = [None] * len(self.trainable) + [ops.convert_to_numpy(variable) for variable in self.rest]
        for place, weight in zip(self._weight_places, weights, strict=True):
            values[place] = weight
        count = len(self.trainable)
        return State(values[:count], values[count:], initial_slots(self._optimizer, recipe.optimizer))

    def weights(self, state: State) -> Arrays:
        """Return the weights of the model that is measured and kept, in its order."""
        values = [*self.evaluated(state), *state.rest]
        return [values[place] for place in self._weight_places]

    def evaluated(self, state: State) -> Arrays:
        """Return the trainable weights that are measured and kept: where the optimizer has averages, those."""
        if not hasattr(self._optimizer, "evaluation_values"):
            return state.trainable
        pairs = [*zip(self.trainable, state.trainable, strict=True), *zip(self.slots, state.slots, strict=True)]
        with keras.StatelessScope(pairs):
            return list(self._optimizer.evaluation_values())

    @property
    def has_statistics(self) -> bool:
        """True if an epoch has curves of its own."""
        return bool(self._proximal) or hasattr(self._optimizer, "effective_rate")

    def statistics(self, state: State) -> dict[str, float]:
        """The curves after an epoch: the rate that the optimizer found, and the share of exact zeros of the kernels."""
        found: dict[str, float] = {}
        if hasattr(self._optimizer, "effective_rate"):
            place = next(place for place, slot in enumerate(self.slots) if slot is self._optimizer.effective_rate)
            found[EFFECTIVE_RATE] = float(state.slots[place])
        if self._proximal:
            kernels = {id(kernel) for kernel in self._decayed}
            pairs = zip(self.trainable, self.evaluated(state), strict=True)
            found[ZERO_SHARE] = share_of_zeros(
                np.asarray(value) for variable, value in pairs if id(variable) in kernels
            )
        return found

    def loss(self, trainable: Arrays, rest: Arrays, numbers: Any, batch: Batch) -> tuple[Any, tuple[Any, Arrays]]:
        """Return the weighted sum of the examples' losses as it is minimized: smoothed, and with what layers add.

        And beside it the plain sum, and the rest.
        """
        with keras.StatelessScope(self._mapping(trainable, rest, numbers), collect_losses=True) as scope:
            outputs = as_kept(self._model(batch.inputs, training=True))
            loss = minimized = ops.sum(self._loss.call(batch.targets, outputs) * batch.weights)
            if self._smoothing:
                minimized = ops.sum(self._trained_loss.call(batch.targets, outputs) * batch.weights)
            added = sum(scope.losses, start=ops.zeros(()))
            rest = [scope.get_current_value(variable) for variable in self.rest]
        return minimized + added, (loss, rest)

    def penalty(self, trainable: Arrays, numbers: Any) -> Any:
        """Return l1·Σ|θ| + l2·Σθ² over the decayed weights, and the model's own regularizers."""
        with keras.StatelessScope(self._mapping(trainable, [], numbers)):
            penalty = ops.zeros(())
            for weight in self._decayed:
                value = weight.value
                penalty += self._l1.value * ops.sum(ops.abs(value)) + self._l2.value * ops.sum(ops.square(value))
            for variable in self.trainable:
                if variable.regularizer is not None:
                    penalty += variable.regularizer(variable.value)
        return penalty

    def apply(self, state: State, numbers: Any, gradients: Arrays, rates: Any) -> State:
        """Decay, and make the optimizer's step; rates: learning rate, shrink, and momentum where it moves."""
        # The numbers come last: some of them are slots, too, for the engine `fit`.
        mapping = list(zip(self.slots, state.slots, strict=True)) + self._mapping(state.trainable, [], numbers)
        mapping += [(self._optimizer._learning_rate, rates[0]), (self._optimizer.shrink, rates[1])]
        if hasattr(self._optimizer, "cycled"):
            mapping.append((self._optimizer.cycled, rates[2]))
        with keras.StatelessScope(mapping) as scope:
            self._optimizer.apply(gradients, self.trainable)
            moved = [scope.get_current_value(variable) for variable in self.trainable]
            slots = [scope.get_current_value(variable) for variable in self.slots]
        return State(moved, state.rest, slots)

    def predict(self, trainable: Arrays, rest: Arrays, numbers: Any, inputs: Any) -> Any:
        """Return outputs of these weights in inference mode, (examples, size)."""
        with keras.StatelessScope(self._mapping(trainable, rest, numbers)):
            return as_kept(self._model(inputs, training=False))

    def _mapping(self, trainable: Arrays, rest: Arrays, numbers: Any) -> list[tuple[Any, Any]]:
        values = [numbers[place] for place in range(len(self._numbers))]
        rest_pairs = zip(self.rest, rest, strict=False)
        return [*zip(self.trainable, trainable, strict=True), *rest_pairs, *zip(self._numbers, values, strict=True)]


def as_kept(outputs: Any) -> Any:
    """Outputs in the type that weights are kept in: in mixed precision a layer's own are of fewer bits."""
    return ops.cast(outputs, keras.config.floatx())
