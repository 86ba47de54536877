"""Read several targets of a source of arrays, one for each head of a model: a dictionary by name, or a list."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from nightune.models.data.contents import Arrays
from nightune.models.data.input_arrays import several_inputs
from nightune.models.data.weights import read_array
from nightune.models.errors import InputError
from nightune.vocabulary import HEAD_NAME, unknown_name

KEY = "data.source"


def several_targets(given: Any, inputs: Any, source: str) -> dict[str, Any] | None:
    """Return several targets by name, as given; those of a list are named by their place. None for one target.

    A list of arrays with as many of them as there are rows is one target. InputError for names that are no texts of
    letters, digits, blanks, `_`, `.` and `-`, and for dictionaries in a dictionary.
    """
    if isinstance(given, Mapping):
        return None if len(given) == 1 else _named(given, source)
    if not isinstance(given, list | tuple) or len(given) < 2:
        return None
    shapes: list[tuple[int, ...]] = [tuple(getattr(each, "shape", ())) for each in given]
    lengths = {shape[0] for shape in shapes if shape}
    if not all(shapes) or len(lengths) > 1 or len(given) in lengths:
        return None
    (rows,) = lengths
    is_fitting = several_inputs(inputs, rows, source) is not None or len(inputs) == rows
    return {str(place): each for place, each in enumerate(given)} if is_fitting else None


def only_target(given: Any) -> Any:
    """Return the target of a dictionary of one; any other as it is."""
    return next(iter(given.values())) if isinstance(given, Mapping) else given


def read_heads(read: Mapping[str, Arrays], source: str) -> Arrays:
    """Return the arrays of several targets, each read with the same inputs, as one."""
    first = next(iter(read.values()))
    columns = {name: each.target_names for name, each in read.items() if each.target_names}
    targets = {name: each.targets for name, each in read.items()}
    held = ", ".join(f"{name!r} {each.shape}" for name, each in targets.items())  # type: ignore[union-attr]
    finding = f"{source}: targets {held} are one for each head of the model"
    findings = (*first.findings, finding)
    return replace(first, targets=targets, target_names=None, head_columns=columns, findings=findings)  # type: ignore[arg-type]


def weights_by_head(given: Any, targets: Any, source: str) -> dict[str, np.ndarray] | None:
    """Return the weights of rows of each head that has its own, (rows,) float32; None for weights of all heads.

    A dictionary names heads, and those that it lacks weigh all rows alike; a list has an array for each head in their
    order. InputError for other names, and for weights by name of one target.
    """
    if not isinstance(targets, Mapping):
        if isinstance(given, Mapping):
            problem = f"weights are a dictionary ({', '.join(map(repr, given))}), and there is one target"
            raise InputError(KEY, f"{source}: {problem}: return one array of weights")
        return None
    names, rows = list(targets), len(next(iter(targets.values())))
    if isinstance(given, list | tuple) and len(given) == len(names) != rows:
        given = dict(zip(names, given, strict=True))
    if not isinstance(given, Mapping):
        return None
    for name in given:
        if name not in names:
            raise InputError(KEY, f"{source}: weights: {unknown_name(name, names, 'head')}")
    known = {name: each for name, each in given.items() if each is not None}
    return {name: _weights_of(name, each, rows, source) for name, each in known.items()}


def _weights_of(name: str, given: Any, rows: int, source: str) -> np.ndarray:
    try:
        return read_array(given, rows, source)
    except InputError as error:
        raise InputError(error.key, f"head {name!r}: {error.message}") from error


def _named(given: Mapping[Any, Any], source: str) -> dict[str, Any]:
    wrong = next((name for name in given if not isinstance(name, str) or not re.fullmatch(HEAD_NAME, name)), None)
    if wrong is not None or not given:
        held = f"{wrong!r} is no such name" if given else "it is empty"
        problem = "targets are a dictionary by name, of letters, digits, blanks, _, . and -"
        raise InputError(KEY, f"{source}: {problem}: {held}")
    nested = next((name for name, each in given.items() if isinstance(each, Mapping)), None)
    if nested is not None:
        problem = f"target {nested!r} is a dictionary itself; return all targets in one dictionary"
        raise InputError(KEY, f"{source}: {problem}")
    return dict(given)
