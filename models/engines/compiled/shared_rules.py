"""The rules of many optimizers in one program: weights and slots as vectors, and a switch between Keras' own rules.

Each of these rules computes the step of a weight from its own gradient and slots, so that the weights of all layers can
be one vector. Decay, penalties, clipping and rule are then a few operations whatever the model, and data decides which
rule is applied: the optimizers of a search space share one program.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from nightune.models.engines.compiled.arrays import Arrays, State, Update
from nightune.models.engines.compiled.traced_optimizers import Hyperparameters, build_shared_optimizer
from nightune.models.engines.compiled.update_rule import Pairs
from nightune.models.engines.keras_parts.single_replica import without_replicas
from nightune.models.engines.keras_parts.traced_scalar import Hyperparameter
from nightune.models.engines.keras_parts.updates import decayed_weights
from nightune.models.library_internals.optimizers import nadam_product, writes_gradients
from nightune.models.recipe.recipe import Recipe
from nightune.models.techniques.optimizers.optimizers import SHARED_RULES

MAXIMUM_WEIGHTS = 2**24  # a program of a larger model is worth its compilation; copies of its gradients are not
ROWS = 2  # slots for each weight


def can_share(model: keras.Model) -> bool:
    """Return whether the trainable weights of a model can be one vector, updated by a rule without constraints."""
    weights = model.trainable_variables
    return 0 < sum(map(_size, weights)) <= MAXIMUM_WEIGHTS and all(
        weight.dtype == "float32" and weight.constraint is None and not writes_gradients(weight) for weight in weights
    )


class SharedRules:
    """Some shared rules for one model, None for all.

    A state has one vector of weights; its slots are two vectors and two scalars, whatever the rules.
    """

    adds_penalty = True

    def __init__(
        self, model: keras.Model, l1: Hyperparameter, l2: Hyperparameter, rules: frozenset[str] | None = None
    ) -> None:
        weights, kernels = model.trainable_variables, {id(kernel) for kernel in decayed_weights(model)}
        self._shapes = [tuple(weight.shape) for weight in weights]
        self._sizes = [_size(weight) for weight in weights]
        # Kernels first, so that a place in the vector shows whether it is decayed.
        self._order = sorted(range(len(weights)), key=lambda index: id(weights[index]) not in kernels)
        self._kernel_count = sum(_size(weight) for weight in weights if id(weight) in kernels)
        self._l1, self._l2 = l1, l2
        self._decays_all, self._clip_limit = Hyperparameter(0.0, "decays_all"), Hyperparameter(np.inf, "clip_limit")
        self._vector, *rows = (_vector(sum(self._sizes), name) for name in ("weights", *("slot",) * ROWS))
        self._known: Hyperparameters = {}
        self._optimizers = {
            name: without_replicas(build_shared_optimizer(settings, self._vector, rows, self._known))
            for name, settings in SHARED_RULES.items()
            if rules is None or name in rules
        }
        nadam = self._optimizers.get("nadam")
        product = _scalar("product") if nadam is None else nadam_product(nadam)
        self._slots = [*rows, product]

    @property
    def hyperparameters(self) -> list[Hyperparameter]:
        """The variables of the numbers of all rules."""
        return [self._decays_all, self._clip_limit, *(variable for variable, _ in self._known.values())]

    def values(self, recipe: Recipe) -> list[float]:
        """Return the values of the hyperparameters; those that the recipe's rule does not read are its defaults."""
        settings = recipe.optimizer
        limit = settings.gradient_clip_limit if settings.gradient_clip_kind == "value" else np.inf
        decays_all = float(recipe.weight_decay.scope == "all")
        return [decays_all, limit, *(read(recipe) for _, read in self._known.values())]

    def index(self, recipe: Recipe) -> int:
        """Return the recipe's rule."""
        return list(self._optimizers).index(str(recipe.optimizer.shared_rule))

    def start(self, weights: Sequence[Any], recipe: Recipe) -> tuple[Arrays, Arrays]:
        """Return the vector of weights, and the initial slots."""
        vector = np.concatenate([np.asarray(weights[index], np.float32).ravel() for index in self._order])
        settings = recipe.optimizer
        first = settings.initial_accumulator if settings.kind == "adagrad" else 0.0
        rows = [np.full_like(vector, value) for value in (first, *(0.0,) * (ROWS - 1))]
        iterations = ops.convert_to_numpy(next(iter(self._optimizers.values())).iterations)
        return [vector], [iterations, *rows, np.float32(1.0)]

    def trained(self, state: State) -> Arrays:
        """Return the weights: slices of the vector."""
        weights: Arrays = [None] * len(self._order)
        parts = _cut(state.trainable[0], [self._sizes[index] for index in self._order])
        for index, part in zip(self._order, parts, strict=True):
            reshape = np.reshape if isinstance(part, np.ndarray) else ops.reshape
            weights[index] = reshape(part, self._shapes[index])
        return weights

    def evaluated(self, state: State) -> Arrays:
        """Return the weights."""
        return self.trained(state)

    def joined(self, gradients: Arrays) -> Arrays:
        """Return the gradients as one vector."""
        return [ops.concatenate([ops.reshape(gradients[index], (-1,)) for index in self._order])]

    def apply(self, state: State, gradients: Arrays, update: Update, hyperparameters: Pairs) -> tuple[Arrays, Arrays]:
        """Apply penalties, clipping, weight decay and the rule's step; return the vector and the slots."""
        with keras.StatelessScope(hyperparameters):
            # Once, before the switch: each rule reads the result several times.
            gradient = self._clipped(gradients[0] + self._penalty_gradient(state.trainable[0]))
        branches = [partial(self._step, [*hyperparameters], optimizer) for optimizer in self._optimizers.values()]
        moved = ops.switch(update.rule, branches, gradient, update.rates, state.trainable[0], *state.slots)
        return [moved[0]], [state.slots[0] + 1, *moved[1:]]

    def _is_kernel(self) -> Any:
        return ops.arange(sum(self._sizes), dtype="int32") < self._kernel_count

    def _penalty_gradient(self, vector: Any) -> Any:
        l1, l2 = (ops.where(self._is_kernel(), strength.value, 0.0) for strength in (self._l1, self._l2))
        return l2 * (2.0 * vector) + l1 * ops.sign(vector)

    def _clipped(self, gradient: Any) -> Any:
        limit = self._clip_limit.value
        return ops.clip(gradient, -limit, limit)

    def _step(
        self, hyperparameters: Pairs, optimizer: Any, gradient: Any, rates: Any, vector: Any, *slots: Any
    ) -> list[Any]:
        """Return the vector of weights and the slots, except the iterations, after decay and the step of a rule."""
        values = zip((self._vector, optimizer.iterations, *self._slots), (vector, *slots), strict=True)
        with keras.StatelessScope([*values, (optimizer.learning_rate, rates[0]), *hyperparameters]) as scope:
            is_decayed = ops.logical_or(self._is_kernel(), self._decays_all.value > 0)
            self._vector.assign(vector - vector * ops.where(is_decayed, rates[1], 0.0))
            optimizer.apply([gradient], [self._vector])
            return [scope.get_current_value(variable) for variable in (self._vector, *self._slots)]


def _cut(vector: Any, sizes: Sequence[int]) -> Sequence[Any]:
    """Cut a vector into parts: in TensorFlow by one operation, where each slice would be traced as eight."""
    if keras.backend.backend() == "tensorflow" and not isinstance(vector, np.ndarray):
        import tensorflow as tf  # noqa: PLC0415 - the backend

        parts: Sequence[Any] = tf.split(vector, sizes)
        return parts
    ends = np.cumsum(sizes)
    return [vector[end - size : end] for size, end in zip(sizes, ends.tolist(), strict=True)]


def _size(weight: Any) -> int:
    return int(np.prod(weight.shape, dtype=np.int64))


def _scalar(name: str) -> keras.Variable:
    return keras.Variable(1.0, dtype="float32", trainable=False, name=name)


def _vector(size: int, name: str) -> keras.Variable:
    return keras.Variable(np.zeros(size, np.float32), dtype="float32", trainable=True, name=name)
