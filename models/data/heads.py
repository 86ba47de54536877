"""The targets of several heads in one array: which columns are those of each, and how they are read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nightune.models.data.positions import outputs_at
from nightune.vocabulary import NAMED_METRICS, POSITIONS, TASK_METRICS, VALIDATION_PREFIX


@dataclass(frozen=True)
class HeadData:
    """One of several targets: its task, its columns in the array of all, and its part of the data's description.

    Targets are (rows,) int32 for classes, (rows, labels) int32, (rows, positions) int32 for a class at each, -1 for
    none, and float32 quantities (rows,) or (rows, quantities).
    """

    name: str
    task: str
    classes: tuple[Any, ...] | None
    columns: tuple[int, int]
    described: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> "tuple[HeadData, ...]":
        """Read the heads of a data set or of a version from its description; empty for one target."""
        return tuple(
            cls(
                name=each["name"],
                task=each["task"],
                classes=None if each["classes"] is None else tuple(each["classes"]),
                columns=(int(each["columns"][0]), int(each["columns"][1])),
                described=each,
            )
            for each in description.get("heads", ())
        )

    @staticmethod
    def metrics_of(task: str) -> tuple[str, ...]:
        """Return all metrics that a head of the task may have."""
        return (*TASK_METRICS[task], *NAMED_METRICS[task])

    @property
    def has_weights(self) -> bool:
        """True if the rows of the head have weights of their own."""
        return "weight_column" in self.described

    @property
    def has_weighable_classes(self) -> bool:
        """True for one class for each row or position: those of labels that may hold together have no weights."""
        return self.task in ("binary", "multiclass", POSITIONS)

    @property
    def output_size(self) -> int | tuple[int, ...]:
        """The number of outputs of the head, or their shape."""
        shape = tuple(int(length) for length in self.described.get("target_shape", ()))
        if self.task == POSITIONS:
            return outputs_at(shape, len(self.classes or ()))
        return shape or int(self.described["output_size"])

    def targets(self, packed: np.ndarray) -> np.ndarray:
        """Return the head's targets, from the columns of all heads."""
        own = packed[:, self.columns[0] : self.columns[1]]
        values = own if self.task == "regression" else own.astype(np.int32)
        return values[:, 0] if self.described.get("is_column") else values

    def row_weights(self, packed: np.ndarray, of_all: np.ndarray | None) -> np.ndarray | None:
        """Return the weights of the head's rows, (rows,) float32: its own, times those of all heads; None for none.

        Rows that metrics weigh alike, whose own weights are all 1, have none of their own.
        """
        column = self.described.get("weight_column")
        if column is None:
            return of_all
        own = np.asarray(packed[:, column], np.float32)
        if self.described.get("average") == "rows" and (own == 1.0).all():
            return of_all
        return own if of_all is None else own * of_all

    def description(self, whole: Mapping[str, Any]) -> dict[str, Any]:
        """Return the description of the data as if this head were its only one."""
        shared = {name: value for name, value in whole.items() if name != "heads"}
        own = {name: value for name, value in self.described.items() if name not in ("name", "columns", "is_column")}
        return {**shared, **own}


def of_head(text: str, name: str) -> str:
    """Return a message about one of several heads, whose remedies set keys of a study for this head alone."""
    key = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'"{name}"'
    said = re.sub(r'\b(task|loss|outputs) = ("\w+")', rf"\1 = {{ {key} = \2 }}", text)
    return re.sub(r"\bquantiles = (\[[^\]]*\])", rf"quantiles = {{ {key} = \1 }}", said)


def metric_of_head(metric: str, heads: tuple[HeadData, ...]) -> tuple[HeadData, str] | None:
    """Return the head and the metric `val_METRIC` of `val_HEAD_METRIC`; None if no head has it."""
    named = metric.removeprefix(VALIDATION_PREFIX)
    for head in heads:
        own = named.removeprefix(f"{head.name}_")
        if own != named and own in HeadData.metrics_of(head.task):
            return head, f"{VALIDATION_PREFIX}{own}"
    return None


def known_metrics(heads: tuple[HeadData, ...]) -> list[str]:
    """Return the metrics that trials of several heads may be ranked by."""
    own = [f"{VALIDATION_PREFIX}{each.name}_{name}" for each in heads for name in HeadData.metrics_of(each.task)]
    return [f"{VALIDATION_PREFIX}loss", *own]
