"""Weights of training rows: those that the data holds, times those of the rows' classes, as a trial asks for them.

They act as in Keras' `fit(sample_weight=, class_weight=)`: each multiplies the loss of its row, and the loss of a batch
is their sum, divided by the number of rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nightune.models.data.dataset import Dataset
from nightune.models.errors import InputError
from nightune.models.techniques.losses import BALANCED, ClassWeight, TrainingSettings
from nightune.vocabulary import HEADS, POSITIONS, unknown_name

KEY = "training.class_weight"


@dataclass(frozen=True, eq=False)
class ClassWeights:
    """The classes of the training rows; each counts by the number of its rows, or by the sum of their weights."""

    dataset: Dataset

    @property
    def count(self) -> int:
        """The number of classes."""
        return len(self.dataset.classes or ())

    def of(self, class_weight: ClassWeight) -> np.ndarray:
        """Return the weight of each class, (classes,) float32.

        `balanced` is n / (k · n_c), as in scikit-learn: for n rows of k classes, the n_c rows of each class weigh as
        much as those of any other; rows with weights count by them. `sqrt` are the square roots of these. Classes
        without rows, and those that a table does not name, have the weight 1. InputError for a task without classes
        and for unknown classes.
        """
        self._refuse_other_tasks()
        if isinstance(class_weight, Mapping):
            return self._stated(class_weight)
        totals = self._totals
        has_rows = totals > 0
        balanced = totals.sum() / (max(has_rows.sum(), 1) * np.where(has_rows, totals, 1.0))
        weights = np.where(has_rows, balanced if class_weight == BALANCED else np.sqrt(balanced), 1.0)
        return weights.astype(np.float32)

    def by_class(self, class_weight: ClassWeight) -> dict[str, float]:
        """Return the weight of each class by its name."""
        labels = map(str, self.dataset.classes or ())
        return dict(zip(labels, map(float, self.of(class_weight)), strict=True))

    @cached_property
    def _totals(self) -> np.ndarray:
        train = self.dataset.train
        return np.bincount(train.targets, weights=train.weights, minlength=self.count)

    def _stated(self, table: Mapping[str, float]) -> np.ndarray:
        names = {_written(label): place for place, label in enumerate(self.dataset.classes or ())}
        weights = np.ones(len(names), np.float32)
        for name, weight in table.items():
            if name not in names:
                raise InputError(KEY, unknown_name(name, names, "class"))
            weights[names[name]] = weight
        if not np.isfinite(weights).all():
            raise InputError(KEY, "a weight is too large for float32 (above 3e38)")
        if not (weights * self._totals).any():
            raise InputError(KEY, "no class of the training rows has a weight above 0")
        return weights

    def _refuse_other_tasks(self) -> None:
        task = self.dataset.task
        if task in ("binary", "multiclass"):
            return
        have = "a row has several labels" if task == "multilabel" else "there are no classes"
        have = "a row has a class in each of several heads, and Keras weighs those of one" if task == HEADS else have
        have = "a row has a class at each position, and Keras weighs those of rows" if task == POSITIONS else have
        remedy = 'give each row a weight: [data] weight = "column", or (x, y, weight) of a function'
        raise InputError(KEY, f"the task is {task}: {have}; remove the key, or {remedy}")


def row_weights(dataset: Dataset, training: TrainingSettings) -> np.ndarray | None:
    """Return the weight of each training row, (rows,) float32; None if all rows weigh the same."""
    own = dataset.train.weights
    if not training.has_class_weights:
        return own
    weights: np.ndarray = ClassWeights(dataset).of(training.class_weight)[dataset.train.targets]
    return weights if own is None else weights * own


def _written(label: Any) -> str:
    """Return the name of a class as a study writes it."""
    return str(label).lower() if isinstance(label, bool) else str(label)
