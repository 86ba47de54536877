"""The columns of a table as prepared inputs hold them: numbers in their units, and labels."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from nightune.models.serving.input_trees import ArrayTree
from nightune.models.serving.preprocessing import FEATURES, Categories, TablePreprocessing

MOST_LABELS = 200  # of a column of codes
OTHER, RARE = "unknown", "rare labels"


class ColumnValues(NamedTuple):
    """A column of rows: numbers or dates as float64 with NaN for missing ones, or texts; `kind` names which."""

    name: str
    kind: str  # number, date or label
    values: np.ndarray


def column_values(preprocessing: TablePreprocessing, inputs: ArrayTree) -> list[ColumnValues]:
    """Return the columns of numbers, booleans, categories and codes; texts, images and hashed labels are left out."""
    named = preprocessing.as_named(inputs)
    features = named.get(FEATURES)
    found = [] if features is None else list(_of_features(preprocessing, np.asarray(features)))
    for name, fitted in preprocessing.codes.items():
        if len(fitted.known) <= MOST_LABELS and name in named:
            labels = np.array([OTHER, *fitted.known], dtype=object)
            places = np.asarray(named[name]).reshape(-1)
            found.append(ColumnValues(name, "label", labels[np.where(places < len(labels), places, 0)].astype(str)))
    return found


def _of_features(preprocessing: TablePreprocessing, features: np.ndarray) -> Iterator[ColumnValues]:
    """Yield the columns in the order of their features: numbers, booleans, marks of gaps, categories."""
    kinds = {column.name: column.kind for column in preprocessing.columns}
    start = len(preprocessing.numbers) + len(preprocessing.booleans)
    is_gap = {name: features[:, start + place] == 1.0 for place, name in enumerate(preprocessing.gaps)}
    for place, (name, fitted) in enumerate(preprocessing.numbers.items()):
        values = features[:, place].astype(np.float64) * fitted.scale + fitted.mean
        kind = "date" if kinds[name] == "date" else "number"
        yield ColumnValues(name, kind, np.where(is_gap.get(name, False), np.nan, values))
    for place, name in enumerate(preprocessing.booleans, start=len(preprocessing.numbers)):
        texts = np.where(features[:, place] == 1.0, "true", "false")
        yield ColumnValues(name, "label", np.where(is_gap.get(name, False), "missing", texts))
    start += len(preprocessing.gaps)
    for name, known in preprocessing.categories.items():
        labels = _labels(known)
        block = features[:, start : start + len(labels)]
        start += len(labels)
        held = np.where(block.any(axis=1), block.argmax(axis=1), len(labels))
        yield ColumnValues(name, "label", np.array([*labels, OTHER])[held])


def _labels(fitted: Categories) -> list[str]:
    rare = set(fitted.rare)
    return [text for text in fitted.known if text not in rare] + ([RARE] if rare else [])
