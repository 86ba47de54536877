"""A few training rows, on which a model's outputs and its loss are measured."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nightune.models.data.dataset import Dataset, OutputSize
from nightune.models.data.heads import HeadData
from nightune.models.data.target_matrix import LARGEST_APART
from nightune.models.serving.input_trees import ArrayTree, in_memory, rows_of

SAMPLE = 64  # rows


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """A few training rows to measure a model on, with their targets as training sees them, and all targets' range."""

    task: str
    output_size: OutputSize
    inputs: ArrayTree
    targets: np.ndarray | None = None
    target_range: tuple[float, float] | None = None
    is_scaled: bool = False
    is_one_hot: bool = False  # the data holds classes as rows with one 1
    classes: tuple[Any, ...] = ()  # as the data holds them, in the order of their indices
    are_weighted: bool = False  # by the data, or by classes in some trial
    have_own_weights: bool = False  # of the rows, which are no part of the loss
    training_inputs: ArrayTree | None = None  # all of them, for functions that build models by them
    fold_inputs: tuple[ArrayTree, ...] = ()  # those of each fold
    vocabulary_sizes: Mapping[str, int] = field(default_factory=dict)  # of columns of texts and codes
    heads: "Mapping[str, tuple[HeadData, TrainingRows]]" = field(default_factory=dict)  # several targets by name

    @property
    def output_count(self) -> int:
        """The number of model outputs per example, of one head."""
        assert not isinstance(self.output_size, dict)
        return int(np.prod(self.output_size))

    @property
    def two(self) -> ArrayTree:
        """The inputs of the first two rows."""
        return rows_of(self.inputs, slice(2))  # type: ignore[no-any-return] # a tree of the same form

    @property
    def has_shares(self) -> bool:
        """True if targets are shares of several classes, which sum to 1 in each row.

        Keras' cross-entropy normalizes over the last axis alone: a map that sums to 1 over several axes is none.
        """
        known, size = self.targets, self.output_size
        if self.task != "regression" or self.is_scaled or known is None or known.ndim != 2:
            return False
        if isinstance(size, tuple) and size[-1] != self.output_count:
            return False
        return bool(known.min() >= 0.0 and np.all(np.abs(known.sum(axis=1) - 1.0) <= LARGEST_APART))

    @classmethod
    def of(cls, dataset: Dataset) -> "TrainingRows":
        """Take rows from the whole training split, evenly."""
        train, described = dataset.train, dataset.description
        rows = np.unique(np.linspace(0, len(train) - 1, min(SAMPLE, len(train))).astype(int))
        return cls(
            task=dataset.task,
            output_size=dataset.output_size,
            inputs=in_memory(rows_of(train.inputs, rows)),
            targets=train.targets[rows],
            target_range=(float(train.targets.min()), float(train.targets.max())),
            is_scaled="target_scale" in described,
            is_one_hot=bool(described.get("is_one_hot", False)),
            classes=dataset.classes or (),
            are_weighted=train.weights is not None or any(head.has_weights for head in dataset.heads),
            have_own_weights=train.weights is not None,
            training_inputs=train.inputs,
            fold_inputs=tuple(fold.train.inputs for fold in dataset.folds),
            vocabulary_sizes=dataset.vocabulary_sizes,
            heads={each.name: (each, cls._of_head(dataset, each)) for each in dataset.heads},
        )

    @classmethod
    def _of_head(cls, dataset: Dataset, head: HeadData) -> "TrainingRows":
        """Take the rows of one of several heads; the range is that of its targets with a weight."""
        own = dataset.of_head(head)
        rows, weights = cls.of(own), own.train.weights
        if weights is None or not head.has_weights:
            return rows
        known = own.train.targets[weights > 0]
        return replace(rows, target_range=(float(known.min()), float(known.max())))
