"""Numbers of rows in the source by study: sources with other rows may give the same data."""

import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from nightune.models.data.dataset import Dataset
from nightune.models.data.whole_files import replace_file

FOLDER = "row_numbers"  # in the folder of the data


def keep_numbers(dataset: Dataset, folder: Path, study: str) -> None:
    """Write the numbers in the study's source of the rows that rank its trials, of each split; none if they have none.

    Each array is (rows,), whole numbers from 0.
    """
    place = folder / FOLDER
    place.mkdir(exist_ok=True)
    replace_file(place / f"{study}.npz", lambda file: np.savez(file, **dict(dataset.row_numbers)))  # type: ignore[arg-type]


def numbers_for(folder: Path, study: str) -> Mapping[str, np.ndarray]:
    """Return the numbers that were kept for a study; none where the file is missing or damaged.

    Only reports show them.
    """
    with (
        suppress(OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile),
        (folder / FOLDER / f"{study}.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as held,
    ):
        return dict(held)
    return {}
