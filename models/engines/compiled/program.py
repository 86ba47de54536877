"""The computation that trials of one graph key share, as pure functions that a backend can compile."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from nightune.models.engines.compiled.arrays import Arrays, Batch, State, Update
from nightune.models.engines.compiled.initial_weights import InitialWeights
from nightune.models.engines.compiled.own_rule import OwnRule
from nightune.models.engines.compiled.shared_rules import SharedRules, can_share
from nightune.models.engines.compiled.update_rule import UpdateRule
from nightune.models.engines.keras_parts.evaluated_weights import EFFECTIVE_RATE
from nightune.models.engines.keras_parts.masked_statistics import statistics_of_rows
from nightune.models.engines.keras_parts.model_traits import dropout_layers, has_convolutions
from nightune.models.engines.keras_parts.penalty_measurements import ZERO_SHARE, share_of_zeros
from nightune.models.engines.keras_parts.traced_scalar import Hyperparameter, make_variable, make_vector
from nightune.models.engines.keras_parts.updates import decayed_weights
from nightune.models.library_internals.models import random_states
from nightune.models.library_internals.random_numbers import drawn_states
from nightune.models.networks.class_factors import ClassFactors
from nightune.models.networks.heads import Head
from nightune.models.networks.noise import block_of_batch, hashed_noise
from nightune.models.recipe.recipe import Recipe
from nightune.models.serving.input_trees import arrays_of
from nightune.models.training.graph_key import has_shared_rule
from nightune.models.training.model_key import has_dropout_as_data
from nightune.models.training.plan import EpochPlan
from nightune.models.training.row_weights import ClassWeights
from nightune.models.training.seeds import Seeds, seed_dropout

_OTHER_SEEDS = (
    "the model draws random numbers without a seed generator of its own; only fit advances Keras' global one (give "
    "keras.random seed=self.seeds, with self.seeds = keras.random.SeedGenerator() in __init__)"
)


@dataclass(frozen=True)
class Form:
    """What is known of a model's examples in a batch, and its dropout rates that are data.

    `is_separable`: a batch's gradient is the sum of its examples' gradients. `predicts_rows_apart`: in inference mode
    an example's outputs do not depend on the others. `own_rates` returns the dropout rates of a recipe that are data,
    as its user's function sets nothing else by them. `rules`: those that the program may hold beside each other, None
    for all. `normalizations`: the layers through which alone examples depend on each other. `keys` are those of the
    program if its rules can be shared, and if they cannot.
    """

    is_separable: bool
    predicts_rows_apart: bool = False
    own_rates: Callable[[Recipe], Sequence[float]] = lambda _: ()
    rules: frozenset[str] | None = None
    normalizations: Sequence[Any] = ()
    keys: tuple[str, str] = ("", "")


class Program:
    """One graph as pure functions of states and hyperparameters.

    `initial` draws the initial weights of a trial; None for a second phase, which begins with those of the first one.
    """

    def __init__(
        self,
        model: keras.Model,
        head: Head,
        recipe: Recipe,
        initial: InitialWeights | None,
        classes: ClassWeights,
        form: Form,
    ) -> None:
        self.head, self.is_separable, self.predicts_rows_apart = head, form.is_separable, form.predicts_rows_apart
        self._normalizations = form.normalizations
        self._classes = classes if recipe.training.has_class_weights else None
        self._model, self._initial = model, initial
        self.trainable = model.trainable_variables
        self.non_trainable = model.non_trainable_variables  # moving statistics, states of random streams
        # Weights of classes that are a part of the loss; else they are weights of rows.
        self._factors = make_vector(classes.count) if self._classes is not None and head.weighs_classes else None
        factors = None if self._factors is None else ClassFactors(self._factors)
        self._loss = self._trained_loss = head.make_loss(classes=factors)
        self._smoothing = [Hyperparameter(0.0, "label_smoothing")] if recipe.penalty.label_smoothing else []
        if self._smoothing:
            self._trained_loss = head.make_loss(self._smoothing[0], factors)
        self._l1, self._l2 = Hyperparameter(0.0, "l1"), Hyperparameter(0.0, "l2")
        self.has_shared_rules = has_shared_rule(recipe, form.rules) and can_share(model)
        self.key = form.keys[0 if self.has_shared_rules else 1]
        self._rule: UpdateRule = (
            SharedRules(model, self._l1, self._l2, form.rules) if self.has_shared_rules else OwnRule(recipe, model)
        )
        self._kernels = decayed_weights(model)
        self._optimizer: Any = getattr(self._rule, "optimizer", None)  # of an own rule
        self._own_rates = form.own_rates
        has_rates = has_dropout_as_data(recipe) or form.own_rates(recipe)
        dropouts = [layer for layer in dropout_layers(model) if layer.rate > 0.0] if has_rates else []
        self._dropouts = [make_variable(layer, "rate") for layer in dropouts]
        proximal = getattr(self._optimizer, "proximal", None)
        self._proximal = [] if proximal is None else [proximal]
        self._hyperparameters = [
            self._l1,
            self._l2,
            *self._proximal,
            *self._dropouts,
            *self._smoothing,
            *self._rule.hyperparameters,
        ]
        self.has_convolutions = has_convolutions(model)
        streams = {id(state) for state in random_states(model)}
        self._is_stream = [id(variable) in streams for variable in self.non_trainable]
        indices = {id(variable): index for index, variable in enumerate([*self.trainable, *self.non_trainable])}
        self._weight_indices = [indices[id(weight)] for weight in model.weights]
        count = len(self.trainable)
        self._kept_indices = sorted(index - count for index in self._weight_indices if index >= count)
        self._variable_indices = [indices[id(variable)] for variable in model.variables]

    def with_classes(self, classes: ClassWeights) -> "Program":
        """Return the same program with the weights of other rows' classes."""
        other = copy.copy(self)
        other._classes = None if self._classes is None else classes
        return other

    @property
    def is_maskable(self) -> bool:
        """True if a batch may be padded, though its examples depend on each other: `Batch.is_real` is then read."""
        return bool(self._normalizations)

    @property
    def changing_count(self) -> int:
        """How many of the first hyperparameters can change between the epochs of a trial."""
        return 2 + len(self._proximal)

    @property
    def hyperparameter_count(self) -> int:
        """The length of the vector that `hyperparameters` returns."""
        return len(self._hyperparameters) + (0 if self._classes is None else self._classes.count)

    def hyperparameters(self, recipe: Recipe, plan: EpochPlan) -> np.ndarray:
        """Return the values of all hyperparameters that are constant within an epoch, as one float32 vector."""
        own = self._own_rates(recipe) if self._dropouts else ()
        dropouts = own or [recipe.model["dropout"] for _ in self._dropouts]
        smoothing = [recipe.penalty.label_smoothing for _ in self._smoothing]
        proximal = [plan.proximal for _ in self._proximal]
        classes = () if self._classes is None else self._classes.of(recipe.training.class_weight)
        numbers = [plan.l1, plan.l2, *proximal, *dropouts, *smoothing, *self._rule.values(recipe), *classes]
        return np.array(numbers, np.float32)

    def rule_index(self, recipe: Recipe) -> np.int32:
        """Return the index of the recipe's update rule, for `Updates`."""
        return np.int32(self._rule.index(recipe))

    def start(self, recipe: Recipe, seeds: Seeds) -> State:
        """Return a trial's initial state: weights and random streams from its seeds, and the slots of its recipe."""
        assert self._initial is not None
        seed_dropout(self._model, seeds.dropout)
        weights = self._initial.draw(seeds.weights)
        values = [None] * len(self.trainable) + [ops.convert_to_numpy(variable) for variable in self.non_trainable]
        for index, weight in zip(self._weight_indices, weights, strict=True):
            values[index] = weight
        count = len(self.trainable)
        trainable, slots = self._rule.start(values[:count], recipe)
        return State(trainable, values[count:], slots)

    def begin(self, variables: Sequence[Any], recipe: Recipe) -> State:
        """Return the first state of a second phase, on the host: the model's variables in its order, and new slots."""
        values: Arrays = [None] * len(variables)
        for index, variable in zip(self._variable_indices, variables, strict=True):
            values[index] = np.array(variable)
        count = len(self.trainable)
        trainable, slots = self._rule.start(values[:count], recipe)
        return State(trainable, values[count:], slots)

    def variables(self, state: State) -> Arrays:
        """Return the model's variables in its order, random streams among them; weights are those of evaluation."""
        values = [*self.evaluated(state), *state.non_trainable]
        return [values[index] for index in self._variable_indices]

    def weights(self, state: State) -> Arrays:
        """Return the weights used for evaluation, in the model's order."""
        values = [*self.evaluated(state), *state.non_trainable]
        return [values[index] for index in self._weight_indices]

    def kept(self, state: State) -> Arrays:
        """Return the arrays of a state from which `weights_of` takes the weights used for evaluation: few of them."""
        if not self.has_shared_rules:
            return self.weights(state)
        return [*state.trainable, *(state.non_trainable[index] for index in self._kept_indices)]

    def weights_of(self, kept: Arrays) -> Arrays:
        """Return the weights used for evaluation, in the model's order: views of arrays on the host."""
        if not self.has_shared_rules:
            return kept
        non_trainable = [None] * len(self.non_trainable)
        for index, array in zip(self._kept_indices, kept[1:], strict=True):
            non_trainable[index] = array
        return self.weights(State(kept[:1], non_trainable, []))

    def copied_weights(self, state: State) -> list[np.ndarray]:
        """Return copies on the host of the weights used for evaluation, in the model's order."""
        if self.has_shared_rules:  # one copy from the device, then slices of it
            state = state._replace(trainable=[np.asarray(vector) for vector in state.trainable])
        return [np.array(weight) for weight in self.weights(state)]

    def trained(self, state: State) -> Arrays:
        """Return the trainable weights, in the model's order."""
        return self._rule.trained(state)

    def evaluated(self, state: State) -> Arrays:
        """Return the trainable weights used for evaluation: the optimizer's averages if it has any."""
        return self._rule.evaluated(state)

    @property
    def has_statistics(self) -> bool:
        """True if `statistics` returns any."""
        return bool(self._proximal) or hasattr(self._optimizer, "effective_rate")

    def statistics(self, state: State) -> dict[str, float]:
        """Return statistics after an epoch, by curve: the optimizer's adapted rate, and the kernels' share of zeros."""
        statistics: dict[str, float] = {}
        if isinstance(self._rule, OwnRule) and hasattr(self._optimizer, "effective_rate"):
            statistics[EFFECTIVE_RATE] = float(self._rule.slot(state, self._optimizer.effective_rate))
        if self._proximal:
            kernels = {id(kernel) for kernel in self._kernels}
            pairs = zip(self.trainable, self.evaluated(state), strict=True)
            statistics[ZERO_SHARE] = share_of_zeros(
                np.asarray(value) for variable, value in pairs if id(variable) in kernels
            )
        return statistics

    def loss(
        self, trainable: Arrays, non_trainable: Arrays, hyperparameters: Any, batch: Batch
    ) -> tuple[Any, tuple[Any, Arrays]]:
        """Return the minimized loss and, as auxiliary output, the plain loss and the new non-trainable variables.

        Both are weighted sums over examples; the minimized one has label smoothing and the losses that layers add.
        ValueError for a model that draws from seed generators other than its own: a program would not advance them.
        """
        mapping = self._mapping(trainable, non_trainable, hyperparameters)
        with keras.StatelessScope(mapping, collect_losses=True) as scope:
            is_real = statistics_of_rows(self._normalizations, batch.is_real)
            block = block_of_batch(arrays_of(batch.inputs)[0].shape[0], batch.first)
            with hashed_noise(), drawn_states() as drawn, block, is_real:
                outputs = to_weights_dtype(self._model(batch.inputs, training=True))
            loss = minimized = ops.sum(self._loss.call(batch.targets, outputs) * batch.weights)
            if self._smoothing:
                minimized = ops.sum(self._trained_loss.call(batch.targets, outputs) * batch.weights)
            added = sum(scope.losses, start=ops.zeros(()))
            non_trainable = [scope.get_current_value(variable) for variable in self.non_trainable]
        own = {id(variable) for variable in self.non_trainable}
        if any(id(state) not in own for state in drawn):
            raise ValueError(_OTHER_SEEDS)
        return minimized + added, (loss, non_trainable)

    def weighted(self, shares: Any, targets: Any, weights: Any, hyperparameters: Any) -> Any:
        """Return the weights of examples in their batch's mean: shares, times weights of rows (or None) and classes."""
        if weights is not None:
            shares = shares * weights
        if self._classes is not None and self._factors is None:
            of_classes = hyperparameters[len(self._hyperparameters) :]
            shares = shares * ops.take(of_classes, ops.cast(ops.reshape(targets, (-1,)), "int32"))
        return shares

    def with_streams_of(self, non_trainable: Arrays, other: Arrays) -> Arrays:
        """Return the variables with the random streams of others: blocks of one batch draw from the same states."""
        triples = zip(self._is_stream, non_trainable, other, strict=True)
        return [theirs if is_stream else own for is_stream, own, theirs in triples]

    def penalty(self, trainable: Arrays, hyperparameters: Any) -> Any:
        """Return l1·Σ|θ| + l2·Σθ² over the kernels, unless the rule adds it, plus the model's own regularizers."""
        with keras.StatelessScope(self._mapping(trainable, [], hyperparameters)):
            penalty = ops.zeros(())
            for weight in () if self._rule.adds_penalty else self._kernels:
                value = weight.value
                penalty += self._l1.value * ops.sum(ops.abs(value)) + self._l2.value * ops.sum(ops.square(value))
            for variable in self.trainable:
                if variable.regularizer is not None:
                    penalty += variable.regularizer(variable.value)
        return penalty

    def joined(self, gradients: Arrays) -> Arrays:
        """Return the gradients of the weights, in the model's order, as a state holds the weights."""
        return self._rule.joined(gradients)

    def apply(self, state: State, gradients: Arrays, update: Update) -> State:
        """Apply weight decay and the step of the update's rule; `gradients` are joined."""
        hyperparameters = self._mapping([], [], update.hyperparameters)
        trainable, slots = self._rule.apply(state, gradients, update, hyperparameters)
        return State(trainable, state.non_trainable, slots)

    def predict(self, trainable: Arrays, non_trainable: Arrays, hyperparameters: Any, inputs: Any) -> Any:
        """Return the outputs in inference mode, (examples, size)."""
        with keras.StatelessScope(self._mapping(trainable, non_trainable, hyperparameters)):
            return to_weights_dtype(self._model(inputs, training=False))

    def _mapping(self, trainable: Arrays, non_trainable: Arrays, hyperparameters: Any) -> list[tuple[Any, Any]]:
        count = len(self._hyperparameters)
        numbers = hyperparameters if self._classes is None else hyperparameters[:count]
        values = ops.unstack(numbers, count)  # one operation; TensorFlow traces eight for each `hyperparameters[index]`
        non_trainable_pairs = zip(self.non_trainable, non_trainable, strict=False)
        factors = [] if self._factors is None else [(self._factors, hyperparameters[count:])]
        return [
            *factors,
            *zip(self.trainable, trainable, strict=False),
            *non_trainable_pairs,
            *zip(self._hyperparameters, values, strict=True),
        ]


def to_weights_dtype(outputs: Any) -> Any:
    """Cast outputs to the type of stored weights: in mixed precision a layer computes in fewer bits."""
    return ops.cast(outputs, keras.config.floatx())
