"""Save prepared data as a folder: array files, and a description and the fitted preprocessing in JSON.

The test split is in `sealed/`, with its rows of the table if the source is one. No other file of the folder holds any
test row, and only `SealedExamples.open` reads them.
"""

import json
import shutil
import tempfile
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.data.dataset import SPLITS, Dataset, Examples, Purpose, SealedExamples, SealError, UnsealedExamples
from nightune.models.data.placement import Placement, place
from nightune.models.data.whole_files import replace_file, replace_text
from nightune.models.errors import DamagedDataError
from nightune.models.serving.input_trees import ArrayTree, arrays_of, is_several, read_shape
from nightune.models.serving.labels import as_text
from nightune.models.serving.predictor import DESCRIPTION, PREPROCESSING
from nightune.models.serving.preprocessing import TablePreprocessing

if TYPE_CHECKING:
    import pandas as pd

EXAMPLE, SEALED = "example.parquet", "sealed"
PROFILE = "profile.json"  # how columns were read and are distributed; no training reads it
GROUPS = "test_groups.npy"  # in the sealed folder
LEFT_OUT = "left_out.txt"  # in the sealed folder of a copy without the test split

# Errors of files that are truncated, or that another version of a library wrote.
_DAMAGES = (OSError, ValueError, EOFError, KeyError)


def save_dataset(dataset: Dataset, root: Path) -> Path:
    """Save the data set as `root/<version>` unless that folder exists, and return the folder.

    The folder appears complete or not at all; of two concurrent writers, one's copy stays.
    """
    folder = root / dataset.version
    if folder.exists():
        _add_groups(dataset, folder)
        _write_profile(dataset, folder)
        _change_names(dataset, folder)
        return folder
    root.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=root))
    try:
        _write(dataset, unfinished)
        _write_profile(dataset, unfinished)
        unfinished.chmod(0o755)  # only the owner can read a folder of mkdtemp
        unfinished.replace(folder)
    except OSError:
        if not folder.exists():  # else another writer was first
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def open_dataset(folder: Path) -> Dataset:
    """Open a data set that `save_dataset` wrote, with the test split sealed.

    Inputs too large for free memory stay on disk (models/data/placement.py), and are read batch by batch.
    """
    try:
        description: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        file = folder / PREPROCESSING
        preprocessing = TablePreprocessing.from_json(file.read_text(encoding="utf-8")) if file.exists() else None
        classes, sizes = description["classes"], description["sizes"]
        example = _read_table(folder / EXAMPLE)
        if not (folder / SEALED).is_dir():
            raise FileNotFoundError(f"no folder {SEALED!r} with the test split")
    except _DAMAGES as error:
        raise _damaged(folder, error) from error
    dataset = Dataset(
        train=read_split(folder, "train"),
        validation=read_split(folder, "validation"),
        test=SealedExamples(
            int(sizes["test"]), partial(_read_sealed, folder), is_here=not (folder / SEALED / LEFT_OUT).exists()
        ),
        task=description["task"],
        classes=None if classes is None else tuple(classes),
        version=description["version"],
        findings=tuple(description["findings"]),
        preprocessing=preprocessing,
        description=description,
        ranking_apart=read_split(folder, "ranking") if "ranking" in sizes else None,
        example=example,
    )
    count = description["split"].get("folds", 0)
    return dataset.with_folds(
        [(_read_examples(folder, train), _read_examples(folder, held)) for train, held in _fold_names(count)]
    )


def mark_left_out(folder: Path) -> None:
    """Record in a copy of a saved data set that its test split was left out."""
    (folder / SEALED).mkdir(exist_ok=True)
    (folder / SEALED / LEFT_OUT).touch()


def read_split(folder: Path, name: str) -> Examples:
    """Open one split of a saved data set; SealError for the test split, which only the gate reads."""
    if name not in SPLITS:
        raise ValueError(f"unknown split {name!r} (known: {', '.join(SPLITS)})")
    if name == "test":
        raise SealError("the test split is sealed: only the gate reads it")
    return _read_examples(folder, name)


def _read_examples(folder: Path, name: str) -> Examples:
    try:
        is_on_disk = data_placement(folder).is_on_disk
        inputs = _open_inputs(folder, folder / name, is_on_disk)
        targets = _open_array(folder / f"{name}_targets.npy", is_on_disk=False)
        return Examples(inputs, targets, weights=_open_weights(folder, folder / name))
    except _DAMAGES as error:
        raise _damaged(folder, error) from error


def data_placement(folder: Path) -> Placement:
    """Settle where the inputs of a saved data set stay when it is opened: all in memory, or all on disk."""
    return place(sum(file.stat().st_size for file in folder.glob("*_inputs*.npy")))


def preprocessing_files(folder: Path) -> list[Path]:
    """List the files of a saved data set that turn raw rows into a model's inputs, and its description."""
    return [file for name in (PREPROCESSING, DESCRIPTION) if (file := folder / name).exists()]


def _write(dataset: Dataset, folder: Path) -> None:
    splits = {"train": dataset.train, "validation": dataset.validation}
    if dataset.ranking_apart is not None:
        splits["ranking"] = dataset.ranking_apart
    for fold, names in zip(dataset.folds, _fold_names(len(dataset.folds)), strict=True):
        splits |= dict(zip(names, (fold.train, fold.validation), strict=True))
    for name, examples in splits.items():
        _write_arrays(examples, folder / name)
    if dataset.preprocessing is not None:
        (folder / PREPROCESSING).write_text(dataset.preprocessing.as_json() + "\n", encoding="utf-8")
    if dataset.example is not None:
        parquet_form(dataset.example).to_parquet(folder / EXAMPLE, engine="pyarrow")
    text = json.dumps(dataset.description, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")
    (folder / SEALED).mkdir()
    test = dataset.test.open(Purpose.PREPARATION, record=lambda: None)
    _write_arrays(test, folder / SEALED / "test")
    if test.table is not None:
        parquet_form(test.table).to_parquet(folder / SEALED / "test.parquet", engine="pyarrow")
    if test.groups is not None:
        np.save(folder / SEALED / GROUPS, test.groups, allow_pickle=False)


def _write_profile(dataset: Dataset, folder: Path) -> None:
    """Write how the columns were read and are distributed, where the source was read and the file is missing."""
    file = folder / PROFILE
    if not dataset.distributions or file.exists():
        return
    kept = ("source", "task", "sizes", "split")
    profile = {name: dataset.description[name] for name in kept} | {
        "columns": [asdict(line) for line in dataset.columns],
        "classes": dataset.class_counts,
        "distributions": dataset.distributions,
    }
    replace_text(file, json.dumps(profile, ensure_ascii=False, allow_nan=False))


def _fold_names(count: int) -> list[tuple[str, str]]:
    """Return the names of the files of each fold's training and validation examples."""
    return [(f"fold_{number}_train", f"fold_{number}_validation") for number in range(1, count + 1)]


def _add_groups(dataset: Dataset, folder: Path) -> None:
    """Add the groups of the test rows to data that an earlier version has saved without them."""
    sealed = folder / SEALED
    is_grouped = dataset.description["split"]["kind"] == "group"
    if not is_grouped or (sealed / GROUPS).exists() or not sealed.is_dir():
        return
    groups = dataset.test.open(Purpose.PREPARATION, record=lambda: None).groups
    if groups is not None:
        replace_file(sealed / GROUPS, lambda file: np.save(file, groups, allow_pickle=False))


def _change_names(dataset: Dataset, folder: Path) -> None:
    """Replace the names of classes in the description, which are no part of the version."""
    with suppress(*_DAMAGES):  # what is damaged is said when it is opened
        held = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        if held.get("class_names") == dataset.description.get("class_names"):
            return
        named = {name: each for name, each in held.items() if name != "class_names"}
        named |= {name: each for name, each in dataset.description.items() if name == "class_names"}
        replace_text(folder / DESCRIPTION, json.dumps(named, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _write_arrays(examples: Examples, stem: Path) -> None:
    for number, array in enumerate(arrays_of(examples.inputs)):
        np.save(_inputs_file(stem, number if is_several(examples.inputs) else None), array, allow_pickle=False)
    for part in ("targets", *(() if examples.weights is None else ("weights",))):
        np.save(stem.with_name(f"{stem.name}_{part}.npy"), getattr(examples, part), allow_pickle=False)


def _inputs_file(stem: Path, number: int | None) -> Path:
    """Return the file of the only input, or of one of several by its number in the description."""
    return stem.with_name(f"{stem.name}_inputs{'' if number is None else f'_{number}'}.npy")


def _open_inputs(folder: Path, stem: Path, is_on_disk: bool) -> ArrayTree:
    shape = read_shape(json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))["input_shape"])
    if not is_several(shape):
        return _open_array(_inputs_file(stem, None), is_on_disk)
    arrays = [_open_array(_inputs_file(stem, number), is_on_disk) for number in range(len(shape))]
    return dict(zip(shape, arrays, strict=True)) if isinstance(shape, dict) else tuple(arrays)


def _read_sealed(folder: Path) -> UnsealedExamples:
    sealed = folder / SEALED
    try:
        is_on_disk = place(sum(file.stat().st_size for file in sealed.glob("test_inputs*.npy"))).is_on_disk
        inputs = _open_inputs(folder, sealed / "test", is_on_disk)
        targets = _open_array(sealed / "test_targets.npy", is_on_disk=False)
        groups = _open_array(sealed / GROUPS, is_on_disk=False) if (sealed / GROUPS).exists() else None
        weights = _open_weights(folder, sealed / "test")
        return UnsealedExamples(inputs, targets, _read_table(sealed / "test.parquet"), groups, weights=weights)
    except _DAMAGES as error:
        raise _damaged(folder, error) from error


def _read_table(file: Path) -> "pd.DataFrame | None":
    if not file.exists():
        return None
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    return pd.read_parquet(file, engine="pyarrow")


def parquet_form(table: "pd.DataFrame") -> "pd.DataFrame":
    """Convert columns of mixed values to texts, as preprocessing does: Parquet holds one type per column."""
    from pandas.api.types import infer_dtype  # noqa: PLC0415 - half a second, only for tables

    mixed = [name for name in table.columns if infer_dtype(table[name]).startswith("mixed")]
    texts = {name: table[name].map(as_text, na_action="ignore") for name in mixed}
    return table.assign(**texts).reset_index(drop=True)


def _open_weights(folder: Path, stem: Path) -> np.ndarray | None:
    """Open the weights of a split; they must be there if the description says so."""
    described = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8")).get("weights")
    if described is None or (described["metrics"] == "rows" and not stem.name.endswith("train")):
        return None
    return _open_array(stem.with_name(f"{stem.name}_weights.npy"), is_on_disk=False)


def _open_array(file: Path, is_on_disk: bool) -> np.ndarray:
    array: np.ndarray = np.load(file, mmap_mode="r" if is_on_disk else None, allow_pickle=False)
    return array


def _damaged(folder: Path, error: Exception) -> DamagedDataError:
    problem = f"prepared data in {folder} cannot be read ({error}); delete that folder and run again"
    return DamagedDataError("data", problem)
