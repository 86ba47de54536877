"""Undocumented names of Keras' optimizers: slots, hooks, and the update that all backends share."""

from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any, TypeVar

import keras
from keras.src.optimizers.base_optimizer import BaseOptimizer

Kind = TypeVar("Kind", bound=type)


def index_of(optimizer: Any, variable: Any) -> int:
    """Return the index of a trained variable and of its slots."""
    return int(optimizer._get_variable_index(variable))


def trained_variables(optimizer: Any) -> list[Any]:
    """Return the variables that a built optimizer trains."""
    return list(optimizer._trainable_variables)


def adam_slots(optimizer: Any, index: int) -> tuple[Any, Any]:
    """Return Adam's running means of a variable's gradients and squared gradients."""
    return optimizer._momentums[index], optimizer._velocities[index]


def sgd_velocity(optimizer: Any, index: int) -> Any:
    """Return SGD's velocity of a variable; exists only if the momentum is above 0."""
    return optimizer.momentums[index]


def adagrad_sums(optimizer: Any) -> list[Any]:
    """Return Adagrad's sums of squared gradients, one per variable."""
    return list(optimizer._accumulators)


def loss_scale(optimizer: Any) -> float:
    """Return the current scale of a `LossScaleOptimizer`."""
    return float(keras.ops.convert_to_numpy(optimizer.dynamic_scale))


def track_variable(optimizer: Any, variable: Any) -> None:
    """Add a variable to an optimizer's state: JAX treats all others as constants."""
    optimizer._track_variable(variable)


def set_untracked(owner: Any, attribute: str, value: Any) -> None:
    """Set an attribute of a layer or an optimizer without adding it to its state."""
    object.__setattr__(owner, attribute, value)


def replace_clipping(optimizer: Any, clip: Callable[[Any, list[Any]], list[Any]]) -> None:
    """Replace an optimizer's gradient clipping by a function of the optimizer and the gradients."""
    set_untracked(optimizer, "_clip_gradients", MethodType(clip, optimizer))


def updates_together(kind: Kind) -> Kind:
    """Decorate an optimizer class that updates all variables in one method.

    Its method `update_all(gradients, variables, learning_rate)` replaces one `update_step` per variable.
    """
    kind._backend_update_step = kind.__dict__["update_all"]  # type: ignore[attr-defined] # a name that Keras calls
    return kind


def update_by_parent(parent: Any, gradients: list[Any], variables: list[Any], learning_rate: Any) -> None:
    """Apply the update of the parent class; `parent` is `super()` of the caller."""
    parent._backend_update_step(gradients, variables, learning_rate)


def wrap_replica_sum(optimizer: Any, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Wrap the function by which optimizers on TensorFlow sum gradients over replicas."""
    optimizer._all_reduce_sum_gradients = wrap(optimizer._all_reduce_sum_gradients)


def with_existing_slots(optimizer: Any, slots: Sequence[Any]) -> None:
    """Let an optimizer that is not yet built use the first of these variables as its slots, in its order."""
    remaining = iter(slots)

    def next_slot(_reference: Any, name: str | None = None, initializer: Any = "zeros") -> Any:
        return next(remaining)

    set_untracked(optimizer, "add_variable_from_reference", next_slot)


def nadam_product(optimizer: Any) -> Any:
    """Return Nadam's product of its first decay rates so far, a scalar, initially 1."""
    return optimizer._u_product


def writes_gradients(variable: Any) -> bool:
    """Return True for a variable that optimizers overwrite with its gradient, as the scales of quantized layers."""
    return bool(getattr(variable, "overwrite_with_gradient", False))


def with_neutral_update(optimizer: Any) -> Any:
    """Return an optimizer with the backend-neutral update, which works inside a `StatelessScope`.

    TensorFlow's own update uses tf.distribute and writes into variables. Other backends need no change.
    """
    if keras.backend.backend() != "tensorflow":
        return optimizer
    neutral = {name: BaseOptimizer.__dict__[name] for name in REPLACED_ON_TENSORFLOW}
    # Between the optimizer's class and Keras' base class, because Nadam extends the update.
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
