"""Weights of training rows: those that the data holds, times those of the rows' classes, as a trial asks for them.

They act as in Keras' `fit(sample_weight=, class_weight=)`: each multiplies the loss of its row, and the loss of a batch
is their sum, divided by the number of rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nightune.models.data.dataset import Dataset
from nightune.models.data.heads import HeadData
from nightune.models.errors import InputError
from nightune.models.techniques.keys import is_by_head
from nightune.models.techniques.losses import BALANCED, NO_WEIGHTS, ClassWeight, TrainingSettings
from nightune.vocabulary import HEADS, POSITIONS, unknown_name

KEY = "training.class_weight"


@dataclass(frozen=True, eq=False)
class ClassWeights:
    """The classes of the training rows; each counts by the number of its rows, or by the sum of their weights."""

    dataset: Dataset

    @property
    def count(self) -> int:
        """The number of classes."""
        if self.dataset.heads:
            return sum(len(head.classes or ()) for head in self._heads)
        return len(self.dataset.classes or ())

    def of(self, class_weight: ClassWeight) -> np.ndarray:
        """Return the weight of each class, (classes,) float32.

        `balanced` is n / (k · n_c), as in scikit-learn: for n rows of k classes, the n_c rows of each class weigh as
        much as those of any other; rows with weights count by them. `sqrt` are the square roots of these. Classes
        without rows, and those that a table does not name, have the weight 1. A class at each position counts by its
        positions. Of several heads those of all heads with classes follow each other: a word is that of all, and a
        table has words and tables by their names. InputError for a task without classes, and for unknown names.
        """
        if self.dataset.heads:
            return self._of_heads(class_weight)
        self._refuse_other_tasks()
        if is_by_head(class_weight):
            named = ", ".join(map(repr, class_weight))
            remedy = "give its value alone, or list tables to search weights"
            raise InputError(KEY, f"a table of heads ({named}), and the data has one target; {remedy}")
        if isinstance(class_weight, Mapping):
            return self._stated(class_weight)
        totals = self._totals
        has_rows = totals > 0
        balanced = totals.sum() / (max(has_rows.sum(), 1) * np.where(has_rows, totals, 1.0))
        weights = np.where(has_rows, balanced if class_weight == BALANCED else np.sqrt(balanced), 1.0)
        return weights.astype(np.float32)

    def by_class(self, class_weight: ClassWeight) -> dict[str, float]:
        """Return the weight of each class by its name, `HEAD_CLASS` of several heads."""
        labels = [str(each) for each in self.dataset.classes or ()]
        if self.dataset.heads:
            labels = [f"{head.name}_{label}" for head in self._heads for label in head.classes or ()]
        return dict(zip(labels, map(float, self.of(class_weight)), strict=True))

    @property
    def _heads(self) -> list[HeadData]:
        """The heads with a class for each row or position."""
        return [head for head in self.dataset.heads if head.has_weighable_classes]

    def _of_heads(self, class_weight: ClassWeight) -> np.ndarray:
        names = [head.name for head in self.dataset.heads]
        self._refuse_other_heads(class_weight, names)
        weights = []
        for head in self._heads:
            own = class_weight.get(head.name, NO_WEIGHTS) if isinstance(class_weight, Mapping) else class_weight
            try:
                one = ClassWeights(self.dataset.of_head(head))
                weights.append(np.ones(one.count, np.float32) if own == NO_WEIGHTS else one.of(own))
            except InputError as error:
                raise InputError(error.key, f"head {head.name!r}: {error.message}") from error
        return np.concatenate(weights)

    def _refuse_other_heads(self, class_weight: ClassWeight, names: Sequence[str]) -> None:
        """Refuse weights of heads that the data has not, or that have none, and those that name no head."""
        weighed = [head.name for head in self._heads]
        if not weighed:
            raise InputError(KEY, "no head has one class for each row or position; remove the key")
        others = [head.name for head in self.dataset.heads if head.task == "multilabel"]
        example = f'class_weight = {{ {weighed[0]} = "{BALANCED}" }}'
        if isinstance(class_weight, Mapping) and not is_by_head(class_weight):
            problem = f"a table of classes, and the data has several targets ({', '.join(map(repr, names))})"
            raise InputError(KEY, f"{problem}; name the head, such as {example}, or a table of its classes there")
        if others and not isinstance(class_weight, Mapping):
            problem = f"{class_weight!r} is of all heads, and head {others[0]!r} has several labels in a row"
            raise InputError(KEY, f"{problem}, which have no weights; name the others, such as {example}")
        for name in class_weight if isinstance(class_weight, Mapping) else ():
            if name not in names:
                raise InputError(KEY, unknown_name(name, names, "head"))
            if name not in weighed:
                problem = f"head {name!r} has no classes, or several labels in a row, which have no weights"
                raise InputError(KEY, f"{problem} (heads that have some: {', '.join(map(repr, weighed))})")

    @cached_property
    def _totals(self) -> np.ndarray:
        train = self.dataset.train
        if self.dataset.task == POSITIONS:
            known = train.targets.reshape(-1) >= 0
            spread = None if train.weights is None else np.repeat(train.weights, train.targets.shape[1])[known]
            return np.bincount(train.targets.reshape(-1)[known], weights=spread, minlength=self.count)
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
        if task in ("binary", "multiclass", POSITIONS):
            return
        have = "a row has several labels" if task == "multilabel" else "there are no classes"
        remedy = 'give each row a weight: [data] weight = "column", or (x, y, weight) of a function'
        raise InputError(KEY, f"the task is {task}: {have}; remove the key, or {remedy}")


def weights_of_classes(dataset: Dataset, trainings: Iterable[TrainingSettings]) -> list[np.ndarray]:
    """Return the weights of classes of those trainings that have some, each (classes,) float32."""
    classes = ClassWeights(dataset)
    return [classes.of(each.class_weight) for each in trainings if each.has_class_weights]


def row_weights(dataset: Dataset, training: TrainingSettings) -> np.ndarray | None:
    """Return the weight of each training row, (rows,) float32; None if all rows weigh the same.

    Weights of classes at positions, and of several heads, are a part of the loss instead (`class_factors`).
    """
    own = dataset.train.weights
    if not training.has_class_weights or is_in_loss(dataset):
        return own
    weights: np.ndarray = ClassWeights(dataset).of(training.class_weight)[dataset.train.targets]
    return weights if own is None else weights * own


def class_factors(dataset: Dataset, training: TrainingSettings) -> np.ndarray | None:
    """Return the weights of classes that the loss multiplies by, (classes,) float32; None if there are none."""
    if not training.has_class_weights or not is_in_loss(dataset):
        return None
    return ClassWeights(dataset).of(training.class_weight)


def is_in_loss(dataset: Dataset) -> bool:
    """True if weights of classes are a part of the loss: a row has several classes."""
    return dataset.task in (HEADS, POSITIONS)


def _written(label: Any) -> str:
    """Return the name of a class as a study writes it."""
    return str(label).lower() if isinstance(label, bool) else str(label)
