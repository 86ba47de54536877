"""Read several target columns of a table as one matrix: numbers, booleans, or yes and no as texts."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nightune.models.data.settings import DataSettings
from nightune.models.data.target_column import KEY, TargetColumn, read_target
from nightune.models.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

NO_AND_YES = (("no", "yes"), ("false", "true"), ("0", "1"), ("n", "y"), ("f", "t"))


def read_targets(frame: "pd.DataFrame", names: Sequence[str], settings: DataSettings) -> TargetColumn:
    """Read each column as if it were the only one; rows that lack a value in any of them are left out.

    The values are a matrix (rows, columns) of booleans, whole numbers or floats. InputError for a column of texts or
    dates, and if no row has all values.
    """
    each = replace(settings, task=None)  # the task is that of the matrix
    columns = [read_target(frame[name], each) for name in names]
    lacks = np.logical_or.reduce([column.lacks for column in columns])
    if lacks.all():
        raise InputError(KEY, f"no row has a value in all of the columns {', '.join(map(repr, names))}")
    known, findings = [], [finding for column in columns for finding in column.findings]
    for name, column in zip(names, columns, strict=True):
        values, remarks = _numbers(name, column.values[~lacks[~column.lacks]])
        known.append(values)
        findings += remarks
    return TargetColumn(np.column_stack(known), lacks, settings.one_task, tuple(findings))


def _numbers(name: str, values: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return the values of a column as numbers or booleans, and a remark if they were texts."""
    if values.dtype.kind in "biuf":
        return values, []
    folded = np.char.lower(np.char.strip(values))
    texts = set(folded.tolist())
    pair = next((pair for pair in NO_AND_YES if texts <= set(pair)), None)
    if pair is not None:
        return folded == pair[1], [f"target: column {name!r}: {pair[1]!r} is read as 1, {pair[0]!r} as 0"]
    raise InputError(
        KEY,
        f"column {name!r} holds texts such as {values[0].item()!r}; several target columns need numbers, booleans, or "
        f'yes and no: leave it out of the list, or predict it alone, target = "{name}"',
    )
