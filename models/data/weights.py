"""Read the weights of rows: one number from 0 for each row, an array beside x and y or a column of a table."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nightune.models.data.columns.recognize import recognize
from nightune.models.data.contents import Table
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Rows
from nightune.models.errors import InputError
from nightune.models.serving.arrays import plain_array
from nightune.models.serving.columns import NUMERIC, clean_column
from nightune.models.serving.labels import are_gaps
from nightune.vocabulary import WEIGHTED_SAID, shown, unknown_name

KEY = "data.weight"
USUAL_MEAN = (0.1, 10.0)  # others change the size of a step much
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class RowWeights:
    """The weights of all rows, (rows,) float32, and the column that they come from; None for arrays."""

    values: np.ndarray
    column: str | None = None
    by_rows: bool = False  # metrics and the gate weigh all rows alike

    @property
    def key(self) -> str:
        """The key of the study file to blame for bad weights."""
        return "data.source" if self.column is None else KEY

    def described(self, train: np.ndarray) -> dict[str, Any]:
        """Return the range of the training rows' weights, and how metrics weigh, as plain values."""
        known = self.values[train].astype(np.float64)
        return {
            "column": self.column,
            "minimum": float(known.min()),
            "maximum": float(known.max()),
            "mean": float(f"{known.mean():.6g}"),
            "zeros": int((known == 0).sum()),
            "metrics": "rows" if self.by_rows else "weights",
        }

    def findings(self, train: np.ndarray) -> list[str]:
        """Report weights that no key of the study names, and those that change the size of every step."""
        mean = float(self.values[train].mean(dtype=np.float64))
        measured = "not the metrics ([objective] average)" if self.by_rows else WEIGHTED_SAID
        said = [f"weights: the source holds weights of rows; they multiply the training loss, and {measured}"]
        found = [] if self.column is not None else said
        if USUAL_MEAN[0] <= mean <= USUAL_MEAN[1]:
            return found
        return [
            *found,
            f"weights: their mean in the training rows is {mean:.4g}; as in Keras, the loss and its gradients are "
            "multiplied by them: divide the weights by their mean, or search learning_rate.peak for this scale",
        ]

    def refuse_without_weight(self, rows: Rows) -> None:
        """Refuse splits whose rows all have the weight 0."""
        weighted = {"train": rows.train}
        if not self.by_rows:
            weighted |= {"validation": rows.validation, "test": rows.test}
            weighted |= {} if rows.ranking is None else {"ranking": rows.ranking}
        for name, index in weighted.items():
            if not self.values[index].any():
                raise InputError(
                    self.key, f"all {len(index)} rows of the {name} split have the weight 0; split otherwise"
                )


def read_array(given: Any, count: int, source: str) -> np.ndarray:
    """Return the weights that a source holds, (count,) float32; InputError with the row of a bad one."""
    values = plain_array(given, "data.source", f"{source}: weights")
    if values.shape not in ((count,), (count, 1)):
        at_positions = "; weigh positions by class_weight in [training], or leave some out by ignore_class in [data]"
        remedy = at_positions if values.ndim > 1 and values.size > count else ""
        problem = f"weights have shape {values.shape}; one number for each of {count} rows is needed{remedy}"
        raise InputError("data.source", f"{source}: {problem}")
    if values.dtype.kind not in "bfiu":
        raise InputError("data.source", f"{source}: weights hold {values.dtype.name} values; numbers are needed")
    flat = values.reshape(-1)
    return _checked(flat.astype(np.float64), "data.source", lambda row: f"{flat[row]:g} in row {row} of {source}")


def read_column(table: Table, kept: np.ndarray, settings: DataSettings, name: str) -> tuple[RowWeights, list[str]]:
    """Return the weights of the kept rows in a column, and remarks on texts; InputError with the row of a bad one."""
    column, places = table.frame[name][kept], np.flatnonzero(kept)

    def where(row: int) -> str:
        return _place(table, int(places[row]), settings)

    is_gap = (column.isna() | are_gaps(column, settings.missing)).to_numpy(dtype=bool)
    if is_gap.any():
        problem = f"column {name!r} is missing in {int(is_gap.sum())} rows, the first is {where(int(is_gap.argmax()))}"
        remedy = "fill it in (with 1, or 0 to take the row out of loss and metrics), or remove these rows"
        raise InputError(KEY, f"{problem}; {remedy}")
    read, remarks = recognize(column, settings.choices)
    if read.kind not in (*NUMERIC, "boolean") or read.kind == "date":
        raise InputError(KEY, f"column {name!r} holds {column.iloc[0]!r}; weights are numbers from 0")
    numbers = clean_column(column, read).to_numpy(dtype=np.float64)
    values = _checked(numbers, KEY, lambda row: f"{shown(column.iloc[row])} of {name!r} in {where(row)}")
    said = [remark.replace("column", "weights: column", 1) for remark in remarks]
    return RowWeights(values, name, settings.metrics_by_rows), said


def refuse_unknown_column(names: list[str], targets: tuple[str, ...], settings: DataSettings) -> None:
    """Refuse columns of weights that the table does not have, or that have another use, and weights of other heads."""
    for head in settings.weight if isinstance(settings.weight, Mapping) else ():
        if not settings.heads:
            problem = f"a table of heads ({head!r}), and the data has one target; give the name of a column"
            raise InputError(KEY, problem)
        if head not in settings.heads:
            raise InputError(KEY, unknown_name(head, settings.heads, "head"))
    for name in settings.weight_columns:
        if name not in names:
            raise InputError(KEY, unknown_name(name, names, "column"))
        uses = {"a target": targets, "the column of the split": (settings.split.column,), "in data.drop": settings.drop}
        other = next((use for use, columns in uses.items() if name in columns), None)
        if other:
            raise InputError(KEY, f"{name!r} is {other}, too; weights need a column of their own")


def likely_weights(used: list[str]) -> list[str]:
    """Say which feature columns are named as weights of rows usually are."""
    names = [name for name in used if re.fullmatch(r"(sample|row|case|instance)[ _-]?weights?", name.lower())]
    return [
        f'column {name!r} is read as a feature; if it weighs the rows, set weight = "{name}" in [data]'
        for name in names
    ]


def _place(table: Table, row: int, settings: DataSettings) -> str:
    """Name a row, in its file where there are several."""
    if table.parts is None:
        return f"row {row}"
    part = table.parts.iloc[row]
    files = {"train": settings.source, **settings.split.files}
    return f"row {int((table.parts.iloc[:row] == part).sum())} of {files[part]}"


def _checked(values: np.ndarray, key: str, place: Callable[[int], str]) -> np.ndarray:
    """Return weights as float32: finite, not negative, some above 0; `place` names a value and its row."""
    is_bad = ~((values >= 0) & (values <= LARGEST))
    if is_bad.any():
        row = int(is_bad.argmax())
        problem = f"{int(is_bad.sum())} weights are no numbers from 0, the first is {place(row)}"
        raise InputError(key, f"{problem}; weights are finite, and 0 takes a row out of loss and metrics")
    weights = values.astype(np.float32)
    if not weights.any():
        raise InputError(key, "all weights are 0; there is nothing to learn")
    return weights
