"""Settle the targets and weights of a loader's element: one array, or several of heads by name or in order."""

from collections.abc import Mapping
from typing import Any

from nightune.models.errors import InputError

KEY = "data.source"


def targets_of(given: Any, inputs: Any, first: Any, source: str) -> Any:
    """Return the targets of an element: as given, the only one, or a dictionary of several by name or by place.

    A list or tuple holds several targets if each array has the rows of the inputs, and rows if it is as long as these.
    `first` are the targets of the first element, which settle those of later ones, such as a batch of fewer rows; None
    for the first one. InputError where both or neither is possible. None for no target.
    """
    if isinstance(given, Mapping):
        named = {name: each for name, each in given.items() if each is not None}
        return next(iter(named.values()), None) if len(given) == 1 else named or None
    known = _by_place(given)
    if not are_arrays(list(known.values())):
        return given
    shapes, counts = [tuple(each.shape) for each in known.values()], _row_counts(inputs)
    if len(given) == 1:
        return given[0] if shapes[0][0] in counts else given
    if len(known) < len(given):
        return known
    if first is not None:
        return known if isinstance(first, dict) else given
    are_alike = len(set(shapes)) == 1
    are_heads = len({shape[0] for shape in shapes}) == 1 and shapes[0][0] in counts
    are_rows = len(given) in counts and (are_alike or not are_heads)
    if are_alike and are_heads == are_rows:
        problem = f"targets of an element are {len(given)} arrays of shape {shapes[0]}, rows or several targets"
        remedy = 'give np.stack(targets) for rows, or a dictionary of several targets by name, {"a": …, "b": …}'
        raise InputError(KEY, f"{source}: {problem}; {remedy}")
    return given if are_rows else known


def weights_of(given: Any, targets: Any) -> Any:
    """Return the weights of an element: as given, or a dictionary by the names of several targets; None for none.

    Those of one target are its only ones. A list in the order of several targets may hold None.
    """
    if isinstance(given, Mapping):
        named = {name: each for name, each in given.items() if each is not None}
        is_one = not isinstance(targets, dict) and len(given) == 1
        return next(iter(named.values()), None) if is_one else named or None
    if not isinstance(given, list | tuple):
        return given
    known = list(_by_place(given).values())
    if given and not known:
        return None
    if not isinstance(targets, dict):
        return given[0] if len(given) == 1 and are_arrays(known) else given
    rows = {_length(each) for each in targets.values()}
    are_by_head = rows != {len(given)} or (are_arrays(known) and {_length(each) for each in known} == rows)
    if len(given) != len(targets) or not are_by_head:
        return given
    return {name: each for name, each in zip(targets, given, strict=True) if each is not None}


def are_arrays(given: Any) -> bool:
    """True for a list or tuple of arrays or tensors with rows, and not of plain rows or numbers."""
    return isinstance(given, list | tuple) and bool(given) and all(len(getattr(each, "shape", ())) for each in given)


def _by_place(given: Any) -> dict[str, Any]:
    """Return what a list or tuple holds by its place, without None; empty for anything else."""
    held = given if isinstance(given, list | tuple) else ()
    return {str(place): each for place, each in enumerate(held) if each is not None}


def _row_counts(inputs: Any) -> set[int | None]:
    """Return the numbers of rows that inputs may have: a list of alike arrays holds inputs in order, or rows."""
    if isinstance(inputs, Mapping | tuple):
        return {_length(each) for each in (inputs.values() if isinstance(inputs, Mapping) else inputs)}
    if not (isinstance(inputs, list) and are_arrays(inputs)):
        return {_length(inputs)}
    shapes = {tuple(each.shape) for each in inputs}
    counts: set[int | None] = {shape[0] for shape in shapes}
    if len(counts) > 1:
        return {len(inputs)}
    return counts | {len(inputs)} if len(shapes) == 1 else counts


def _length(array: Any) -> int | None:
    """Return the number of rows of an array, a tensor or a list; None for a number."""
    shape = getattr(array, "shape", None)
    if shape is None:
        return len(array) if hasattr(array, "__len__") else None
    return int(shape[0]) if len(shape) else None
