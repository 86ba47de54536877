"""Undocumented details of `tf.data` and of openpyxl: the steps of a data set, and the file of a sheet."""

from typing import Any


def has_steps(given: Any) -> bool:
    """True for a tf.data.Dataset that is made from another one."""
    return type(given).__module__.startswith("tensorflow.") and hasattr(given, "_input_dataset")


def step_before(dataset: Any) -> Any:
    """Return the data set that one with steps is made from."""
    return dataset._input_dataset


def batch_size_of(dataset: Any) -> int | None:
    """Return the rows of a whole batch of a data set whose last step is `batch`; None if it does not tell."""
    size = getattr(dataset, "_batch_size", None)
    return None if size is None else int(size)


def content_of_sheet(sheet: Any) -> bytes:
    """Return the XML of a sheet of openpyxl that was opened for reading only."""
    return bytes(sheet.parent._archive.read(sheet._worksheet_path))
