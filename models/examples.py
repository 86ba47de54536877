"""The values that data preparation gives and training takes."""

from dataclasses import dataclass
from typing import Any

import numpy as np

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Examples:
    """Inputs (examples, ...) float32 or int32, and their targets: int32 classes or float32 quantities."""

    inputs: np.ndarray
    targets: np.ndarray

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.targets):
            raise ValueError(f"{len(self.inputs)} inputs and {len(self.targets)} targets")

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three splits of one data set, with what is known about them."""

    train: Examples
    validation: Examples
    test: Examples
    task: str  # binary, multiclass or regression
    classes: tuple[Any, ...] | None
    version: str
    findings: tuple[str, ...]
    preprocessing: Any  # a models.tables.TablePreprocessing, or None
    description: dict[str, Any]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return tuple(self.train.inputs.shape[1:])

    @property
    def output_size(self) -> int:
        """How many numbers a model gives an example: 1 for two classes, else one a class or a quantity."""
        if self.task == "binary":
            return 1
        if self.task == "multiclass":
            return len(self.classes or ())
        return 1 if self.train.targets.ndim == 1 else int(self.train.targets.shape[1])

    @property
    def sizes(self) -> dict[str, int]:
        """The examples of each split."""
        return {name: len(getattr(self, name)) for name in SPLITS}
