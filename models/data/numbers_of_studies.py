"""Numbers of rows in the source by study: sources with other rows may give the same data."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nightune.models.data.dataset import Dataset

FOLDER = "row_numbers"  # in the folder of the data


def keep_numbers(dataset: Dataset, folder: Path, study: str) -> None:
    """Write the numbers in the study's source of the rows that rank its trials, of each split; none if they have none.

    Each array is (rows,), whole numbers from 0.
    """
    place = folder / FOLDER
    place.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=place, suffix=".tmp", delete=False) as written:
        np.savez(written, **dict(dataset.row_numbers))  # type: ignore[arg-type]
    Path(written.name).chmod(0o644)
    Path(written.name).replace(place / f"{study}.npz")


def numbers_for(dataset: Dataset, folder: Path, study: str) -> Mapping[str, np.ndarray]:
    """Return the numbers that were kept for a study; for data of an earlier version those beside the data."""
    file = folder / FOLDER / f"{study}.npz"
    if not file.exists():
        return dataset.row_numbers
    with np.load(file, allow_pickle=False) as held:
        return dict(held)
