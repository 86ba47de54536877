"""Read a source of data: a set of scikit-learn, a file or folder of a known kind, or a user's function."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.data.array_keys import ARRAYS, find_names, known_names, read_keys, refuse_other_order
from nightune.models.data.batches import are_batches, read_batches
from nightune.models.data.contents import Arrays, Table
from nightune.models.data.files.array_files import read_hdf5, read_npy, read_npz, refuse_unknown_names
from nightune.models.data.files.csv_tables import read_csv_table
from nightune.models.data.files.databases import read_duckdb, read_sqlite
from nightune.models.data.files.image_folders import SUFFIXES as IMAGE_SUFFIXES
from nightune.models.data.files.image_folders import holds_images, read_images
from nightune.models.data.files.json_tables import read_json
from nightune.models.data.files.kinds import ARRAYS as ARRAY_KINDS
from nightune.models.data.files.kinds import OTHERS, kind_of, listed_formats
from nightune.models.data.files.typed_tables import read_excel, read_feather, read_parquet
from nightune.models.data.head_arrays import only_target, read_heads, refuse_weights_by_head, several_targets
from nightune.models.data.input_arrays import as_inputs, only_input, read_several, several_inputs
from nightune.models.data.parts import PART_NAMES, join_arrays, keras_parts
from nightune.models.data.ragged import pad_inputs
from nightune.models.data.source_options import FUNCTION, IMAGES, SourceOptions
from nightune.models.data.weights import read_array
from nightune.models.errors import InputError
from nightune.models.serving.arrays import plain_array
from nightune.models.serving.input_trees import row_count
from nightune.models.serving.labels import plain_values
from nightune.models.serving.preprocessing import as_table, is_table
from nightune.models.user_code import call_function, is_reference, running
from nightune.vocabulary import unknown_name

if TYPE_CHECKING:
    import pandas as pd

KEY = "data.source"
NO_PAD: Mapping[str, Any] = MappingProxyType({})
BUILT_IN = ("breast_cancer", "diabetes", "digits", "digits_images", "iris", "wine")
_RETURNS = (
    "a function returns arrays (x, y) or (x, y, weight), where x may be a dictionary of inputs; a dictionary of "
    "arrays (x, y, and weight, group, time or part; or x_train, y_train, x_test …); a loader of batches (tf.data, "
    "PyDataset, DataLoader, a generator) or a dictionary of loaders by split; "
    "or a DataFrame with a column that [data] target names"
)


def read_source(
    source: str,
    folder: Path,
    numeric: Mapping[str, str] = MappingProxyType({}),
    categorical: Sequence[str] = (),
    options: SourceOptions = SourceOptions(),  # noqa: B008 - frozen
) -> Table | Arrays:
    """Read the source that a study names; relative paths start at the folder. InputError names the problem.

    Columns of `numeric` with a form are read as texts, since only their reader knows the separators; columns of
    `categorical`, and digits with zeros in front, are taken as written.
    """
    refuse_unknown_names(options.arrays)
    if source in BUILT_IN:
        options.refuse_unread("built-in", source)
        return _read_built_in(source)
    if is_reference(source):
        options.refuse_unread(FUNCTION, source)
        result = call_function(source, folder, KEY, options.arguments)
        with running(source, folder, KEY):
            return _from_result(result, source, options.pad)
    place = existing_place(source, folder)
    kind = kind_of_place(place)
    options.refuse_unread(kind, source)
    if kind == IMAGES:
        return read_images(place, options)
    if kind in ARRAY_KINDS:
        return _read_arrays(place, kind, options)
    if kind == "csv":
        frame, dialect, findings = read_csv_table(place, numeric, categorical, options)
        form = {"decimal": ","} if dialect.decimal == "," else {}
        return replace(_tidy(frame, place.name), findings=findings, form=form)
    return _read_typed(place, kind, options)


def kind_of_place(place: Path) -> str:
    """Return the kind of a file, or of what a folder holds: "images", "parquet" or "npy"."""
    if not place.is_dir():
        kind = kind_of(place)
        assert kind is not None  # as `existing_place` has checked
        return kind
    suffixes = {file.suffix.lower() for file in place.rglob("*") if file.is_file()}
    if ".parquet" in suffixes:
        return "parquet"
    if holds_images(place):
        return IMAGES
    held = ", ".join(sorted(filter(None, suffixes))[:5]) or "no file"
    allowed = "images in a folder for each class, or Parquet files"
    raise InputError(KEY, f"{place.name!r} is a folder with {held}; one holds {allowed}, else name a file in it")


def _read_typed(place: Path, kind: str, options: SourceOptions) -> Table:
    """Read a file that keeps the types of its columns."""
    if kind in ("json", "jsonl"):
        frame, findings = read_json(place, kind == "jsonl", options.encoding)
        return replace(_tidy(frame, place.name), findings=findings)
    readers: dict[str, Callable[[], pd.DataFrame]] = {
        "parquet": lambda: read_parquet(place),
        "feather": lambda: read_feather(place),
        "excel": lambda: read_excel(place, options.sheet),
        "sqlite": lambda: read_sqlite(place, options.query),
        "duckdb": lambda: read_duckdb(place, options.query),
    }
    return _tidy(readers[kind](), place.name)


def _read_arrays(file: Path, kind: str, options: SourceOptions) -> Arrays:
    if kind == "npy":
        return _from_mapping(read_npy(file, options.arrays), file.name)
    held, findings = (read_npz if kind == "npz" else read_hdf5)(file, options.arrays)
    arrays = _from_mapping(held, file.name)
    return replace(arrays, findings=(*arrays.findings, *findings))


def _read_built_in(name: str) -> Table | Arrays:
    from sklearn import datasets  # noqa: PLC0415 - a second, only for its own sets

    if name in ("digits", "digits_images"):
        inputs, targets = datasets.load_digits(return_X_y=True)
        scaled = (inputs / 16).astype(np.float32)  # 16 levels of grey
        shaped = scaled.reshape(-1, 8, 8, 1) if name == "digits_images" else scaled
        return Arrays(shaped, targets.astype(np.int64), task="multiclass")
    loaded = getattr(datasets, f"load_{name}")(as_frame=True)
    if name == "diabetes":
        return Table(loaded.frame, target="target", task="regression")
    names = np.array([str(label) for label in loaded.target_names])
    table = loaded.frame.assign(target=names[loaded.target.to_numpy()])
    return Table(table, target="target", task="classification")


def existing_place(source: str, folder: Path) -> Path:
    """Return the whole path of a file of a known kind, or of a folder; InputError for others, and if there is none."""
    place = (folder / Path(source).expanduser()).resolve()
    if re.match(r"[a-z0-9]{2,}://", source, re.IGNORECASE):
        raise InputError(KEY, f"{source!r} is an address; download it, and name the file here")
    if place.is_dir() or (place.is_file() and kind_of(place) is not None):
        return place
    if kind_of(place) is None:
        suffixes = [suffix.lower() for suffix in reversed(Path(source).suffixes)]
        remedies = OTHERS | dict.fromkeys(IMAGE_SUFFIXES, "an image: name the folder with a subfolder for each class")
        remedy = next((remedies[suffix] for suffix in suffixes if suffix in remedies), "")
        known = f"{unknown_name(source, BUILT_IN)}, or a path: {listed_formats()}, a folder, path/to/file.py:function"
        raise InputError(KEY, f"{source!r} is not read: {remedy}" if remedy else known)
    if not place.parent.is_dir():
        raise InputError(KEY, f"no file {source!r}: there is no folder {place.parent}")
    siblings = sorted(path.name for path in place.parent.iterdir() if kind_of(path) is not None)
    raise InputError(KEY, f"no such file in {place.parent}: {unknown_name(place.name, siblings, 'file')}")


def refuse_few_rows(table: Table, source: str) -> None:
    """Refuse a table with fewer rows than splits."""
    rows = len(table.frame)
    if rows < 3:
        count = "1 row" if rows == 1 else f"{rows} rows" if rows else "a header and no rows"
        name = source if is_reference(source) else Path(source).name
        raise InputError(KEY, f"{name} holds {count}; at least 3 are needed, one per split")


def _tidy(table: "pd.DataFrame", name: str) -> Table:
    """Number the rows from 0, name the columns by texts, and refuse repeated names."""
    if any(level is not None for level in table.index.names):
        table = table.reset_index()
    columns = [str(column) for column in table.columns]
    repeated = sorted({column for column in columns if columns.count(column) > 1})
    if repeated:
        raise InputError(KEY, f"{name} holds several columns named {repeated[0]!r}; rename them")
    has_text_names = all(isinstance(column, str) for column in table.columns)
    named = table.set_axis(columns, axis="columns").reset_index(drop=True)
    plain = {name: values for name in columns if (values := plain_values(named[name])) is not named[name]}
    return Table(named.assign(**plain) if plain else named, has_text_names=has_text_names)


def _from_result(result: Any, source: str, pad: Mapping[str, Any] = NO_PAD) -> Table | Arrays:
    if is_table(result):
        if pad:
            raise InputError("data.pad", f"applies to arrays; {source} returned a table: remove it")
        return _tidy(as_table(result), source)
    if are_batches(result):
        return _from_batches(result, source, pad)
    if isinstance(result, Mapping):
        return _from_mapping(result, source, pad)
    if isinstance(result, tuple | list) and result and all(map(are_batches, result)):
        listed = 'return {"train": …, "validation": …, "test": …}, those that there are'
        raise InputError(KEY, f"{source} returned {len(result)} loaders; name the split of each: {listed}")
    if _are_pairs(result):
        _refuse_ambiguous_pairs(result, source)
        names = ("train", "test") if len(result) == 2 else ("train", "validation", "test")
        return _from_parts(dict(zip(names, result, strict=True)), source, pad)
    if not isinstance(result, tuple | list) or len(result) not in (2, 3):
        raise InputError(KEY, f"{source} returned {type(result).__name__}; {_RETURNS}")
    return _from_arrays(result, source, pad)


def _from_batches(given: Any, source: str, pad: Mapping[str, Any]) -> Arrays:
    read, has_order, findings = read_batches(given, source)
    arrays = _from_arrays(read, source, pad)
    return replace(arrays, findings=(*findings, *arrays.findings), has_order=has_order)


def _from_mapping(held: Mapping[Any, Any], source: str, pad: Mapping[str, Any] = NO_PAD) -> Arrays:
    """Take the arrays of a dictionary or of a file; names other than those of `ARRAYS` or of Keras are refused."""
    if held and all(str(name) in PART_NAMES and are_batches(each) for name, each in held.items()):
        parts = {PART_NAMES[str(name)]: _from_batches(each, f"{source} ({name})", pad) for name, each in held.items()}
        return _joined(parts, source, pad)
    known = known_names(held, source)
    other = [name for name in held if name not in known]
    if other:
        raise InputError(KEY, f"{source}: a dictionary holds arrays: {unknown_name(str(other[0]), ARRAYS, 'array')}")
    names_of_parts = keras_parts(held)
    if names_of_parts:
        given = {part: [held[name] for name in names] for part, names in names_of_parts.items()}
        return _from_parts(given, source, pad)
    names = find_names(held, source)
    arrays = _from_arrays([held[names[name]] for name in ("x", "y", "weight") if name in names], source, pad)
    return replace(arrays, keys=read_keys(held, held[names["x"]], row_count(arrays.targets), source))


def _from_parts(parts: Mapping[str, Sequence[Any]], source: str, pad: Mapping[str, Any]) -> Arrays:
    return _joined({part: _from_arrays(each, f"{source} ({part})", pad) for part, each in parts.items()}, source, pad)


def _joined(parts: Mapping[str, Arrays], source: str, pad: Mapping[str, Any]) -> Arrays:
    if pad and "length" not in pad:
        remedy = f'pad = {{ side = "{pad["side"]}", length = 100 }}'
        raise InputError("data.pad", f"needs a length for several splits: {remedy}")
    return join_arrays(parts, source)


def _are_pairs(result: Any) -> bool:
    """True for ((x_train, y_train), (x_test, y_test)), as the data sets of Keras return them, also with weights."""
    return (
        isinstance(result, tuple)
        and len(result) in (2, 3)
        and all(isinstance(each, tuple) and len(each) in (2, 3) and all(map(_has_rows, each)) for each in result)
    )


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


def _from_arrays(given: Sequence[Any], source: str, pad: Mapping[str, Any]) -> Arrays:
    """Take inputs, targets and, as the third array, weights of rows, if it is given and not None."""
    arrays = _from_pair(given[0], given[1], source, pad)
    if len(given) == 2 or given[2] is None:
        return arrays
    refuse_weights_by_head(given[2], source)
    refuse_other_order(given[0], given[2], source, "weights")
    return replace(arrays, weights=read_array(given[2], row_count(arrays.targets), source))


def _from_pair(inputs_given: Any, targets_given: Any, source: str, pad: Mapping[str, Any]) -> Arrays:
    heads = several_targets(targets_given, inputs_given, source)
    if heads is not None:
        return read_heads({name: _from_pair(inputs_given, each, source, pad) for name, each in heads.items()}, source)
    targets_given = only_target(targets_given)
    refuse_other_order(inputs_given, targets_given, source, "targets")
    targets = plain_array(targets_given, KEY, f"{source}: targets")
    rows = len(np.atleast_1d(targets))
    inputs_given, pads, said = pad_inputs(only_input(inputs_given, rows), rows, pad, source)
    form: dict[str, Any] = {"pad": pads} if pads else {}
    several = several_inputs(inputs_given, rows, source)
    is_named = hasattr(targets_given, "columns") and targets.ndim == 2 and targets.shape[1] > 1
    names = tuple(map(str, targets_given.columns)) if is_named else None
    if names and len(set(names)) < len(names):
        raise InputError(KEY, f"{source} returned targets with several columns of one name; rename them")
    if several is not None:
        _refuse_other_targets(targets, source)
        tree, findings = read_several(several, len(targets), source)
        found = (*said, *findings)
        return Arrays(tree, _as_targets(targets, source), findings=found, target_names=names, form=form)
    inputs = plain_array(inputs_given, KEY, f"{source}: inputs")
    arrays = _checked(inputs, targets, source)
    return replace(arrays, target_names=names, findings=(*said, *arrays.findings), form=form)


def _refuse_other_targets(targets: np.ndarray, name: str) -> None:
    if targets.ndim == 0 or targets.size == 0:
        raise InputError(KEY, f"{name}: targets have shape {targets.shape}; one row per example is needed, as (100,)")


def _checked(inputs: np.ndarray, targets: np.ndarray, name: str) -> Arrays:
    if inputs.ndim < 2 or targets.ndim == 0 or inputs.size == 0 or 0 in targets.shape[1:]:
        raise InputError(
            KEY,
            f"{name}: inputs have shape {inputs.shape} and targets {targets.shape}; "
            "one row per example is needed, such as (100, 8) and (100,)",
        )
    if len(inputs) != len(targets):
        raise InputError(KEY, f"{name}: {len(inputs)} inputs and {len(targets)} targets; the numbers must be equal")
    numbers, findings = as_inputs(inputs, name, returns=f" ({_RETURNS})")
    return Arrays(numbers, _as_targets(targets, name), findings=findings)


def _as_targets(targets: np.ndarray, name: str) -> np.ndarray:
    flat = targets[:, 0] if targets.ndim == 2 and targets.shape[1] == 1 else targets
    if flat.dtype.kind not in "bfiuU":
        raise InputError(KEY, f"{name}: targets hold {flat.dtype.name} values; numbers, texts or booleans are needed")
    return flat
