"""Weight decay and penalties, which each update applies beside the optimizer's own rule.

Both act on the kernels by default. Their strengths are variables: a traced program contains floats as constants.
"""

import logging
from functools import cache
from typing import Any

import keras
from keras import layers, ops

from nightune.models.engines.keras_parts.cycled_momentum import cycling, with_velocity_slots
from nightune.models.engines.keras_parts.muon_matrices import exclude_from_muon
from nightune.models.engines.keras_parts.proximal import thresholding
from nightune.models.library_internals.models import all_layers
from nightune.models.recipe.recipe import Recipe
from nightune.models.techniques.optimizers.averaging import AVERAGES, averaging
from nightune.models.techniques.optimizers.gradients import with_dense_gradients
from nightune.models.techniques.optimizers.hypergradient import Hypergradient, following_hypergradient
from nightune.models.techniques.optimizers.optimizers import build_optimizer

logger = logging.getLogger("nightune")

# The weights of these layers are scales, offsets, slopes and tables, not kernels.
_WITHOUT_KERNELS = (
    layers.BatchNormalization,
    layers.LayerNormalization,
    layers.GroupNormalization,
    layers.RMSNormalization,
    layers.Embedding,
    layers.PReLU,
)


def decayed_weights(model: keras.Model) -> list[keras.Variable]:
    """Return the trainable kernels: weights of rank two or more, without biases, normalization and embedding layers.

    Biases of GRU and of attention layers have two dimensions, too.
    """
    without = {
        id(variable)
        for layer in all_layers(model)
        if isinstance(layer, _WITHOUT_KERNELS)
        for variable in layer.trainable_variables
    }
    return [
        variable
        for variable in model.trainable_variables
        if len(variable.shape) >= 2 and "bias" not in variable.name and id(variable) not in without
    ]


def shrunk_weights(recipe: Recipe, model: keras.Model) -> list[keras.Variable]:
    """Return the weights within the scope of weight decay."""
    return list(model.trainable_variables) if recipe.weight_decay.scope == "all" else decayed_weights(model)


def build_recipe_optimizer(recipe: Recipe, model: keras.Model, *, always_decays: bool = False) -> Any:
    """Return an optimizer, not yet built, that applies everything in an update that the recipe asks for.

    With weight decay, or with `always_decays`, it has a variable `shrink`, which the engine sets before each update.
    """
    settings, kernels = recipe.optimizer, decayed_weights(model)
    plain = build_optimizer(with_velocity_slots(settings) if recipe.learning_rate.cycles_momentum else settings)
    if settings.kind == "muon":
        left = ", ".join(exclude_from_muon(plain, model, kernels)) or "none"
        _log_once(f"muon · Adam updates all weights that are not matrices, and these matrices: {left}")
    kind = type(plain)
    if recipe.learning_rate.cycles_momentum:
        kind = cycling(kind, settings)
    if recipe.learning_rate.hypergradient_strength:
        kind = following_hypergradient(kind, _hypergradient(recipe))
    if recipe.penalty.kind == "l1_proximal":
        kind = thresholding(kind, kernels)
    if always_decays or recipe.weight_decay.profile != "none":
        kind = decaying(kind, shrunk_weights(recipe, model))
    if settings.weight_average_kind != "none":
        kind = averaging(kind, AVERAGES[settings.weight_average_kind], settings.weight_average_one_minus_decay)
    return with_dense_gradients(plain if kind is type(plain) else kind.from_config(plain.get_config()))


def _hypergradient(recipe: Recipe) -> Hypergradient:
    settings = recipe.learning_rate
    return Hypergradient(
        settings.hypergradient_strength,
        settings.hypergradient_minimum,
        settings.hypergradient_maximum,
        is_multiplicative=recipe.optimizer.kind in ("adam", "adamw"),
    )


@cache
def _log_once(message: str) -> None:
    """Log a message once per process: all trials of one shape would repeat it."""
    logger.info(message)


def decaying(kind: Any, decayed: list[keras.Variable]) -> Any:
    """Return the class of optimizers with a variable `shrink`, s: each update first subtracts s·θ from every decayed θ.

    An optimizer whose steps do not start at θ defines its own `decay`.
    """

    class Decaying(kind):  # one subclass for each of Keras' optimizers
        def build(self, variables: list[keras.Variable]) -> None:
            super().build(variables)
            self.shrink = self.add_variable(shape=(), name="shrink")

        def apply(self, grads: list[Any], trainable_variables: list[keras.Variable] | None = None) -> None:
            decay = getattr(self, "decay", _decay)
            for variable in decayed:
                decay(variable, self.shrink)
            super().apply(grads, trainable_variables)

    return Decaying


def _decay(variable: keras.Variable, shrink: Any) -> None:
    # θ − sθ, not θ(1 − s): rounding 1 − s to float32 would add the same relative error to every weight.
    variable.assign(variable - variable * shrink)


class Penalty:
    """l1·Σ|θ| + l2·Σθ² over some weights, added to the training loss; the strengths may change between epochs."""

    def __init__(self, weights: list[keras.Variable]) -> None:
        self.strengths = (0.0, 0.0)
        self._variables = tuple(keras.Variable(0.0, trainable=False, name=name) for name in ("l1", "l2"))
        l1, l2 = self._variables
        for weight in weights:
            # Set on the variable, not on its layer, so that it is not saved with the model.
            weight.regularizer = _ElasticNet(l1, l2, weight.regularizer)

    def write(self, l1: float, l2: float) -> bool:
        """Set the strengths; return True if they changed."""
        is_new = self.strengths != (l1, l2)
        if is_new:
            self.strengths = (l1, l2)
            for variable, strength in zip(self._variables, self.strengths, strict=True):
                variable.assign(strength)
        return is_new


class _ElasticNet(keras.Regularizer):
    """The penalty of one weight, added to the regularizer that the user's model defines for it."""

    def __init__(self, l1: keras.Variable, l2: keras.Variable, own: Any) -> None:
        self._l1, self._l2, self._own = l1, l2, own

    def __call__(self, x: Any) -> Any:
        penalty = self._l1 * ops.sum(ops.abs(x)) + self._l2 * ops.sum(ops.square(x))
        return penalty if self._own is None else penalty + self._own(x)
