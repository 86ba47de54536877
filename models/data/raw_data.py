"""A study's data before anything is fitted: the inputs and the target of every row, as one object."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.data.array_keys import key_choices, split_by_keys
from nightune.models.data.columns.reading import Choices
from nightune.models.data.contents import Arrays, Table
from nightune.models.data.parts import read_parts
from nightune.models.data.settings import DataSettings
from nightune.models.data.sources import KEY
from nightune.models.data.splits import Split
from nightune.models.data.table_heads import read_table_targets, tasks_of_heads
from nightune.models.data.weights import RowWeights, likely_weights, read_column, refuse_unknown_column
from nightune.models.errors import InputError
from nightune.models.serving.input_trees import ArrayTree, arrays_of, is_several, row_count
from nightune.vocabulary import COLUMN_SPLIT_KINDS, unknown_name

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class RawData:
    """Inputs and targets, one row per example, and what the study or the source says about them.

    `inputs` are the feature columns of a table, or an array (rows, ...) of float32 or int32, or several. `targets` are
    booleans, numbers or texts: (rows,), or (rows, columns). With `heads` they are the first of several by name, and
    `tasks` are those that the study states.
    """

    inputs: "pd.DataFrame | ArrayTree"
    targets: np.ndarray
    task: str | None = None  # None: inferred from the targets
    target_name: str | None = None  # None: several columns, or arrays, which have no column names
    target_names: tuple[str, ...] | None = None  # of several columns, if they have names
    split_column: "pd.Series[Any] | None" = None
    split: Split = field(default_factory=Split)  # the study's; its kind and column are settled by arrays' own keys
    findings: tuple[str, ...] = ()
    has_text_names: bool = True  # of columns in the source
    weights: RowWeights | None = None
    head_weights: Mapping[str, RowWeights] = field(default_factory=dict)  # of the heads that have their own
    form: Mapping[str, Any] = field(default_factory=dict)  # how a version reads raw rows, as the source says
    heads: Mapping[str, np.ndarray] = field(default_factory=dict)
    tasks: Mapping[str, str] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()  # the study's in the order of the classes, a source's by codes from 0
    are_names_stated: bool = False
    head_columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # names of columns of a head's targets
    numbers: np.ndarray | None = None  # of each row in the source or its file, from 0; None: it has no order
    ignore_class: int | None = None  # of targets that are a class at each position: positions without any

    @property
    def has_arrays(self) -> bool:
        """True if the source holds arrays, False for a table."""
        return isinstance(self.inputs, np.ndarray) or is_several(self.inputs)

    @property
    def target_key(self) -> str:
        """The key of the study file to blame for bad targets."""
        return KEY if self.has_arrays else "data.target"

    def split_choices(self, settings: DataSettings) -> Choices:
        """Return how the split column is read: by the study for tables."""
        return key_choices(self.split_column) if self.has_arrays else settings.choices

    @property
    def target_columns(self) -> tuple[str, ...]:
        """The names of the target columns of a table."""
        return self.target_names or (() if self.target_name is None else (self.target_name,))


def separate_target(content: Table | Arrays, settings: DataSettings) -> RawData:
    """Separate the targets from the inputs, by the settings for a table; InputError for a wrong column name."""
    if isinstance(content, Table):
        return _from_table(content, settings)
    _refuse_column_names(settings)
    if settings.split.kind == "time" and not content.has_order:
        raise InputError("data.split.kind", "'time', but the loader shuffles its rows; use shuffle=False")
    settled = split_by_keys(settings.split, content.keys, row_count(content.targets), settings.source)
    heads = content.targets if isinstance(content.targets, dict) else {}
    tasks = tasks_of_heads(settings.task, tuple(heads))
    return RawData(
        inputs=content.inputs,
        targets=arrays_of(content.targets)[0],
        heads=heads,
        tasks=tasks,
        head_columns=content.head_columns,
        task=content.task if heads or settings.task is None else str(settings.task),
        target_names=content.target_names,
        split_column=settled.column,
        split=settled.split,
        findings=(*content.findings, *settled.findings),
        weights=None if content.weights is None else RowWeights(content.weights, by_rows=settings.metrics_by_rows),
        head_weights={
            name: RowWeights(each, by_rows=settings.metrics_by_rows) for name, each in content.head_weights.items()
        },
        form=content.form,
        numbers=_numbers(content) if content.has_order else None,
        class_names=settings.class_names or content.class_names,
        are_names_stated=bool(settings.class_names),
        ignore_class=settings.ignore_class,
    )


def _from_table(table: Table, settings: DataSettings) -> RawData:
    """Leave out rows without a target, with a finding."""
    targets = settings.targets or (() if table.target is None else (table.target,))
    split_column, names = settings.split.column, list(table.frame.columns)
    if not targets:
        raise InputError("data.target", f"a table needs the name of the column to predict (known: {', '.join(names)})")
    if settings.split.kind in COLUMN_SPLIT_KINDS and split_column is None and table.parts is None:
        raise InputError("data.split.column", f"a {settings.split.kind} split needs the name of its column")
    _refuse_unknown_columns(names, targets, settings)
    refuse_unknown_column(names, targets, settings)
    of_table = table.task if targets == (table.target,) else None
    read = read_table_targets(table.frame, targets, of_table, settings)
    kept = table.frame[~read.lacks]
    by = table.parts if table.parts is not None else None if split_column is None else table.frame[split_column]
    if by is not None and settings.split.kind == "fixed":
        read_parts(by, ~read.lacks)
    weights = {name: read_column(table, ~read.lacks, settings, name) for name in settings.weight_columns}
    by_head = settings.weight if isinstance(settings.weight, Mapping) else {}
    used = [name for name in names if name not in {*targets, split_column, *weights, *settings.drop}]
    if not used:
        raise InputError(KEY, "no column is left to learn from")
    return RawData(
        inputs=kept[used],
        split_column=None if by is None else by[~read.lacks],
        split=settings.split,
        findings=(
            *table.findings,
            *read.findings,
            *(remark for _, remarks in weights.values() for remark in remarks),
            *likely_weights(used),
        ),
        weights=weights[settings.weight][0] if isinstance(settings.weight, str) else None,
        head_weights={head: weights[name][0] for head, name in by_head.items()},
        form=table.form,
        ignore_class=settings.ignore_class,
        has_text_names=table.has_text_names,
        numbers=_numbers(table)[~read.lacks],
        class_names=settings.class_names,
        are_names_stated=bool(settings.class_names),
        **read.fields,
    )


def _numbers(content: Table | Arrays) -> np.ndarray:
    """Return the number of each row in the source, or in the file or array of its part, from 0."""
    if isinstance(content, Arrays):
        return np.arange(row_count(content.inputs)) if content.numbers is None else content.numbers
    if content.parts is None:
        return np.arange(len(content.frame))
    return content.parts.groupby(content.parts).cumcount().to_numpy()


def _is_number(name: str) -> bool:
    return re.fullmatch(r"\s*[-+]?\d+[.,]?\d*(\.\d+)?\s*", name) is not None


def _refuse_unknown_columns(names: list[str], targets: tuple[str, ...], settings: DataSettings) -> None:
    split_column = settings.split.column
    for key, name in [*(("data.target", target) for target in targets), ("data.split.column", split_column)]:
        if name is not None and name not in names:
            only = "; if a sign divides it into several, write it as separator in [data]" if len(names) == 1 else ""
            is_row = sum(map(_is_number, names)) >= len(names) / 2
            row = "; the first line looks like a row: write the names of the columns above it" if is_row else ""
            raise InputError(key, f"{unknown_name(name, names, 'column')}{row or only}")
    a_target = "the target" if len(targets) == 1 else "a target"
    if split_column in targets:
        raise InputError("data.split.column", f"{split_column!r} is {a_target}; split by another column")
    for name in settings.drop:
        if name in targets:
            raise InputError("data.drop", f"{name!r} is {a_target}; it cannot be dropped")
        if name not in names:
            raise InputError("data.drop", unknown_name(name, names, "column"))


def _refuse_column_names(settings: DataSettings) -> None:
    """Refuse settings that name columns: arrays have none."""
    if settings.weight:
        remedy = 'return (x, y, weight) or {"x": x, "y": y, "weight": weight}, or save an array weight in the file'
        raise InputError("data.weight", f"applies only to tables; {settings.source} holds arrays: {remedy}")
    given = {
        "target": settings.target,
        "drop": settings.drop,
        "categorical": settings.categorical,
        "missing": settings.missing,
        "numeric": settings.numeric,
        "dates": settings.dates,
        "text": settings.text,
        "codes": settings.codes,
        "images": settings.images,
        "hashed": settings.hashed,
        "target_encoded": settings.target_encoded,
        "date_parts": settings.date_parts,
    }
    for name, value in given.items():
        if value:
            raise InputError(f"data.{name}", f"applies only to tables; {settings.source} holds arrays")
