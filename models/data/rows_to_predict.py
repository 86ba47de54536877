"""Read a file of rows for which a registered version predicts: its columns as training read them, labels ignored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightune.models.data.array_keys import INPUTS
from nightune.models.data.contents import Table
from nightune.models.data.files.array_files import open_arrays
from nightune.models.data.files.csv_dialects import settle_dialect
from nightune.models.data.files.image_folders import SUFFIXES as IMAGE_SUFFIXES
from nightune.models.data.files.image_folders import images_in
from nightune.models.data.files.kinds import ARRAYS as ARRAY_KINDS
from nightune.models.data.files.kinds import FORMATS, kind_of
from nightune.models.data.files.packed import unpacked
from nightune.models.data.image_columns import from_folder
from nightune.models.data.source_options import IMAGES, SourceOptions
from nightune.models.data.sources import KEY, existing_place, kind_of_place, read_source
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

    rows: "pd.DataFrame | ArrayTree | list[Any]"  # the last are paths of images, or lists of numbers
    remarks: tuple[str, ...] = ()
    names: tuple[str, ...] = ()  # of the files of a folder, one for each row


def existing_rows(file: Path) -> Path:
    """Return the whole path of a file or folder of rows; InputError, which names it, for one that is not read."""
    if file.suffix.lower() in IMAGE_SUFFIXES and file.expanduser().is_file():
        return file.expanduser().resolve()
    if kind_of(file) is None and not file.expanduser().is_dir():
        known = unknown_name(file.suffix or file.name, FORMATS, "format")
        raise InputError(str(file), f"{known}; save the rows as one of these files")
    try:
        return existing_place(str(file.expanduser()), Path.cwd())
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
        if error.key in ("data.query", "data.sheet"):
            raise InputError(str(file), "it holds several tables; save the rows as .csv or .parquet") from error
        where = "" if error.key == KEY else f"{error.key}: "
        raise InputError(str(file), f"{where}{error.message}") from error
    if not (len(rows.rows) if isinstance(rows.rows, list) else row_count(rows.rows)):
        raise InputError(str(file), "it holds no rows")
    return rows


def _read(file: Path, description: Mapping[str, Any]) -> RowsToPredict:
    columns = description.get("columns")
    if "images" in description and kind_of(file) not in ARRAY_KINDS:
        return _images(file)
    if file.suffix.lower() in IMAGE_SUFFIXES:
        raise InputError(KEY, "it is an image; the model reads rows of numbers")
    kind = kind_of_place(file)
    if kind in ARRAY_KINDS:
        if columns is not None:
            names = [column["name"] for column in columns]
            raise InputError(KEY, f"it holds arrays; the model reads a table: .csv or .parquet ({listing(names)})")
        return _from_arrays(file, read_shape(description["input_shape"]))
    if kind == IMAGES:
        raise InputError(KEY, "it is a folder of images; the model reads rows of numbers")
    numbers = {each["name"]: form for each in columns or () if (form := each.get("form", "")) not in USUAL_FORMS}
    labels = [
        each["name"]
        for each in columns or ()
        if each["kind"] in AS_TEXTS and (each["kind"] not in LABELS or each["dtype"] in TEXTS)
    ]
    content = _table(file, numbers, labels, description)
    if columns is None:
        shape = read_shape(description["input_shape"])
        if "" in description.get("pad", {}) and len(content.frame.columns) == 1:
            return RowsToPredict(content.frame.iloc[:, 0].tolist())
        return _by_name(content.frame, shape, file) if is_several(shape) else _by_place(content.frame, shape)
    frame = from_folder(content.frame, [each["name"] for each in columns if each["kind"] == IMAGE], file.parent)
    return _known_columns(frame, [each["name"] for each in columns], description.get("target"))


def _table(file: Path, numbers: Mapping[str, str], labels: Sequence[str], description: Mapping[str, Any]) -> Table:
    """Read a table; CSV files have the escape sign of the training data.

    Their numbers have its decimal sign, unless a comma divides fields.
    """
    options = SourceOptions()
    if description.get("decimal") == "," and kind_of(file) == "csv":
        with unpacked(file) as plain:
            separator = settle_dialect(plain, options, file.name).separator
        options = options if separator == "," else SourceOptions(separator=separator, decimal=",")
    if kind_of(file) == "csv":
        options = replace(options, escape=description.get("escape", ""))
    content = read_source(str(file), file.parent, numbers, labels, options)
    assert isinstance(content, Table)  # as all kinds of files but arrays and images
    return content


def _images(file: Path) -> RowsToPredict:
    """List the images of a folder, or those whose paths are the only column of a table, from its folder on."""
    if file.is_dir():
        paths = images_in(file)
        if not paths:
            raise InputError(KEY, "it is a folder without images")
        return RowsToPredict([str(path) for path in paths], names=tuple(str(path.relative_to(file)) for path in paths))
    if file.suffix.lower() in IMAGE_SUFFIXES:
        return RowsToPredict([str(file)], names=(file.name,))
    content = read_source(str(file), file.parent)
    assert isinstance(content, Table)
    if len(content.frame.columns) != 1:
        held = ", ".join(map(str, content.frame.columns))
        known = "a folder, an image, or a table of one column, paths"
        raise InputError(KEY, f"the model reads images: {known}; it has the columns {held}")
    names = tuple(map(str, content.frame.iloc[:, 0]))
    return RowsToPredict([str(file.parent / name) for name in names], names=names)


def _by_name(table: "pd.DataFrame", shape: Any, file: Path) -> RowsToPredict:
    """Take a column for each of several inputs with names; those of a CSV file hold single numbers."""
    has_lists = kind_of(file) not in ("csv", "excel")
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


def _from_arrays(file: Path, shape: Any) -> RowsToPredict:
    """Take each of several inputs by its name; else the array of the inputs by its name, or the only array."""
    with open_arrays(file) as held:
        names = _archived_names(shape) if is_several(shape) else _only_input(list(held))
        missing = [name for name in names if name not in held]
        if missing:
            needed = ", ".join(map(repr, names))
            raise InputError(KEY, f"it lacks the array {missing[0]!r} ({listing(held, 'it holds')}); needed: {needed}")
        others = [other for other in held if other not in names]
        remarks = (f"arrays {', '.join(map(repr, others))} ignored",) if others else ()
        arrays = [held[name]() for name in names]
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
