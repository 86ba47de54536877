"""What Keras does not document of optimizers: their slots, their hooks, and the update that all backends share."""

from collections.abc import Callable
from types import MethodType
from typing import Any, TypeVar

import keras
from keras.src.optimizers.base_optimizer import BaseOptimizer

Kind = TypeVar("Kind", bound=type)


def place_of(optimizer: Any, variable: Any) -> int:
    """Return the index of a trained variable, which is that of its slots as well."""
    return int(optimizer._get_variable_index(variable))


def trained_variables(optimizer: Any) -> list[Any]:
    """Return the variables that a built optimizer trains."""
    return list(optimizer._trainable_variables)


def adam_slots(optimizer: Any, place: int) -> tuple[Any, Any]:
    """Return Adam's means of a variable's gradients and of their squares."""
    return optimizer._momentums[place], optimizer._velocities[place]


def sgd_velocity(optimizer: Any, place: int) -> Any:
    """Return SGD's velocity of a variable; there is one where the momentum is above 0."""
    return optimizer.momentums[place]


def adagrad_sums(optimizer: Any) -> list[Any]:
    """Return Adagrad's sums of squared gradients, one a variable."""
    return list(optimizer._accumulators)


def loss_scale(optimizer: Any) -> float:
    """Return the present scale of a `LossScaleOptimizer`."""
    return float(keras.ops.convert_to_numpy(optimizer.dynamic_scale))


def track_variable(optimizer: Any, variable: Any) -> None:
    """Make a variable part of an optimizer's state: JAX takes all others for constants."""
    optimizer._track_variable(variable)


def set_untracked(owner: Any, attribute: str, value: Any) -> None:
    """Set an attribute of a layer or an optimizer without making it part of its state."""
    object.__setattr__(owner, attribute, value)


def replace_clipping(optimizer: Any, clip: Callable[[Any, list[Any]], list[Any]]) -> None:
    """Have an optimizer clip its gradients by a function of itself and them."""
    set_untracked(optimizer, "_clip_gradients", MethodType(clip, optimizer))


def updates_together(kind: Kind) -> Kind:
    """Decorate a class of optimizers that updates all variables in one method.

    Its method `update_all(gradients, variables, learning_rate)` takes the place of one `update_step` a variable.
    """
    kind._backend_update_step = kind.__dict__["update_all"]  # type: ignore[attr-defined] # a name that Keras calls
    return kind


def update_by_parent(parent: Any, gradients: list[Any], variables: list[Any], learning_rate: Any) -> None:
    """Make the update of the class above; `parent` is its `super()`."""
    parent._backend_update_step(gradients, variables, learning_rate)


def wrap_replica_sum(optimizer: Any, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Replace the sum of gradients over replicas, which optimizers on TensorFlow make, by what `wrap` makes of it."""
    optimizer._all_reduce_sum_gradients = wrap(optimizer._all_reduce_sum_gradients)


def with_neutral_update(optimizer: Any) -> Any:
    """On TensorFlow, give an optimizer the update of other backends, which a `StatelessScope` can follow.

    TensorFlow's own goes through tf.distribute and writes into variables.
    """
    if keras.backend.backend() != "tensorflow":
        return optimizer
    neutral = {name: BaseOptimizer.__dict__[name] for name in REPLACED_ON_TENSORFLOW}
    # After the optimizer's own class and before Keras' base: Nadam has a part of its own in the update.
    base = type("Neutral", (keras.optimizers.Optimizer,), neutral)
    kind: Any = type(type(optimizer).__name__, (type(optimizer), base), {})
    return kind.from_config(optimizer.get_config())


REPLACED_ON_TENSORFLOW = (
    "assign",
    "assign_add",
    "assign_sub",
    "_backend_update_step",
    "_apply_weight_decay",
    "_var_key",
    "add_variable_from_reference",
)
