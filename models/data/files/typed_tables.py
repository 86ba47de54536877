"""Read Parquet, Feather and Excel files as tables; whole numbers keep every digit."""

import re
import warnings
from collections.abc import Collection, Sequence
from contextlib import closing
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightune.models.data.files.extras import imported
from nightune.models.data.files.merged_cells import merged_ranges, with_merged_values
from nightune.models.data.files.repeated_names import refuse_repeated
from nightune.models.data.files.whole_numbers import column_of, keep_digits
from nightune.models.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

KEY = "data.source"
_UNNAMED_INDEX = re.compile(r"__index_level_\d+__")  # of pandas, as it stands in a file


def read_parquet(place: Path) -> "pd.DataFrame":
    """Read a Parquet file, or a folder of such files, whose subfolders NAME=VALUE are columns."""
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    try:
        if place.is_dir():
            return _read_parts(place)
        return _with_digits(pd.read_parquet(place, engine="pyarrow"), place)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        if isinstance(error, InputError):
            raise
        what = "is not a readable Parquet file (truncated?)" if place.is_file() else "is not a folder of Parquet files"
        raise InputError(KEY, f"{place.name} {what}: {first_line(error)}") from error


def category_remarks(place: Path, table: "pd.DataFrame", stated: Collection[str]) -> tuple[str, ...]:
    """Say which numbers were categories of pandas, a type that Parquet does not keep; stated columns are left out."""
    from pyarrow import parquet  # noqa: PLC0415 - only for Parquet

    file = place if place.is_file() else _visible_files(place)[0]
    described = (parquet.read_schema(file).pandas_metadata or {}).get("columns", [])
    names = [each["name"] for each in described if each.get("pandas_type") == "categorical"]
    return tuple(
        f"column {name!r} was of the type category, and its numbers are read as amounts; "
        f'for labels: categorical = ["{name}"] in [data]'
        for name in names
        if name in table.columns and name not in stated and table[name].dtype.kind in "iuf"
    )


def _read_parts(folder: Path) -> "pd.DataFrame":
    from pyarrow import dataset  # noqa: PLC0415 - only for Parquet

    files = _visible_files(folder)
    if not files:
        raise InputError(KEY, f"{folder.name} holds no Parquet file that is not hidden")
    parts = dataset.dataset(
        list(map(str, files)),
        schema=_common_schema(files, folder),
        format="parquet",
        partitioning=_partitioning(files, folder),
        partition_base_dir=str(folder),
    )
    held = parts.to_table()
    return from_arrow(held.select([name for name in held.column_names if not _UNNAMED_INDEX.fullmatch(name)]))


def _visible_files(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.rglob("*.parquet")) if not _is_hidden(file.relative_to(folder))]


def _is_hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def _common_schema(files: Sequence[Path], folder: Path) -> Any:
    """Return the columns of all files and of the folders; InputError for a file with others."""
    import pyarrow as pa  # noqa: PLC0415 - only for Parquet
    from pyarrow import dataset, parquet  # noqa: PLC0415

    schemas = [parquet.read_schema(file).remove_metadata() for file in files]
    for file, schema in zip(files, schemas, strict=True):
        others = sorted(set(schemas[0].names) ^ set(schema.names))
        if others:
            problem = f"{file.relative_to(folder)} and {files[0].relative_to(folder)} differ in the columns"
            raise InputError(KEY, f"{folder.name}: {problem} {', '.join(others[:5])}; give all files the same columns")
    found = dataset.dataset(
        [str(file) for file in files],
        format="parquet",
        partitioning=_partitioning(files, folder),
        partition_base_dir=str(folder),
    )
    of_folders = [field for field in found.schema if field.name not in schemas[0].names]
    return pa.unify_schemas([*schemas, pa.schema(of_folders)], promote_options="permissive")


def _partitioning(files: Sequence[Path], folder: Path) -> Any:
    """Read the values of folders as pyarrow infers them, but as texts where one has a zero in front, such as 01."""
    from pyarrow import dataset, schema, string  # noqa: PLC0415 - only for Parquet

    values: dict[str, set[str]] = {}
    for file in files:
        for part in file.relative_to(folder).parts[:-1]:
            name, mark, value = part.partition("=")
            if mark:
                values.setdefault(name, set()).add(value)
    texts = [name for name, held in values.items() if any(re.fullmatch(r"0\d+", value) for value in held)]
    if texts:
        return dataset.partitioning(schema([(name, string()) for name in values]), flavor="hive")
    return dataset.HivePartitioning.discover()


def _with_digits(frame: "pd.DataFrame", file: Path) -> "pd.DataFrame":
    """Read again what pandas has made floats of whole numbers with gaps, if there is any."""
    from pyarrow import parquet, types  # noqa: PLC0415 - only for Parquet

    with parquet.ParquetFile(file) as held:
        names = [field.name for field in held.schema_arrow if types.is_integer(field.type)]
        lost = [name for name in names if name in frame.columns and frame[name].dtype.kind == "f"]
        return keep_digits(frame, held.read(columns=lost)) if lost else frame


def read_feather(file: Path) -> "pd.DataFrame":
    """Read a Feather file, or a file or stream of Arrow."""
    import pyarrow as pa  # noqa: PLC0415 - only for Arrow
    from pyarrow import feather  # noqa: PLC0415

    try:
        try:
            table: pa.Table = feather.read_table(file, memory_map=False)
        except pa.ArrowInvalid:
            with pa.ipc.open_stream(file.read_bytes()) as stream:
                table = stream.read_all()
    except (OSError, ValueError) as error:
        problem = f"{file.name} is not a readable Feather or Arrow file (truncated?): {first_line(error)}"
        raise InputError(KEY, problem) from error
    return from_arrow(table)


def from_arrow(table: "pa.Table") -> "pd.DataFrame":
    """Return a table of Arrow as pandas holds it, with every digit of its whole numbers."""
    return keep_digits(table.to_pandas(), table)


def read_excel(file: Path, sheet: str) -> "tuple[pd.DataFrame, tuple[str, ...]]":
    """Read a sheet of an Excel file, the one of the name or the only one, with the names of columns in its first row.

    Return also findings. Cells keep their types: unlike pandas' reader, texts of digits such as 01 stay texts. Those
    that are merged with one above have its value. Formulas are their values, which the file holds once a program has
    calculated them; InputError names a cell without one.
    """
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    openpyxl = imported("openpyxl", "excel", "Excel files")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of styles and extensions, which hold no data
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
            written = openpyxl.load_workbook(file, read_only=True)
        with closing(book), closing(written):
            name = _chosen_sheet(book.sheetnames, sheet, file.name)
            _refuse_uncalculated(book[name], written[name], file.name)
            rows = list(book[name].values)
            header = next((place for place, row in enumerate(rows) if any(map(_is_held, row))), 0)
            rows, findings = with_merged_values(rows, merged_ranges(book[name]), header, file.name)
            rows = [row for row in rows if any(map(_is_held, row))]
    except (InputError, MemoryError):
        raise
    except Exception as error:  # what a broken archive raises is up to it
        raise InputError(KEY, f"{file.name} is not a readable Excel file: {first_line(error)}") from error
    if not rows:
        raise InputError(KEY, f"{file.name} is empty")
    columns = [each for each in zip_longest(*rows) if any(map(_is_held, each))]
    names = ["" if each[0] is None else str(each[0]) for each in columns]
    if "" in names:
        problem = f"{file.name}: {names.count('')} columns have no name in the first row"
        raise InputError(KEY, f"{problem}; give each one, and remove titles above and notes beside the table")
    refuse_repeated(names, file.name)
    values = [column_of([None if each == "" else each for each in column[1:]]) for column in columns]
    return pd.DataFrame(dict(zip(names, values, strict=True))), findings


def _refuse_uncalculated(values: Any, formulas: Any, file: str) -> None:
    """Refuse a formula without a value: programs that only write files leave it out, and it would be read as a gap."""
    for shown, written in zip(values.iter_rows(), formulas.iter_rows(), strict=True):
        for value, formula in zip(shown, written, strict=True):
            if value.value is None and formula.data_type == "f":
                problem = f"the formula in {formula.coordinate} has no value yet"
                raise InputError(KEY, f"{file}: {problem}; open the file in a spreadsheet program and save it")


def _is_held(cell: Any) -> bool:
    return cell is not None and cell != ""


def _chosen_sheet(names: Sequence[str], sheet: str, file: str) -> str:
    if sheet in names or (not sheet and len(names) == 1):
        return sheet or names[0]
    which = f"no sheet {sheet!r}" if sheet else f"{len(names)} sheets"
    listed = ", ".join(map(repr, names))
    raise InputError("data.sheet", f"{file} has {which}; name one of {listed}: sheet = {names[0]!r}")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return (str(error).strip().splitlines() or ["no message"])[0]
