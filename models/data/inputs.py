"""The inputs of all rows as numbers, with the preprocessing that made them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.data.columns.reading import is_separated
from nightune.models.data.encodings import with_target_means
from nightune.models.data.input_arrays import refuse_non_finite
from nightune.models.data.raw_data import RawData
from nightune.models.data.settings import DataSettings
from nightune.models.data.tables import fit_preprocessing
from nightune.models.data.targets import Targets
from nightune.models.serving.input_trees import ArrayTree, arrays_of, named_arrays
from nightune.models.serving.preprocessing import FEATURES, TablePreprocessing, clean_table
from nightune.models.serving.vocabularies import UNKNOWN_CODE

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Inputs:
    """The inputs of all rows (rows, ...) as float32 or int32, and the columns that they come from.

    `columns` hold one number or label per row: the cleaned columns of a table without texts and images, or those of
    two-dimensional arrays.
    """

    values: ArrayTree
    columns: Mapping[str, np.ndarray]
    preprocessing: TablePreprocessing | None = None  # None: the source holds arrays
    findings: tuple[str, ...] = ()
    amounts: frozenset[str] = frozenset()  # columns of money, units, thousands or dates: whole, but no identifiers

    def remedy(self, column: str) -> str:
        """Say how to exclude a column."""
        if self.preprocessing is None:
            return "leave it out of the inputs"
        return f'leave it out: drop = ["{column}"] in [data]'


def encode_inputs(raw: RawData, settings: DataSettings, train: np.ndarray, targets: Targets) -> Inputs:
    """Turn a table into features by a preprocessing fitted on the training rows; take arrays as they are."""
    given: Any = raw.inputs
    if raw.has_arrays:
        return Inputs(given, _array_columns(given))
    choices = settings.choices.of_features([*raw.target_columns, settings.split.column, *settings.weight_columns])
    preprocessing, findings = fit_preprocessing(given, train, choices)
    cleaned = clean_table(given, preprocessing.columns)
    preprocessing, means = with_target_means(preprocessing, cleaned, train, targets)
    values = preprocessing.transform_clean(cleaned)
    if means.size:
        preprocessing.as_named(values)[FEATURES][train, -means.shape[1] :] = means
    for array in arrays_of(values):
        if array.dtype.kind == "f":
            refuse_non_finite(array, settings.source)
    apart = {*preprocessing.texts, *preprocessing.images}
    columns = {name: cleaned[name].to_numpy() for name in cleaned.columns if name not in apart}
    findings += _untrained_codes(preprocessing, values, train)
    return Inputs(values, columns, preprocessing, tuple(findings), _amounts(given, preprocessing))


def _untrained_codes(preprocessing: TablePreprocessing, values: ArrayTree, train: np.ndarray) -> list[str]:
    """Report columns of codes of which rows outside the training rows have the code 0, and no training row has it."""
    named, findings = preprocessing.as_named(values), []
    for name in preprocessing.codes:
        is_unknown = named[name] == UNKNOWN_CODE
        if not is_unknown.any() or is_unknown[train].any():
            continue
        repeated = int((np.bincount(named[name][train]) > 1).sum())
        size = max(2, min(repeated + 1, len(preprocessing.codes[name].known)))
        rows = f"{int(is_unknown.sum())} of {len(is_unknown) - len(train)} other rows"
        findings.append(
            f"column {name!r}: {rows} hold values that no training row has; their code 0 is never trained. To give "
            f'it to rare values, too: codes = {{ "{name}" = {size} }} in [data]'
        )
    return findings


def _amounts(table: "pd.DataFrame", preprocessing: TablePreprocessing) -> frozenset[str]:
    written = [column for column in preprocessing.columns if column.kind == "number" and column.form]
    separated = {
        column.name
        for column in written
        if column.marks
        or table[column.name].map(lambda value: isinstance(value, str) and is_separated(value, digits=2)).any()
    }
    return frozenset(separated | {column.name for column in preprocessing.columns if column.kind == "date"})


def _array_columns(inputs: ArrayTree) -> dict[str, np.ndarray]:
    """Return the columns of arrays of one or two dimensions; those of several inputs have the input's name in front."""
    columns = {}
    for name, array in named_arrays(inputs):
        if array.ndim == 1:
            columns[f"input {name}"] = array
        elif array.ndim == 2:
            front = f"input {name} " if name else "input "
            columns |= {f"{front}{index}": array[:, index] for index in range(array.shape[1])}
    return columns
