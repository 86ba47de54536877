"""Read a source of data: a set of scikit-learn, a table file, an array file, or a user's function."""

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.data.array_keys import ARRAYS, find_names, known_names, read_keys, refuse_other_order
from nightune.models.data.columns.numbers import ambiguous_decimals
from nightune.models.data.columns.written import as_written
from nightune.models.data.contents import Arrays, Table
from nightune.models.data.head_arrays import only_target, read_heads, refuse_weights_by_head, several_targets
from nightune.models.data.input_arrays import as_inputs, only_input, read_several, several_inputs
from nightune.models.data.parts import join_arrays, keras_parts
from nightune.models.data.weights import read_array
from nightune.models.errors import InputError
from nightune.models.serving.arrays import plain_array
from nightune.models.serving.input_trees import row_count
from nightune.models.serving.labels import plain_values
from nightune.models.serving.preprocessing import as_table, is_table
from nightune.models.user_code import call_function, is_reference
from nightune.vocabulary import unknown_name

if TYPE_CHECKING:
    import pandas as pd

KEY = "data.source"
BUILT_IN = ("breast_cancer", "diabetes", "digits", "digits_images", "iris", "wine")
FORMATS = (".csv", ".parquet", ".npz")
CSV_OPTIONS = {"encoding": "utf-8-sig", "low_memory": False, "keep_default_na": False, "na_values": [""]}
_RETURNS = (
    "a function returns arrays (x, y) or (x, y, weight), where x may be a dictionary of inputs; a dictionary of "
    "arrays (x, y, and weight, group, time or part; or x_train, y_train, x_test …); "
    "or a DataFrame with a column that [data] target names"
)


def read_source(
    source: str,
    folder: Path,
    numeric: Mapping[str, str] = MappingProxyType({}),
    categorical: Sequence[str] = (),
) -> Table | Arrays:
    """Read the source that a study names; relative paths start at the folder. InputError names the problem.

    Columns of `numeric` with a form are read as texts, since only their reader knows the separators; columns of
    `categorical`, and digits with zeros in front, are taken as written.
    """
    if source in BUILT_IN:
        return _read_built_in(source)
    if is_reference(source):
        return _from_result(call_function(source, folder, KEY), source)
    suffix = Path(source).suffix.lower()
    if suffix not in FORMATS:
        known = f"{unknown_name(source, BUILT_IN)}, or a path: {', '.join(FORMATS)}, path/to/file.py:function"
        raise InputError(KEY, known)
    file = existing_file(source, folder)
    if suffix == ".npz":
        return _read_arrays(file)
    if suffix == ".parquet":
        return _tidy(_read_parquet(file), file.name)
    read = as_written(file, read_csv(file, [name for name, form in numeric.items() if form]), categorical, CSV_OPTIONS)
    table = _tidy(read, file.name)
    return replace(table, findings=ambiguous_decimals(file, table.frame))


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


def existing_file(source: str, folder: Path) -> Path:
    file = (folder / Path(source).expanduser()).resolve()
    if file.is_file():
        return file
    if file.is_dir():
        raise InputError(KEY, f"{source!r} is a folder; name a file in it ({', '.join(FORMATS)})")
    if not file.parent.is_dir():
        raise InputError(KEY, f"no file {source!r}: there is no folder {file.parent}")
    siblings = sorted(path.name for path in file.parent.iterdir() if path.suffix.lower() in FORMATS)
    raise InputError(KEY, f"no such file in {file.parent}: {unknown_name(file.name, siblings, 'file')}")


def read_csv(file: Path, texts: Sequence[str] | None) -> "pd.DataFrame":
    """Read a CSV file; only an empty field is a gap, and the words NA, None and null are texts.

    `texts` are the columns to read as texts; None: all.
    """
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    try:
        # utf-8-sig: spreadsheets write a byte order mark in front of the first name.
        header = pd.read_csv(file, header=None, nrows=1, dtype=str, encoding="utf-8-sig", keep_default_na=False)
        _refuse_header(header.iloc[0].tolist(), file.name)
        types = str if texts is None else dict.fromkeys(texts, str)
        table: pd.DataFrame = pd.read_csv(file, **CSV_OPTIONS, dtype=types)  # type: ignore[call-overload]
    except pd.errors.EmptyDataError as error:
        raise InputError(KEY, f"{file.name} is empty") from error
    except UnicodeDecodeError as error:
        raise InputError(KEY, f"{file.name} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except pd.errors.ParserError as error:
        reason = re.sub(r"^.*C error: ", "", str(error).strip())
        raise InputError(KEY, f"{file.name} is not a well-formed CSV file: {reason}") from error
    if not isinstance(table.index, pd.RangeIndex):
        raise InputError(KEY, f"{file.name} holds rows with more fields than its header; name every column")
    return table


def _refuse_header(names: list[str], file: str) -> None:
    separator = next((mark for mark in (";", "\t", "|") if mark in names[0]), None)
    if len(names) == 1 and separator:
        problem = f"{file} holds one column named {names[0]!r}; it is separated by {separator!r}"
        raise InputError(KEY, f"{problem}: save it with commas")
    repeated = sorted({name for name in names if names.count(name) > 1 and name})
    if repeated:
        raise InputError(KEY, f"{file} holds several columns named {repeated[0]!r}; rename them")


def _read_parquet(file: Path) -> "pd.DataFrame":
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    try:
        return pd.read_parquet(file, engine="pyarrow")
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        reason = (str(error).strip().splitlines() or ["no message"])[0]
        raise InputError(KEY, f"{file.name} is not a readable Parquet file (truncated?): {reason}") from error


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


@contextmanager
def open_archive(file: Path) -> Iterator[Any]:
    """Open a file of arrays, without pickled objects; InputError if it cannot be read."""
    try:
        with file.open("rb") as stream, zipfile.ZipFile(stream):  # numpy reads other formats under this name too
            archive = np.load(file, allow_pickle=False)
        with archive:
            yield archive
    except (OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(KEY, f"{file.name} is not a readable .npz file (truncated?): {error}") from error


def _read_arrays(file: Path) -> Arrays:
    with open_archive(file) as archive:
        held = {name: array_of(archive, name, file.name) for name in known_names(archive.files, file.name)}
    others = [name for name in archive.files if name not in held]
    findings = (f"{file.name}: arrays {', '.join(map(repr, others))} are not read",) if others else ()
    arrays = _from_mapping(held, file.name)
    return replace(arrays, findings=(*arrays.findings, *findings))


def array_of(archive: Any, name: str, file: str) -> np.ndarray:
    """Read one array of a file; InputError for Python objects."""
    try:
        array: np.ndarray = archive[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):  # numpy names its argument where it refuses objects
            raise OSError(f"array {name!r}: {error}") from error
        raise InputError(
            KEY, f"array {name!r} of {file} holds Python objects, which are not loaded; save numbers or texts"
        ) from error
    return array


def _from_result(result: Any, source: str) -> Table | Arrays:
    if is_table(result):
        return _tidy(as_table(result), source)
    if isinstance(result, Mapping):
        return _from_mapping(result, source)
    if _are_pairs(result):
        names = ("train", "test") if len(result) == 2 else ("train", "validation", "test")
        return _from_parts(dict(zip(names, result, strict=True)), source)
    if not isinstance(result, tuple | list) or len(result) not in (2, 3):
        raise InputError(KEY, f"{source} returned {type(result).__name__}; {_RETURNS}")
    return _from_arrays(result, source)


def _from_mapping(held: Mapping[Any, Any], source: str) -> Arrays:
    """Take the arrays of a dictionary or of a file; names other than those of `ARRAYS` or of Keras are refused."""
    known = known_names(held, source)
    other = [name for name in held if name not in known]
    if other:
        raise InputError(KEY, f"{source}: a dictionary holds arrays: {unknown_name(str(other[0]), ARRAYS, 'array')}")
    parts = keras_parts(held)
    if parts:
        return _from_parts({part: [held[name] for name in names] for part, names in parts.items()}, source)
    names = find_names(held, source)
    arrays = _from_arrays([held[names[name]] for name in ("x", "y", "weight") if name in names], source)
    return replace(arrays, keys=read_keys(held, held[names["x"]], row_count(arrays.targets), source))


def _from_parts(parts: Mapping[str, Sequence[Any]], source: str) -> Arrays:
    return join_arrays({part: _from_arrays(each, f"{source} ({part})") for part, each in parts.items()}, source)


def _are_pairs(result: Any) -> bool:
    """True for ((x_train, y_train), (x_test, y_test)), as the data sets of Keras return them, also with weights."""
    return (
        isinstance(result, tuple)
        and len(result) in (2, 3)
        and all(isinstance(each, tuple) and len(each) in (2, 3) and all(map(_has_rows, each)) for each in result)
    )


def _has_rows(values: Any) -> bool:
    return isinstance(values, Mapping | list | tuple) or np.ndim(values) > 0


def _from_arrays(given: Sequence[Any], source: str) -> Arrays:
    """Take inputs, targets and, as the third array, weights of rows, if it is given and not None."""
    arrays = _from_pair(given[0], given[1], source)
    if len(given) == 2 or given[2] is None:
        return arrays
    refuse_weights_by_head(given[2], source)
    refuse_other_order(given[0], given[2], source, "weights")
    return replace(arrays, weights=read_array(given[2], row_count(arrays.targets), source))


def _from_pair(inputs_given: Any, targets_given: Any, source: str) -> Arrays:
    heads = several_targets(targets_given, inputs_given, source)
    if heads is not None:
        return read_heads({name: _from_pair(inputs_given, each, source) for name, each in heads.items()}, source)
    targets_given = only_target(targets_given)
    refuse_other_order(inputs_given, targets_given, source, "targets")
    targets = plain_array(targets_given, KEY, f"{source}: targets")
    rows = len(np.atleast_1d(targets))
    inputs_given = only_input(inputs_given, rows)
    several = several_inputs(inputs_given, rows, source)
    is_named = hasattr(targets_given, "columns") and targets.ndim == 2 and targets.shape[1] > 1
    names = tuple(map(str, targets_given.columns)) if is_named else None
    if names and len(set(names)) < len(names):
        raise InputError(KEY, f"{source} returned targets with several columns of one name; rename them")
    if several is not None:
        _refuse_other_targets(targets, source)
        tree, findings = read_several(several, len(targets), source)
        return Arrays(tree, _as_targets(targets, source), findings=findings, target_names=names)
    inputs = plain_array(inputs_given, KEY, f"{source}: inputs")
    return replace(_checked(inputs, targets, source), target_names=names)


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
