"""Prepared data as a folder: plain array files, a description in JSON, and the fitted preprocessing of a table."""

import json
import pickle
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import InputError
from models.examples import SPLITS, Dataset, Examples

MAPPED_BYTES = 256 * 2**20  # larger arrays stay on disk and are read as they are used

# A file cut short, or written by another version of a library.
_DAMAGES = (OSError, ValueError, EOFError, pickle.UnpicklingError, ImportError, AttributeError)


def save_dataset(dataset: Dataset, root: Path) -> Path:
    """Write the data set to `root/<version>` unless it is there, and return that folder.

    It appears whole or not at all; of two writers at the same time, either one's copy stays.
    """
    folder = root / dataset.version
    if folder.exists():
        return folder
    root.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=root))
    try:
        _write(dataset, unfinished)
        unfinished.chmod(0o755)  # mkdtemp's folders are its owner's alone
        unfinished.replace(folder)
    except OSError:
        if not folder.exists():  # else another writer was first
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def open_dataset(folder: Path) -> Dataset:
    """Open what `save_dataset` wrote; arrays above 256 MB stay on disk."""
    try:
        description: dict[str, Any] = json.loads((folder / "description.json").read_text(encoding="utf-8"))
        preprocessing = None
        if (folder / "preprocessing.joblib").exists():
            import joblib  # noqa: PLC0415 - with scikit-learn a second, only for tables

            preprocessing = joblib.load(folder / "preprocessing.joblib")
    except _DAMAGES as error:
        raise _damaged(folder, error) from error
    classes = description["classes"]
    return Dataset(
        **{name: read_split(folder, name) for name in SPLITS},
        task=description["task"],
        classes=None if classes is None else tuple(classes),
        version=description["version"],
        findings=tuple(description["findings"]),
        preprocessing=preprocessing,
        description=description,
    )


def read_split(folder: Path, name: str) -> Examples:
    """Open one split of a saved data set: "train", "validation" or "test"."""
    if name not in SPLITS:
        raise ValueError(f"split {name!r} is none of {', '.join(SPLITS)}")
    try:
        return Examples(*(_open_array(folder / f"{name}_{part}.npy") for part in ("inputs", "targets")))
    except _DAMAGES as error:
        raise _damaged(folder, error) from error


def preprocessing_files(folder: Path) -> list[Path]:
    """The files of a saved data set that raw data needs to become a model's inputs, and what they describe."""
    return [file for name in ("preprocessing.joblib", "description.json") if (file := folder / name).exists()]


def _write(dataset: Dataset, folder: Path) -> None:
    for name in SPLITS:
        examples: Examples = getattr(dataset, name)
        np.save(folder / f"{name}_inputs.npy", examples.inputs, allow_pickle=False)
        np.save(folder / f"{name}_targets.npy", examples.targets, allow_pickle=False)
    if dataset.preprocessing is not None:
        import joblib  # noqa: PLC0415 - with scikit-learn a second, only for tables

        joblib.dump(dataset.preprocessing, folder / "preprocessing.joblib")
    text = json.dumps(dataset.description, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "description.json").write_text(text + "\n", encoding="utf-8")


def _open_array(file: Path) -> np.ndarray:
    is_large = file.stat().st_size > MAPPED_BYTES
    array: np.ndarray = np.load(file, mmap_mode="r" if is_large else None, allow_pickle=False)
    return array


def _damaged(folder: Path, error: Exception) -> InputError:
    return InputError("data", f"prepared data in {folder} cannot be read ({error}); delete that folder and run again")
