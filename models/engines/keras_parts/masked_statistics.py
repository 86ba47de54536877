"""Statistics of batch normalization over the real rows of a padded batch, equal to Keras' over the batch by itself."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from keras import ops

from nightune.models.library_internals.normalization import replacing_moments


def statistics_of_rows(layers: Sequence[Any], is_real: Any | None) -> AbstractContextManager[None]:
    """Let BatchNormalization layers count only some rows of a batch in the block; all of them if `is_real` is None.

    `is_real`: (examples,) boolean. The other rows are normalized like the others, and have no influence on them.
    """
    return nullcontext() if is_real is None else replacing_moments(layers, partial(_moments, is_real))


def _moments(is_real: Any, inputs: Any, mask: Any, own: Any, axes: tuple[int, ...]) -> tuple[Any, Any]:
    """Return mean and variance as Keras' `ops.moments` computes them: first the mean, then the mean square from it."""
    if mask is not None:
        return tuple(own(inputs, ops.logical_and(mask, _as_wide(is_real, mask))))
    counted = _as_wide(is_real, inputs)
    count = ops.sum(ops.cast(is_real, inputs.dtype))
    for axis in axes:
        count = count * (1 if axis == 0 else inputs.shape[axis])
    mean = ops.sum(ops.where(counted, inputs, 0.0), axes, keepdims=True) / count
    squares = ops.where(counted, ops.square(inputs - mean), 0.0)
    return ops.squeeze(mean, axes), ops.sum(squares, axes) / count


def _as_wide(is_real: Any, array: Any) -> Any:
    return ops.reshape(is_real, (-1, *[1] * (len(array.shape) - 1)))
