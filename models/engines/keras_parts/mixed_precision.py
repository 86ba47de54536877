"""Mixed precision in Keras: models built under a dtype policy, and losses scaled against underflow in float16."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from nightune.models.errors import InputError
from nightune.models.library_internals.optimizers import loss_scale
from nightune.models.techniques.precision import PrecisionSettings

SKIPPED_UPDATES = "skipped_updates"  # per epoch: updates whose float16 gradients were infinite or NaN
LOSS_SCALE = "loss_scale"


@contextmanager
def computing_in(settings: PrecisionSettings) -> Iterator[None]:
    """Set Keras' global dtype policy inside the block, and restore it afterwards: the next trial may have another.

    A `clear_session` inside the block keeps the policy. InputError if the block sets another one.
    """
    before = keras.config.dtype_policy()
    wanted = settings.policy if settings.is_mixed else before.name
    keras.config.set_dtype_policy(wanted)
    try:
        with _kept_when_cleared():
            yield
        policy = keras.config.dtype_policy().name
        if policy != wanted:
            problem = f"{wanted}, but the model's function sets Keras' dtype policy to {policy}, or clears the session"
            raise InputError("precision", f"{problem} by a function that it imports by name; remove the call")
    finally:
        keras.config.set_dtype_policy(before)


@contextmanager
def _kept_when_cleared() -> Iterator[None]:
    """Let `clear_session` keep the policy; it takes Keras' default."""
    clear, named = keras.utils.clear_session, ("keras.backend", "keras.utils")
    names = [prefix + name for name in named for prefix in ("", "keras._tf_keras.")]
    modules = [sys.modules[name] for name in names if name in sys.modules]

    def clear_and_set(*values: Any, **options: Any) -> None:
        policy = keras.config.dtype_policy()
        clear(*values, **options)
        keras.config.set_dtype_policy(policy)

    for module in modules:
        module.clear_session = clear_and_set  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module in modules:
            module.clear_session = clear  # type: ignore[attr-defined]


def with_loss_scale(optimizer: Any, settings: PrecisionSettings) -> Any:
    """Return the optimizer, wrapped in Keras' dynamic loss scale if the precision needs one.

    The inner optimizer gets unscaled gradients: learning rates, decay and clipping are unaffected. An update whose
    gradients are not finite is skipped, including its decay.
    """
    return keras.optimizers.LossScaleOptimizer(optimizer) if settings.scales_loss else optimizer


def unscaled_optimizer(optimizer: Any) -> Any:
    """Return the optimizer without its loss scale: it holds the learning rate and the variables that a recipe adds."""
    return optimizer.inner_optimizer if isinstance(optimizer, keras.optimizers.LossScaleOptimizer) else optimizer


def count_updates(optimizer: Any) -> int:
    """Return the number of updates that an optimizer has made."""
    return int(np.asarray(keras.ops.convert_to_numpy(unscaled_optimizer(optimizer).iterations)))


def loss_scale_statistics(optimizer: Any, planned: int, made: int) -> dict[str, float]:
    """Return the number of skipped updates of the epoch and the scale at its end; empty without a loss scale."""
    if unscaled_optimizer(optimizer) is optimizer:
        return {}
    return {SKIPPED_UPDATES: float(planned - made), LOSS_SCALE: loss_scale(optimizer)}
