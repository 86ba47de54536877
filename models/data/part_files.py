"""Read the validation and test rows of a fixed split from files of their own."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.data.contents import Arrays, Table
from nightune.models.data.files.csv_dialects import UTF_8, settle_dialect
from nightune.models.data.files.csv_tables import read_csv
from nightune.models.data.files.kinds import kind_of
from nightune.models.data.files.lost_rows import cut_off
from nightune.models.data.files.other_content import refuse_other_content
from nightune.models.data.files.packed import unpacked
from nightune.models.data.parts import join_arrays
from nightune.models.data.settings import DataSettings
from nightune.models.data.source_options import SourceOptions
from nightune.models.data.sources import BUILT_IN, KEY, existing_place, read_source, refuse_few_rows
from nightune.models.errors import InputError
from nightune.models.user_code import is_reference

if TYPE_CHECKING:
    import pandas as pd


def read_content(settings: DataSettings, folder: Path) -> Table | Arrays:
    """Read the source of a study, and the files of its split as further rows of it.

    CSV files are joined as texts and read as one, so that a column is read alike in all of them.
    """
    files = settings.split.files
    if not files:
        content = read_source(settings.source, folder, settings.numeric, settings.as_written, settings.options)
        if isinstance(content, Table):
            refuse_few_rows(content, settings.source)
        return content
    sources = {"train": settings.source, **files}
    kinds = {name: _kind(source, folder) for name, source in sources.items()}
    places = {
        name: source if is_reference(source) else str((folder / source).resolve()) for name, source in sources.items()
    }
    for name in files:
        if kinds[name] != kinds["train"]:
            problem = f"{sources[name]!r} and source {settings.source!r} are of different kinds; name files of one kind"
            raise InputError(f"data.split.{name}", problem)
        same = next((other for other in sources if other != name and places[other] == places[name]), None)
        if same:
            raise InputError(f"data.split.{name}", f"{sources[name]!r} is the {same} file, too; name a file of its own")
    if kinds["train"] == "csv":
        return _read_csv_files(sources, settings, folder)
    contents = {name: _read(name, source, settings, folder) for name, source in sources.items()}
    arrays = {name: each for name, each in contents.items() if isinstance(each, Arrays)}
    if len(arrays) == len(contents):
        return join_arrays(arrays, settings.source)
    tables = {name: each for name, each in contents.items() if isinstance(each, Table)}
    if len(tables) < len(contents):
        raise InputError("data.split", f"{', '.join(sources.values())}: some hold tables, others arrays")
    return _join_tables(tables, settings.source)


def _kind(source: str, folder: Path) -> str:
    if is_reference(source):
        return "function"
    place = folder / Path(source).expanduser()
    return source if source in BUILT_IN else "folder" if place.is_dir() else kind_of(place) or place.suffix.lower()


def _key(name: str) -> str:
    return KEY if name == "train" else f"data.split.{name}"


def _read(name: str, source: str, settings: DataSettings, folder: Path) -> Table | Arrays:
    try:
        return read_source(source, folder, settings.numeric, settings.as_written, settings.options)
    except InputError as error:
        raise InputError(_key(name) if error.key == KEY else error.key, error.message) from error


def _read_csv_files(sources: Mapping[str, str], settings: DataSettings, folder: Path) -> Table:
    """Join the files, all written like that of the training rows, as texts; then read them like one file."""
    texts = {}
    options, findings, cut = settings.options, tuple[str, ...](), tuple[str, ...]()
    for name, source in sources.items():
        try:
            file = existing_place(source, folder)
            refuse_other_content(file, "csv")
            with unpacked(file) as plain:
                dialect = settle_dialect(plain, options, file.name)
                texts[name] = read_csv(plain, None, dialect, file.name)
                cut += cut_off(plain, dialect, len(texts[name].columns), file.name)
        except InputError as error:
            raise InputError(_key(name) if error.key == KEY else error.key, error.message) from error
        if name == "train":
            findings = dialect.findings
            options = replace(options, separator=dialect.separator, decimal=dialect.decimal, escape=dialect.escape)
    joined, parts = _join(texts)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / f"{Path(settings.source).name.partition('.')[0]}.csv"
        joined.to_csv(file, index=False, encoding="utf-8", lineterminator="\r\n")  # so that a lone \r is quoted, too
        written = SourceOptions(separator=",", decimal=options.decimal, encoding=UTF_8)
        table = read_source(str(file), folder, settings.numeric, settings.as_written, written)
    assert isinstance(table, Table)  # as every CSV file
    form = {**table.form, **({"escape": options.escape} if options.escape else {})}
    return replace(table, parts=parts, findings=(*findings, *cut, *table.findings), form=form)


def _join_tables(tables: Mapping[str, Table], source: str) -> Table:
    frames = {name: table.frame for name, table in tables.items()}
    joined, parts = _join(frames)
    first = next(iter(frames.values()))
    for name, frame in frames.items():
        for column in first.columns:
            if not _are_alike(first[column], frame[column]):
                raise InputError(
                    _key(name),
                    f"column {column!r} holds {frame[column].dtype} values, and {first[column].dtype} in {source}; "
                    "store it in one type",
                )
    findings = tuple(dict.fromkeys(finding for table in tables.values() for finding in table.findings))
    return replace(next(iter(tables.values())), frame=joined, findings=findings, parts=parts)


def _are_alike(one: "pd.Series[Any]", other: "pd.Series[Any]") -> bool:
    """True for values of one kind: numbers, or the same type; columns of gaps alone are of every kind."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype  # noqa: PLC0415 - half a second, only for tables

    if one.isna().all() or other.isna().all():
        return True
    numeric = [is_numeric_dtype(each) and not is_bool_dtype(each) for each in (one, other)]
    if any(numeric):
        return all(numeric)
    return one.dtype.kind == other.dtype.kind


def _join(frames: "Mapping[str, pd.DataFrame]") -> "tuple[pd.DataFrame, pd.Series[str]]":
    """Return the rows of all parts under the columns of the first, and the part of each row."""
    import pandas as pd  # noqa: PLC0415

    columns = list(next(iter(frames.values())).columns)
    for name, frame in frames.items():
        missing = [column for column in columns if column not in frame.columns]
        extra = [column for column in frame.columns if column not in columns]
        if missing or extra:
            what = f"lacks column {missing[0]!r}" if missing else f"has a column {extra[0]!r} more"
            raise InputError(_key(name), f"the file {what}; all files need the columns {', '.join(map(str, columns))}")
        if frame.empty:
            raise InputError(_key(name), "the file holds no rows")
    joined = pd.concat([frame[columns] for frame in frames.values()], ignore_index=True)
    named = np.repeat(list(frames), [len(frame) for frame in frames.values()])
    return joined, pd.Series(named, name="file")
