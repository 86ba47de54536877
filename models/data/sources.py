"""Read a source of data: a set of scikit-learn, a file or folder of a known kind, or a user's function."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from nightune.models.data.contents import Arrays, Table
from nightune.models.data.files.array_files import read_hdf5, read_npy, read_npz, refuse_unknown_names
from nightune.models.data.files.csv_tables import read_csv_table
from nightune.models.data.files.databases import read_duckdb, read_sqlite
from nightune.models.data.files.image_folders import SUFFIXES as IMAGE_SUFFIXES
from nightune.models.data.files.image_folders import holds_images, read_images
from nightune.models.data.files.json_tables import read_json
from nightune.models.data.files.kinds import ARRAYS as ARRAY_KINDS
from nightune.models.data.files.kinds import OTHERS, PACKED, kind_of, listed_formats
from nightune.models.data.files.other_content import refuse_other_content
from nightune.models.data.files.typed_tables import category_remarks, read_excel, read_feather, read_parquet
from nightune.models.data.named_columns import tidy
from nightune.models.data.returned import from_mapping, from_result
from nightune.models.data.source_options import FUNCTION, IMAGES, SourceOptions
from nightune.models.errors import InputError
from nightune.models.user_code import call_function, is_reference, running
from nightune.vocabulary import unknown_name

if TYPE_CHECKING:
    import pandas as pd

KEY = "data.source"
# What a folder holds besides, and what to do with it.
FOLDERS = {
    ".csv": "join its files by a function, file.py:function: pd.concat(map(pd.read_csv, sorted(folder.glob('*.csv'))))",
    ".txt": 'return pd.DataFrame({"words": texts, "y": names of the folders}) from a function, file.py:function, and '
    'write target = "y" and text = ["words"] in [data]',
}
BUILT_IN = ("breast_cancer", "diabetes", "digits", "digits_images", "iris", "wine")


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
        read, own = _read_built_in(source), folder / source
        said = f'{source!r} is a data set of scikit-learn; for the folder of this name write source = "./{source}"'
        return replace(read, findings=(said,)) if own.exists() else read
    if is_reference(source):
        options.refuse_unread(FUNCTION, source)
        result = call_function(source, folder, KEY, options.arguments)
        with running(source, folder, KEY):
            return from_result(result, source, options)
    place = existing_place(source, folder)
    kind = kind_of_place(place)
    options.refuse_unread(kind, source)
    if place.is_file():
        refuse_other_content(place, kind)
    if kind == IMAGES:
        return read_images(place, options)
    if kind in ARRAY_KINDS:
        return _read_arrays(place, kind, options)
    if kind == "csv":
        frame, dialect, findings = read_csv_table(place, numeric, categorical, options)
        form = {"decimal": ","} if dialect.decimal == "," else {}
        form |= {"escape": dialect.escape} if dialect.escape else {}
        return replace(tidy(frame, place.name), findings=findings, form=form)
    return _read_typed(place, kind, options, (*numeric, *categorical))


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
    remedy = next((remedy for suffix, remedy in FOLDERS.items() if suffix in suffixes), "name a file in it")
    raise InputError(KEY, f"{place.name!r} is a folder with {held}; one holds {allowed}, else {remedy}")


def _read_typed(place: Path, kind: str, options: SourceOptions, stated: Sequence[str]) -> Table:
    """Read a file that keeps the types of its columns."""
    if kind in ("json", "jsonl"):
        frame, findings = read_json(place, kind == "jsonl", options.encoding)
        return replace(tidy(frame, place.name), findings=findings)
    if kind == "excel":
        frame, findings = read_excel(place, options.sheet)
        return replace(tidy(frame, place.name), findings=findings)
    if kind == "parquet":
        frame = read_parquet(place)
        return replace(tidy(frame, place.name), findings=category_remarks(place, frame, stated))
    readers: dict[str, Callable[[], pd.DataFrame]] = {
        "feather": lambda: read_feather(place),
        "sqlite": lambda: read_sqlite(place, options.query),
        "duckdb": lambda: read_duckdb(place, options.query),
    }
    return tidy(readers[kind](), place.name)


def _read_arrays(file: Path, kind: str, options: SourceOptions) -> Arrays:
    if kind == "npy":
        return from_mapping(read_npy(file, options.arrays), file.name)
    held, findings = (read_npz if kind == "npz" else read_hdf5)(file, options.arrays)
    arrays = from_mapping(held, file.name)
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
        named = f"{Path(source).stem}.csv{''.join(suffixes[:1])}"
        remedies |= dict.fromkeys(PACKED, f"its name does not say what is packed: name it {named}, or unpack it")
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
