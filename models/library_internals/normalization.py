"""Undocumented names of Keras' BatchNormalization: the function of the batch's statistics, and the axes of them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

Moments = Callable[[Any, Any, Callable[[Any, Any], tuple[Any, Any]], tuple[int, ...]], tuple[Any, Any]]


@contextmanager
def replacing_moments(layers: Sequence[Any], moments: Moments) -> Iterator[None]:
    """Let BatchNormalization layers take mean and variance of a batch from a function inside the block.

    It receives the inputs, Keras' mask (usually None), the layer's own function of both, and the axes of the mean.
    """
    for layer in layers:
        # Not by assignment: Keras tracks what is assigned to a layer.
        vars(layer)["_moments"] = partial(_from, moments, layer._moments, tuple(layer._reduction_axes))
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)["_moments"]


def _from(moments: Moments, own: Any, axes: tuple[int, ...], inputs: Any, mask: Any) -> tuple[Any, Any]:
    return moments(inputs, mask, own, axes)
