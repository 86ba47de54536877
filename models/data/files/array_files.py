"""Read files of arrays: .npz, .npy and HDF5."""

import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nightune.models.data.array_keys import ARRAYS, known_names
from nightune.models.data.parts import PART_NAMES
from nightune.models.data.return_remedies import INPUT_WORDS, TARGET_WORDS
from nightune.models.errors import InputError
from nightune.vocabulary import listing, unknown_name

_USUAL = {"x": INPUT_WORDS, "y": TARGET_WORDS}
KEY, NAMES = "data.source", "data.arrays"


def read_npz(file: Path, names: Mapping[str, str]) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return the arrays of a file by the names that are read, and a finding on the others.

    `names` are those in the file by these; the others have them already.
    """
    with open_archive(file) as archive:
        chosen = _chosen(list(archive.files), names, file.name)
        held = {name: array_of(archive, own, file.name) for name, own in chosen.items()}
        return held, _unread(list(archive.files), chosen, file.name)


def read_npy(file: Path, names: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Return the inputs of a file, mapped to it, with the arrays of other files that `names` have beside it."""
    if "y" not in names or "x" in names:
        remedy = 'name that of the targets beside it: arrays = { y = "y.npy" } in [data]'
        raise InputError(NAMES, f"{file.name} holds one array, the inputs; {remedy}")
    return {"x": _mapped(file)} | {name: _mapped(file.parent / other) for name, other in names.items()}


def read_hdf5(file: Path, names: Mapping[str, str]) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return the datasets of a file by the names that are read, and a finding on the others."""
    with _open_hdf5(file) as content:
        held = _datasets(content)
        chosen = _chosen(held, names, file.name)
        arrays = {name: _dataset(content[own], own, file.name) for name, own in chosen.items()}
        return arrays, _unread(held, chosen, file.name)


@contextmanager
def _open_hdf5(file: Path) -> Iterator[Any]:
    import h5py  # noqa: PLC0415 - only for HDF5

    try:
        with h5py.File(file, "r") as content:
            if any("pandas_type" in each.attrs for each in content.values()):
                remedy = "read it by a function, file.py:function (pandas.read_hdf), or save it as .parquet"
                raise InputError(KEY, f"{file.name} holds a table of pandas; {remedy}")
            yield content
    except (OSError, RuntimeError, KeyError) as error:
        raise InputError(KEY, f"{file.name} is not a readable HDF5 file (truncated?): {error}") from error


def _datasets(content: Any) -> list[str]:
    """Return the names of all datasets, those in groups as group/name."""
    held: list[str] = []
    content.visititems(lambda name, each: held.append(name) if hasattr(each, "shape") else None)
    return held


def _dataset(dataset: Any, name: str, file: str) -> np.ndarray:
    if dataset.shape is None or (dataset.dtype.kind == "O" and dataset.dtype.metadata is None):
        raise InputError(KEY, f"dataset {name!r} of {file} holds objects; save numbers or texts")
    values = dataset.asstr()[()] if dataset.dtype.kind == "O" else dataset[()]
    array: np.ndarray = np.asarray(values)
    return array.astype(np.str_) if array.dtype.kind == "O" else array


def _chosen(held: list[str], names: Mapping[str, str], file: str) -> dict[str, str]:
    """Return the names in a file by those that are read; InputError for names that it does not have."""
    for name, own in names.items():
        if own not in held:
            raise InputError(NAMES, f"{name}: {file} has no {own!r} ({listing(held, 'it holds')})")
    taken = set(names.values())
    free = [name for name in held if name not in taken and name not in names and (not names or name in ARRAYS)]
    try:
        known = known_names([*free, *names], file)
    except InputError as error:
        proposed = ", ".join(f'{name} = "{own}"' for name, own in _proposed(held).items())
        remedy = f"name the arrays: arrays = {{ {proposed} }} in [data]"
        raise InputError(KEY, f"{error.message}; {remedy}") from error
    return {name: names.get(name, name) for name in known}


def _proposed(held: list[str]) -> dict[str, str]:
    """Return names in a file that may be inputs and targets, as `arrays` takes them: of folders of splits, or two."""
    pairs: dict[str, dict[str, str]] = {}
    for name in held:
        front, _, own = name.rpartition("/")
        kind = next((kind for kind, words in _USUAL.items() if own.lower() in words), None)
        if kind is not None:
            pairs.setdefault(front, {}).setdefault(kind, name)
    whole = {front.rpartition("/")[2].lower(): pair for front, pair in pairs.items() if len(pair) == len(_USUAL)}
    parts = {front: pair for front, pair in whole.items() if front in PART_NAMES}
    if "train" in parts and len(parts) > 1:
        return {f"{kind}_{front}": name for front, pair in parts.items() for kind, name in sorted(pair.items())}
    return next(iter(whole.values()), {"x": (held or ["…"])[0], "y": "…"})


def refuse_unknown_names(names: Mapping[str, str]) -> None:
    """Refuse names that no array is read by."""
    unknown = next((name for name in names if name not in ARRAYS and "_" not in name), None)
    if unknown is not None:
        raise InputError(NAMES, unknown_name(unknown, ARRAYS, "array"))


def _unread(held: list[str], chosen: Mapping[str, str], file: str) -> tuple[str, ...]:
    others = [name for name in held if name not in chosen.values()]
    return (f"{file}: arrays {', '.join(map(repr, others))} are not read",) if others else ()


@contextmanager
def open_arrays(file: Path) -> Iterator[dict[str, Callable[[], np.ndarray]]]:
    """Open a file of arrays of any kind: functions that read them, by their names; the one of a .npy file is `x`."""
    if file.suffix.lower() == ".npz":
        with open_archive(file) as archive:
            yield {name: partial(array_of, archive, name, file.name) for name in archive.files}
    elif file.suffix.lower() == ".npy":
        yield {"x": partial(_mapped, file)}
    else:
        with _open_hdf5(file) as content:
            names = _datasets(content)
            yield {name: partial(_dataset, content[name], name, file.name) for name in names}


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


def _mapped(file: Path) -> np.ndarray:
    try:
        array: np.ndarray = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise InputError(NAMES, f"no file {file.name!r} in {file.parent}") from error
    except (OSError, ValueError, EOFError) as error:
        raise InputError(KEY, f"{file.name} is not a readable .npy file of numbers or texts: {error}") from error
    if not isinstance(array, np.ndarray):  # an archive under this name
        raise InputError(KEY, f"{file.name} holds several arrays; name it .npz")
    return array
