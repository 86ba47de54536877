"""Read a file of rows for which a registered version predicts: its columns as training read them, labels ignored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightune.models.data.array_keys import INPUTS
from nightune.models.data.contents import Table
from nightune.models.data.image_columns import from_folder
from nightune.models.data.sources import FORMATS, KEY, array_of, existing_file, open_archive, read_source
from nightune.models.errors import InputError
from nightune.models.serving.columns import AS_TEXTS, IMAGE, LABELS, USUAL_FORMS
from nightune.models.serving.input_trees import ArrayTree, is_several, read_shape, row_count
from nightune.vocabulary import listing, suggestion, unknown_name

if TYPE_CHECKING:
    import pandas as pd

TEXTS = ("object", "str", "string", "category")  # dtypes of columns that hold texts


@dataclass(frozen=True, eq=False)
class RowsToPredict:
    """A table or arrays (rows, ...) for a version, and what of the file is not read or taken by its place."""

    rows: "pd.DataFrame | ArrayTree"
    remarks: tuple[str, ...] = ()


def existing_rows(file: Path) -> Path:
    """Return the whole path of a file of rows; InputError, which names it, if there is none of a known format."""
    if file.suffix.lower() not in FORMATS:
        known = unknown_name(file.suffix or file.name, FORMATS, "format")
        raise InputError(str(file), f"{known}; save the rows as one of these files")
    try:
        return existing_file(str(file.expanduser()), Path.cwd())
    except InputError as error:
        raise InputError(str(file), error.message) from error


def read_rows(file: Path, description: Mapping[str, Any]) -> RowsToPredict:
    """Read the rows of a file for the version of a description; InputError names the file and its columns.

    Columns that the version does not read, the target among them, are left out with a remark. Texts of labels and of
    numbers stay as they are written, since the version knows how training read them.
    """
    try:
        rows = _read(file, description)
    except InputError as error:
        where = "" if error.key == KEY else f"{error.key}: "
        raise InputError(str(file), f"{where}{error.message}") from error
    if not row_count(rows.rows):
        raise InputError(str(file), "it holds no rows")
    return rows


def _read(file: Path, description: Mapping[str, Any]) -> RowsToPredict:
    columns = description.get("columns")
    if file.suffix.lower() == ".npz":
        if columns is not None:
            names = [column["name"] for column in columns]
            raise InputError(KEY, f"it holds arrays; the model reads a table: .csv or .parquet ({listing(names)})")
        return _from_archive(file, read_shape(description["input_shape"]))
    numbers = {each["name"]: form for each in columns or () if (form := each.get("form", "")) not in USUAL_FORMS}
    labels = [
        each["name"]
        for each in columns or ()
        if each["kind"] in AS_TEXTS and (each["kind"] not in LABELS or each["dtype"] in TEXTS)
    ]
    content = read_source(str(file), file.parent, numbers, labels)
    assert isinstance(content, Table)  # as every CSV and Parquet file
    if columns is None:
        shape = read_shape(description["input_shape"])
        return _by_name(content.frame, shape, file) if is_several(shape) else _by_place(content.frame, shape)
    frame = from_folder(content.frame, [each["name"] for each in columns if each["kind"] == IMAGE], file.parent)
    return _known_columns(frame, [each["name"] for each in columns], description.get("target"))


def _by_name(table: "pd.DataFrame", shape: Any, file: Path) -> RowsToPredict:
    """Take a column for each of several inputs with names; those of a CSV file hold single numbers."""
    has_lists = file.suffix.lower() == ".parquet"
    if not isinstance(shape, dict) or not (has_lists or all(each in ((), (1,)) for each in shape.values())):
        names = ", ".join(map(repr, _archived_names(shape)))
        raise InputError(KEY, f"the model reads several inputs; save them as the arrays {names} of a .npz file")
    return _known_columns(table, list(shape), None)


def _by_place(table: "pd.DataFrame", shape: Any) -> RowsToPredict:
    """Take the columns of a table as the numbers of a row, for a model of arrays, which have no names."""
    if len(shape) > 1:
        raise InputError(KEY, f"the model reads rows of shape {shape}; save them as an array 'x' of a .npz file")
    held = ", ".join(table.columns)
    if len(table.columns) != shape[0]:
        remedy = "leave out labels and other columns" if len(table.columns) > shape[0] else "columns are missing"
        raise InputError(KEY, f"it has {len(table.columns)} columns, and the model reads {shape[0]}: {remedy} ({held})")
    return RowsToPredict(table.to_numpy(), (f"columns are taken by their place: {held}",))


def _known_columns(table: "pd.DataFrame", needed: Sequence[str], target: str | Sequence[str] | None) -> RowsToPredict:
    targets = [target] if isinstance(target, str) else list(target or ())
    missing = [name for name in needed if name not in table.columns]
    others = [str(name) for name in table.columns if name not in needed and name not in targets]
    if missing:
        near = suggestion(missing[0], others)
        unread = f"; it has {', '.join(map(repr, others))}, which the model does not read" if others else ""
        raise InputError(KEY, f"it lacks {_columns(missing)}{near}{unread} (the model reads {', '.join(needed)})")
    held = [name for name in targets if name in table.columns]
    remarks = [
        *([f"{_columns(held)} ignored: the target"] if held else []),
        *([f"{_columns(others)} ignored: not read by the model"] if others else []),
    ]
    return RowsToPredict(table[list(needed)], tuple(remarks))


def _columns(names: Sequence[str]) -> str:
    return f"column{'s' if len(names) > 1 else ''} {', '.join(map(repr, names))}"


def _from_archive(file: Path, shape: Any) -> RowsToPredict:
    """Take each of several inputs by its name; else the array of the inputs by its name, or the only array."""
    with open_archive(file) as archive:
        held = list(archive.files)
        names = _archived_names(shape) if is_several(shape) else _only_input(held)
        missing = [name for name in names if name not in held]
        if missing:
            needed = ", ".join(map(repr, names))
            raise InputError(KEY, f"it lacks the array {missing[0]!r} ({listing(held, 'it holds')}); needed: {needed}")
        others = [other for other in held if other not in names]
        remarks = (f"arrays {', '.join(map(repr, others))} ignored",) if others else ()
        arrays = [array_of(archive, name, file.name) for name in names]
    single = next((name for name, array in zip(names, arrays, strict=True) if not array.ndim), None)
    if single is not None:
        raise InputError(KEY, f"array {single!r} is a single value; the model reads an array of rows")
    rows: ArrayTree = dict(zip(names, arrays, strict=True)) if isinstance(shape, dict) else tuple(arrays)
    return RowsToPredict(rows if is_several(shape) else arrays[0], remarks)


def _archived_names(shape: Any) -> list[str]:
    """Return the names of several inputs in a file: their own, or those that `numpy.savez` gives to arrays in order."""
    return list(shape) if isinstance(shape, dict) else [f"arr_{place}" for place in range(len(shape))]


def _only_input(held: Sequence[str]) -> list[str]:
    name = next((name for name in INPUTS if name in held), held[0] if len(held) == 1 else None)
    if name is None:
        raise InputError(KEY, f"it needs an array {INPUTS[0]!r} with the inputs ({listing(held, 'it holds')})")
    return [name]
