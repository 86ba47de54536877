"""What a source of data holds: a table, or arrays."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.serving.input_trees import ArrayTree

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Table:
    """A table as its source holds it, rows numbered from 0; a built-in set has a target and a task of its own."""

    frame: "pd.DataFrame"
    target: str | None = None
    task: str | None = None
    findings: tuple[str, ...] = ()
    has_text_names: bool = True  # False: the source named its columns by numbers, tuples, …; `frame` has their texts
    parts: "pd.Series[Any] | None" = None  # the split of each row, if they come from several files
    form: Mapping[str, Any] = field(default_factory=dict)  # how its raw rows are written, if not as usual


@dataclass(frozen=True, eq=False)
class Arrays:
    """Arrays as their source holds them; a built-in set has a task of its own."""

    inputs: ArrayTree  # (examples, ...) float32 or int32, or several such arrays
    targets: ArrayTree  # (examples,) or (examples, columns), or several such arrays by name, one for each head
    task: str | None = None
    findings: tuple[str, ...] = ()
    target_names: tuple[str, ...] | None = None  # of the columns of a DataFrame of targets
    head_columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # the same of several targets
    keys: "Mapping[str, pd.Series[Any]]" = field(default_factory=dict)  # group, time and part, as far as given
    class_names: tuple[str, ...] = ()  # of the classes 0, 1 and so on
    weights: np.ndarray | None = None  # (examples,) float32 from 0
    head_weights: Mapping[str, np.ndarray] = field(default_factory=dict)  # the same of each head that has its own
    form: Mapping[str, Any] = field(default_factory=dict)  # how a version takes raw rows, if not as such arrays
    has_order: bool = True  # False: a loader gave the rows in another order each time
    numbers: np.ndarray | None = None  # of each row in its part, if the arrays are several joined; None: its place
