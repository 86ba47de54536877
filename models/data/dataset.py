"""Datasets and their splits, as data preparation makes them and training reads them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from nightune.models.data.heads import HeadData
from nightune.models.data.positions import outputs_at
from nightune.models.serving.input_trees import (
    ArrayTree,
    ShapeTree,
    arrays_of,
    example_shape,
    in_memory,
    rows_of,
)
from nightune.models.serving.preprocessing import TablePreprocessing
from nightune.vocabulary import POSITIONS

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "validation", "ranking", "test")
OutputSize = int | tuple[int, ...] | dict[str, int | tuple[int, ...]]  # of an example; of several heads by name


@dataclass(frozen=True, eq=False)
class Examples:
    """Inputs (examples, ...) float32 or int32, and their targets: int32 classes, labels or float32 quantities.

    Several inputs are a dictionary of such arrays by name, or a tuple of them in order. Labels are 0 or 1, (examples,
    labels), classes at positions (examples, positions), -1 for none. Those of several heads are columns of one array,
    float32. `weights` are float32 from 0, (examples,); None: all rows weigh the same.
    """

    inputs: ArrayTree
    targets: np.ndarray
    weights: np.ndarray | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if any(len(array) != len(self.targets) for array in arrays_of(self.inputs)):
            raise ValueError(
                f"{[len(array) for array in arrays_of(self.inputs)]} inputs and {len(self.targets)} targets"
            )
        if self.weights is not None and self.weights.shape != (len(self.targets),):
            raise ValueError(f"weights of shape {self.weights.shape} for {len(self.targets)} targets")

    def part(self, rows: slice | np.ndarray) -> Self:
        """Return some of the examples, with their weights."""
        weights = None if self.weights is None else self.weights[rows]
        return replace(self, inputs=rows_of(self.inputs, rows), targets=self.targets[rows], weights=weights)

    def of_head(self, head: HeadData) -> Self:
        """Return the examples with the targets of one of several heads, and the weights of its rows."""
        return replace(self, targets=head.targets(self.targets), weights=head.row_weights(self.targets, self.weights))

    def weighing(self) -> Self:
        """Return the examples with a weight above 0."""
        return self if self.weights is None else self.part(np.flatnonzero(self.weights))

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True, eq=False)
class UnsealedExamples(Examples):
    """Test examples, with their rows of the table if the source is one, and their groups if the split is by group."""

    table: "pd.DataFrame | None" = None
    groups: np.ndarray | None = None  # (examples,) integers, equal for rows of one group

    def part(self, rows: slice | np.ndarray) -> Self:
        """Return some of the examples, with all that belongs to them."""
        table = None if self.table is None else self.table.iloc[rows].reset_index(drop=True)
        groups = None if self.groups is None else self.groups[rows]
        return replace(super().part(rows), table=table, groups=groups)


class Purpose(StrEnum):
    """The purposes for which the test split may be read."""

    GATE = "gate"  # the comparison of a confirmed winner with the champion
    PREPARATION = "preparation"  # saving it, before anything is trained
    RANGE = "range"  # whether a model has a row for each of its ids, before the model is trained


class SealError(Exception):
    """The test split was read outside the gate: a bug of the program, not an error of the user."""


class SealedExamples:
    """The sealed test split: its size is known, and only `open` reads its rows and counts the reads.

    `is_here` is False in a copy of the data without these rows.
    """

    def __init__(self, count: int, read: Callable[[], UnsealedExamples], is_here: bool = True) -> None:
        self._count, self._read, self.is_here = count, read, is_here
        self.reads = 0

    def __len__(self) -> int:
        return self._count

    def open(self, purpose: Purpose, record: Callable[[], None]) -> UnsealedExamples:
        """Read the examples for a purpose. `record` is called first, to store a permanent record of the read."""
        if not isinstance(purpose, Purpose):
            raise SealError(f"the test split is sealed: unknown purpose {purpose!r} (known: {', '.join(Purpose)})")
        record()
        self.reads += 1
        return self._read()

    def __getattr__(self, name: str) -> Any:
        if name in ("inputs", "targets", "table"):
            raise SealError(f"the test split is sealed: only the gate reads its {name}")
        raise AttributeError(name)


@dataclass(frozen=True)
class ColumnLine:
    """A column in the training rows: the kind it is read as, its different values, missing fields and an example."""

    name: str
    read_as: str
    distinct: int | None
    missing: int | None
    example: str
    done: str


@dataclass(frozen=True, eq=False)
class Dataset:
    """The splits of a data set, with its task, its version and the findings of its checks.

    Models are fitted to `train`. `validation` stops trainings and selects their best epochs; `ranking` ranks trials,
    and is the validation split unless the study reserves rows for it. `test` stays sealed until the gate.

    With `folds`, trials train and validate on these; `train` are all rows outside the test split, on which a confirmed
    configuration is trained, and `validation` are some of them, which judge nothing.
    """

    train: Examples
    validation: Examples
    test: SealedExamples
    task: str  # binary, multiclass, multilabel or regression; heads: several targets
    classes: tuple[Any, ...] | None  # multilabel: the labels, in the order of the outputs
    version: str
    findings: tuple[str, ...]
    preprocessing: TablePreprocessing | None  # None: the source holds arrays
    description: dict[str, Any]
    ranking_apart: Examples | None = None
    example: "pd.DataFrame | None" = None  # a few training rows as the table holds them
    columns: tuple[ColumnLine, ...] = ()  # known where the source was read, not where prepared data was opened
    class_counts: dict[str, int] | None = None  # the training rows of each class; the same holds
    folds: "tuple[Dataset, ...]" = ()
    distributions: tuple[dict[str, Any], ...] = ()  # of targets and inputs outside the test split; the same holds
    row_numbers: Mapping[str, np.ndarray] = field(default_factory=dict)  # in the source, of each split that ranks

    def with_folds(self, folds: Sequence[tuple[Examples, Examples]]) -> "Dataset":
        """Return the data set with the training and validation examples of each fold."""
        return replace(
            self, folds=tuple(replace(self, train=train, validation=validation) for train, validation in folds)
        )

    @property
    def heads(self) -> tuple[HeadData, ...]:
        """The several targets; empty for one."""
        return HeadData.of(self.description)

    def of_head(self, head: HeadData) -> "Dataset":
        """Return the data set as if one of several heads were the only one; its test split stays that of all."""
        apart = None if self.ranking_apart is None else self.ranking_apart.of_head(head)
        return replace(
            self,
            train=self.train.of_head(head),
            validation=self.validation.of_head(head),
            ranking_apart=apart,
            task=head.task,
            classes=head.classes,
            description=head.description(self.description),
            folds=tuple(fold.of_head(head) for fold in self.folds),
        )

    def without_weights(self, examples: Examples) -> Examples:
        """Return examples whose rows all weigh the same, for all heads: those of a few rows may all be 0."""
        columns = [head.described["weight_column"] for head in self.heads if head.has_weights]
        targets = examples.targets
        if columns:
            targets = np.array(targets)
            targets[:, columns] = 1.0
        return replace(examples, targets=targets, weights=None)

    @property
    def ranking(self) -> Examples:
        """The examples that rank trials."""
        return self.validation if self.ranking_apart is None else self.ranking_apart

    @property
    def is_on_disk(self) -> bool:
        """True if training reads its inputs from disk, batch by batch."""
        return any(isinstance(array, np.memmap) for array in arrays_of(self.train.inputs))

    @property
    def raw_example(self) -> Any:
        """A few training rows as in the source: of the table, or of the arrays."""
        return in_memory(rows_of(self.train.inputs, slice(5))) if self.example is None else self.example

    @property
    def input_shape(self) -> ShapeTree:
        """The shape of one example; of several inputs a dictionary by name, or a list in order."""
        return example_shape(self.train.inputs)

    @property
    def vocabulary_sizes(self) -> dict[str, int]:
        """The number of different indices or codes of each column of texts or codes of a table."""
        return {} if self.preprocessing is None else self.preprocessing.vocabulary_sizes

    @property
    def output_size(self) -> OutputSize:
        """The number of model outputs per example, or their shape if targets have several axes; of heads by name."""
        if self.heads:
            return {each.name: each.output_size for each in self.heads}
        shape = tuple(self.description.get("target_shape", ()))
        return outputs_at(shape, len(self.classes or ())) if self.task == POSITIONS else shape or self.output_count

    @property
    def output_count(self) -> int:
        """The number of model outputs per example: 1 for two classes, else one per class, label or quantity.

        Of several heads it is the sum.
        """
        if self.heads:
            return sum(math.prod(np.atleast_1d(each.output_size).tolist()) for each in self.heads)
        if self.task == "binary":
            return 1
        if self.task == POSITIONS:
            return int(self.train.targets.shape[1]) * len(self.classes or ())
        if self.task in ("multiclass", "multilabel"):
            return len(self.classes or ())
        return 1 if self.train.targets.ndim == 1 else int(self.train.targets.shape[1])

    @property
    def sizes(self) -> dict[str, int]:
        """The number of examples in each split that has rows of its own."""
        apart = {} if self.ranking_apart is None else {"ranking": len(self.ranking_apart)}
        if self.folds:
            return {"train": len(self.train), "test": len(self.test)}
        return {"train": len(self.train), "validation": len(self.validation), **apart, "test": len(self.test)}
