"""Inputs of several arrays: a dictionary by name, or a tuple in order; one array stands for itself.

The shape of one example is a tuple for one array, and a dictionary or a list of tuples for several. This module imports
only modules that are stored with every registered model (`CARRIED` in `predictor.py`).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

ArrayTree = np.ndarray | dict[str, np.ndarray] | tuple[np.ndarray, ...]
ShapeTree = tuple[int, ...] | dict[str, tuple[int, ...]] | list[tuple[int, ...]]


def is_several(tree: Any) -> bool:
    """True for a dictionary or a tuple of arrays, and for a dictionary or a list of shapes."""
    return isinstance(tree, dict | list) or (isinstance(tree, tuple) and any(hasattr(each, "shape") for each in tree))


def map_arrays(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """Return the function's results in the form of the tree; `others` are trees of the same form."""
    if isinstance(tree, dict):
        return {name: function(array, *(each[name] for each in others)) for name, array in tree.items()}
    if is_several(tree):
        return tuple(function(*arrays) for arrays in zip(tree, *others, strict=True))
    return function(tree, *others)


def arrays_of(tree: Any) -> list[Any]:
    """Return the arrays, or the shapes, in order."""
    return [array for _, array in named_arrays(tree)]


def named_arrays(tree: Any) -> list[tuple[str, Any]]:
    """Return names and arrays, or shapes: those of a tuple are named by their place, and one array is not named."""
    if isinstance(tree, dict):
        return list(tree.items())
    return [(str(place), array) for place, array in enumerate(tree)] if is_several(tree) else [("", tree)]


def row_count(tree: Any) -> int:
    """Return the number of rows, equal in all arrays."""
    return len(arrays_of(tree)[0])


def rows_of(tree: Any, rows: Any) -> Any:
    """Return some rows of each array: those of a slice or of an array of indices."""
    return map_arrays(lambda array: array[rows], tree)


def in_memory(tree: Any) -> Any:
    """Return each array as one that is not mapped to a file."""
    return map_arrays(np.asarray, tree)


def joined_rows(parts: Sequence[Any]) -> Any:
    """Return the rows of trees of one form, one after the other."""
    return map_arrays(lambda *arrays: np.concatenate(arrays), *parts)


def equal_arrays(one: Any, other: Any) -> bool:
    """True for trees of one form with equal arrays."""
    names, others = named_arrays(one), named_arrays(other)
    is_alike = type(one) is type(other) or not (is_several(one) or is_several(other))
    return (
        is_alike
        and [name for name, _ in names] == [name for name, _ in others]
        and all(np.array_equal(array, theirs) for (_, array), (_, theirs) in zip(names, others, strict=True))
    )


def example_shape(tree: Any) -> ShapeTree:
    """Return the shape of one example."""
    if isinstance(tree, dict):
        return {name: tuple(array.shape[1:]) for name, array in tree.items()}
    if is_several(tree):
        return [tuple(array.shape[1:]) for array in tree]
    return tuple(tree.shape[1:])


def example_types(tree: Any) -> Any:
    """Return the types of the arrays by name, in a list, or as one text."""
    if isinstance(tree, dict):
        return {name: str(array.dtype) for name, array in tree.items()}
    return [str(array.dtype) for array in tree] if is_several(tree) else str(tree.dtype)


def plain_shape(shape: ShapeTree) -> Any:
    """Return a shape in lists, as JSON holds it."""
    if isinstance(shape, dict):
        return {name: list(each) for name, each in shape.items()}
    return [list(each) for each in shape] if isinstance(shape, list) else list(shape)


def read_shape(plain: Any) -> ShapeTree:
    """Return the shape that `plain_shape` returned in lists."""
    if isinstance(plain, dict):
        return {name: tuple(each) for name, each in plain.items()}
    if plain and isinstance(plain[0], list | tuple):
        return [tuple(each) for each in plain]
    return tuple(plain)


def zeros(shape: ShapeTree, rows: int = 2) -> ArrayTree:
    """Return examples of zeros, float32."""
    if isinstance(shape, dict):
        return {name: np.zeros((rows, *each), np.float32) for name, each in shape.items()}
    if isinstance(shape, list):
        return tuple(np.zeros((rows, *each), np.float32) for each in shape)
    return np.zeros((rows, *shape), np.float32)


def batch_shape(shape: ShapeTree) -> Any:
    """Return the shape of a batch of any size, as Keras builds models with it."""
    if isinstance(shape, dict):
        return {name: (None, *each) for name, each in shape.items()}
    return [(None, *each) for each in shape] if isinstance(shape, list) else (None, *shape)


def for_model(model: Any, inputs: Any) -> Any:
    """Return arrays in order by name for a model that takes a dictionary: in the order of its names, as Keras does."""
    wanted = getattr(model, "input", None) if getattr(model, "inputs", None) else None
    if isinstance(inputs, tuple) and isinstance(wanted, dict) and len(wanted) == len(inputs):
        return dict(zip(sorted(wanted), inputs, strict=True))
    return inputs
