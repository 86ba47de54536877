"""Take what a function of the user returned: a table, arrays in any container, or loaders, perhaps one per split."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nightune.models.data.array_keys import ARRAYS, find_names, known_names, read_keys, refuse_other_order
from nightune.models.data.batches import are_batches, read_batches
from nightune.models.data.class_names import names_of
from nightune.models.data.contents import Arrays, Table
from nightune.models.data.files.repeated_names import refuse_repeated
from nightune.models.data.head_arrays import only_target, read_heads, several_targets, weights_by_head
from nightune.models.data.input_arrays import as_inputs, only_input, read_several, several_inputs
from nightune.models.data.named_columns import tidy
from nightune.models.data.parts import PART_NAMES, join_arrays, keras_parts
from nightune.models.data.ragged import pad_inputs
from nightune.models.data.return_remedies import remedy_for, remedy_for_table
from nightune.models.data.source_options import SourceOptions
from nightune.models.data.weights import read_array
from nightune.models.errors import InputError
from nightune.models.serving.arrays import plain_array
from nightune.models.serving.input_trees import row_count
from nightune.models.serving.preprocessing import as_table, is_table
from nightune.vocabulary import unknown_name

KEY = "data.source"
AS_GIVEN = SourceOptions()
CHANNELS, SMALLEST_SIDE = (1, 3, 4), 8
NUMBERS = ("b", "i", "u", "f")
_RETURNS = (
    "a function returns arrays (x, y) or (x, y, weight), where x may be a dictionary of inputs; a dictionary of "
    "arrays (x, y, and weight, group, time or part; or x_train, y_train, x_test …); a loader of batches (tf.data, "
    "PyDataset, DataLoader, a generator) or a dictionary of loaders by split; "
    "or a DataFrame with a column that [data] target names"
)


def from_result(result: Any, source: str, options: SourceOptions = AS_GIVEN) -> Table | Arrays:
    """Take a table, arrays or loaders as a function returned them; InputError says what may be returned."""
    if is_table(result):
        _refuse_options_of_arrays(options, source)
        return tidy(as_table(result), source)
    if options.loader and not _holds_loaders(result):
        problem = f"applies to loaders; {source} returned {type(result).__name__}: remove it"
        raise InputError("data.loader", problem)
    if are_batches(result):
        return _from_batches(result, source, options)
    if isinstance(result, Mapping):
        return from_mapping(result, source, options)
    if isinstance(result, tuple | list) and result and all(map(are_batches, result)):
        listed = 'return {"train": …, "validation": …, "test": …}, those that there are'
        raise InputError(KEY, f"{source} returned {len(result)} loaders; name the split of each: {listed}")
    if _are_pairs(result):
        _refuse_ambiguous_pairs(result, source)
        names = ("train", "test") if len(result) == 2 else ("train", "validation", "test")
        return _from_parts(dict(zip(names, result, strict=True)), source, options)
    if not isinstance(result, tuple | list) or len(result) not in (2, 3):
        count = f" of {len(result)}" if isinstance(result, tuple | list) else ""
        remedy = remedy_for(result) or _RETURNS
        raise InputError(KEY, f"{source} returned {type(result).__name__}{count}; {remedy}")
    return _from_arrays(result, source, options)


def _refuse_options_of_arrays(options: SourceOptions, source: str) -> None:
    given = next((name for name in ("pad", "loader") if getattr(options, name)), None)
    if given:
        raise InputError(f"data.{given}", f"applies to arrays; {source} returned a table: remove it")


def _holds_loaders(result: Any) -> bool:
    return are_batches(result) or (isinstance(result, Mapping) and any(map(are_batches, result.values())))


def _from_batches(given: Any, source: str, options: SourceOptions) -> Arrays:
    read, has_order, findings = read_batches(given, source, options.loader)
    arrays = _from_arrays(read, source, options)
    names, found = names_of(given), (*findings, *arrays.findings)
    return replace(arrays, findings=found, has_order=has_order, class_names=names)


def from_mapping(held: Mapping[Any, Any], source: str, options: SourceOptions = AS_GIVEN) -> Arrays:
    """Take the arrays of a dictionary or of a file; names other than those of `ARRAYS` or of Keras are refused."""
    if held and all(str(name) in PART_NAMES and are_batches(each) for name, each in held.items()):
        parts = {
            PART_NAMES[str(name)]: _from_batches(each, f"{source} ({name})", options) for name, each in held.items()
        }
        return _joined(parts, source, options)
    if held and all(str(name) in PART_NAMES and _is_pair(each) for name, each in held.items()):
        return _from_parts({PART_NAMES[str(name)]: each for name, each in held.items()}, source, options)
    known = _known_names(held, source)
    other = [name for name in held if name not in known]
    if other:
        raise InputError(KEY, f"{source}: a dictionary holds arrays: {unknown_name(str(other[0]), ARRAYS, 'array')}")
    names_of_parts = keras_parts(held)
    if names_of_parts:
        given = {part: [held[name] for name in names] for part, names in names_of_parts.items()}
        return _from_parts(given, source, options)
    names = find_names(held, source)
    arrays = _from_arrays([held[names[name]] for name in ("x", "y", "weight") if name in names], source, options)
    return replace(arrays, keys=read_keys(held, held[names["x"]], row_count(arrays.targets), source))


def _from_parts(parts: Mapping[str, Sequence[Any]], source: str, options: SourceOptions) -> Arrays:
    read = {part: _from_arrays(each, f"{source} ({part})", options) for part, each in parts.items()}
    return _joined(read, source, options)


def _joined(parts: Mapping[str, Arrays], source: str, options: SourceOptions) -> Arrays:
    if options.pad and "length" not in options.pad:
        remedy = f'pad = {{ side = "{options.pad["side"]}", length = 100 }}'
        raise InputError("data.pad", f"needs a length for several splits: {remedy}")
    return join_arrays(parts, source)


def _known_names(held: Mapping[Any, Any], source: str) -> list[str]:
    try:
        return known_names(held, source)
    except InputError as error:
        remedy = remedy_for(held)
        raise InputError(error.key, f"{error.message}; {remedy}" if remedy else error.message) from error


def _is_pair(given: Any) -> bool:
    """True for (x, y) and (x, y, weight)."""
    return isinstance(given, tuple | list) and len(given) in (2, 3) and all(map(_has_rows, given[:2]))


def _are_pairs(result: Any) -> bool:
    """True for ((x_train, y_train), (x_test, y_test)), as the data sets of Keras return them, also with weights."""
    return (
        isinstance(result, tuple)
        and len(result) in (2, 3)
        and all(isinstance(each, tuple) and len(each) in (2, 3) and all(map(_has_rows, each)) for each in result)
        and not _are_inputs_beside_targets(result)
    )


def _are_inputs_beside_targets(result: Any) -> bool:
    """True for ((a, b), (y, z)) of as many rows, where y cannot be inputs like a since it has one value per row."""
    shapes = [tuple(getattr(each, "shape", ())) for pair in result for each in pair]
    is_same_length = len(result) == 2 and len(shapes) == 4 and all(shapes) and len({shape[0] for shape in shapes}) == 1
    kind = getattr(getattr(result[1][0], "dtype", None), "kind", "")
    # Texts and lists of ids of one axis may be inputs.
    return is_same_length and len(shapes[0]) > len(shapes[2]) == 1 and kind in NUMBERS


def _refuse_ambiguous_pairs(result: Any, source: str) -> None:
    """Refuse four arrays of as many rows each that may be two splits, or two inputs and two targets in tuples."""
    shapes = [tuple(getattr(each, "shape", ())) for pair in result for each in pair]
    are_alike = len(shapes) == 4 and len({shape[:1] for shape in shapes}) == 1
    if are_alike and all(len(shape) > 1 for shape in shapes[1::2]):
        problem = "four arrays of as many rows may be two splits ((x_train, y_train), (x_test, y_test)), or two inputs"
        remedy = 'return {"x_train": …, "y_train": …, "x_test": …, "y_test": …}, or {"x": {…}, "y": {…}} with names'
        raise InputError(KEY, f"{source}: {problem} and two targets; {remedy}")


def _has_rows(values: Any) -> bool:
    return isinstance(values, Mapping | list | tuple) or np.ndim(values) > 0


def _from_arrays(given: Sequence[Any], source: str, options: SourceOptions) -> Arrays:
    """Take inputs, targets and, as the third array, weights of rows, if it is given and not None."""
    arrays = _from_pair(given[0], given[1], source, options)
    if len(given) == 2 or given[2] is None:
        return arrays
    is_one = not isinstance(arrays.targets, Mapping) and isinstance(given[2], Mapping) and len(given[2]) == 1
    weights = only_target(given[2]) if is_one else given[2]
    by_head = weights_by_head(weights, arrays.targets, source)
    if by_head is not None:
        return replace(arrays, head_weights=by_head)
    refuse_other_order(given[0], weights, source, "weights")
    return replace(arrays, weights=read_array(weights, row_count(arrays.targets), source))


def _from_pair(inputs_given: Any, targets_given: Any, source: str, options: SourceOptions) -> Arrays:
    heads = several_targets(targets_given, inputs_given, source)
    if heads is not None:
        read = {name: _from_pair(inputs_given, each, source, options) for name, each in heads.items()}
        return read_heads(read, source)
    targets_given = only_target(targets_given)
    refuse_other_order(inputs_given, targets_given, source, "targets")
    targets = plain_array(targets_given, KEY, f"{source}: targets")
    rows = len(np.atleast_1d(targets))
    inputs_given, pads, said = pad_inputs(only_input(inputs_given, rows), rows, options.pad, source)
    form: dict[str, Any] = {"pad": pads} if pads else {}
    several = several_inputs(inputs_given, rows, source)
    is_named = hasattr(targets_given, "columns") and targets.ndim == 2 and targets.shape[1] > 1
    names = tuple(map(str, targets_given.columns)) if is_named else None
    refuse_repeated(names or (), f"{source}: the table of targets")
    if several is not None:
        _refuse_other_targets(targets, source)
        tree, findings = read_several(several, len(targets), source)
        found = (*said, *findings)
        return Arrays(tree, _as_targets(targets, source), findings=found, target_names=names, form=form)
    inputs = _plain_inputs(inputs_given, source)
    arrays = _checked(inputs, targets, source)
    return replace(arrays, target_names=names, findings=(*said, *arrays.findings), form=form)


def _plain_inputs(given: Any, source: str) -> np.ndarray:
    """Return inputs as an array; InputError for a table with columns of words or dates, which one table may hold."""
    remedy = remedy_for_table(given)
    try:
        array = plain_array(given, KEY, f"{source}: inputs")
    except InputError as error:
        raise InputError(error.key, f"{error.message}; {remedy}" if remedy else error.message) from error
    if remedy and array.dtype.kind == "U":
        raise InputError(KEY, f"{source}: inputs are a table with columns of texts; {remedy}")
    return array


def _refuse_other_targets(targets: np.ndarray, name: str) -> None:
    if targets.ndim == 0 or targets.size == 0:
        raise InputError(KEY, f"{name}: targets have shape {targets.shape}; one row per example is needed, as (100,)")


def _checked(inputs: np.ndarray, targets: np.ndarray, name: str) -> Arrays:
    if inputs.ndim == 1 and inputs.dtype.kind == "U":
        table = 'return pd.DataFrame({"words": x, "y": y}), with target = "y" and text = ["words"] in [data]'
        raise InputError(KEY, f"{name}: inputs are texts; {table}")
    if inputs.ndim < 2 or targets.ndim == 0 or inputs.size == 0 or 0 in targets.shape[1:]:
        raise InputError(
            KEY,
            f"{name}: inputs have shape {inputs.shape} and targets {targets.shape}; "
            "one row per example is needed, such as (100, 8) and (100,)",
        )
    if len(inputs) != len(targets):
        raise InputError(KEY, f"{name}: {len(inputs)} inputs and {len(targets)} targets; the numbers must be equal")
    numbers, findings = as_inputs(inputs, name, returns=f" ({_RETURNS})")
    return Arrays(numbers, _as_targets(targets, name), findings=(*findings, *_channels_first(numbers)))


def _channels_first(inputs: np.ndarray) -> tuple[str, ...]:
    """Say that images have their channels in front, as PyTorch has them: Keras' layers read them behind."""
    shape = inputs.shape[1:]
    if len(shape) != 3 or shape[0] not in CHANNELS or shape[2] in CHANNELS or min(shape[1:]) < SMALLEST_SIDE:
        return ()
    said = f"inputs of shape {shape} look like images with channels in front, and Keras' layers read those behind"
    return (f"{said}; if they are, give np.moveaxis(x, 1, -1)",)


def _as_targets(targets: np.ndarray, name: str) -> np.ndarray:
    flat = targets[:, 0] if targets.ndim == 2 and targets.shape[1] == 1 else targets
    if flat.dtype.kind not in "bfiuU":
        raise InputError(KEY, f"{name}: targets hold {flat.dtype.name} values; numbers, texts or booleans are needed")
    return flat
