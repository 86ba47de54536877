"""Mixed precision in Keras: models built under a policy, and losses scaled so that float16 keeps their gradients."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from nightune.models.library_internals.optimizers import loss_scale
from nightune.models.techniques.precision import PrecisionSettings

SKIPPED_UPDATES = "skipped_updates"  # of an epoch: those whose float16 gradients were infinite or NaN
LOSS_SCALE = "loss_scale"


@contextmanager
def computing_in(settings: PrecisionSettings) -> Iterator[None]:
    """Give what is built inside the policy, and leave Keras' global one as it was: the next trial may have another."""
    before = keras.config.dtype_policy()
    if settings.is_mixed:
        keras.config.set_dtype_policy(settings.policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def with_loss_scale(optimizer: Any, settings: PrecisionSettings) -> Any:
    """Return the optimizer, behind Keras' dynamic loss scale where the precision needs one.

    What is inside sees unscaled gradients, so that rates, decay and clipping act as written. An update whose gradients
    are not finite is left out whole, its decay too.
    """
    return keras.optimizers.LossScaleOptimizer(optimizer) if settings.scales_loss else optimizer


def rule_of(optimizer: Any) -> Any:
    """The optimizer itself, out of its loss scale: it has the rates, and what a recipe has put beside its rule."""
    return optimizer.inner_optimizer if isinstance(optimizer, keras.optimizers.LossScaleOptimizer) else optimizer


def made_updates(optimizer: Any) -> int:
    """How many updates an optimizer has made."""
    return int(np.asarray(keras.ops.convert_to_numpy(rule_of(optimizer).iterations)))


def loss_scale_statistics(optimizer: Any, planned: int, made: int) -> dict[str, float]:
    """The epoch's updates that were left out and the scale at its end; nothing without a loss scale."""
    if rule_of(optimizer) is optimizer:
        return {}
    return {SKIPPED_UPDATES: float(planned - made), LOSS_SCALE: loss_scale(optimizer)}
