"""Read several targets of a table, one for each head of a model: columns of any kind, or several of numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.data.settings import DataSettings
from nightune.models.data.several_targets import read_targets
from nightune.models.data.target_column import KEY, TargetColumn, read_target
from nightune.models.errors import InputError
from nightune.vocabulary import unknown_name

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class TableHeads:
    """The targets by head of the rows that have all of them, a mask of the other rows, and the tasks that are known."""

    values: dict[str, np.ndarray]
    lacks: np.ndarray
    tasks: dict[str, str]
    columns: dict[str, tuple[str, ...]]  # of the heads of several columns
    findings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Read:
    """A mask of the rows without a target, findings, and the fields of `RawData` that the targets decide."""

    lacks: np.ndarray
    findings: tuple[str, ...]
    fields: dict[str, Any]


def read_table_targets(
    frame: "pd.DataFrame", targets: tuple[str, ...], task: str | None, settings: DataSettings
) -> Read:
    """Read the target columns of a table, one, several, or those of each of several heads.

    `task` is that of the table itself, which the study's replaces.
    """
    if settings.heads:
        heads = read_table_heads(frame, settings, tasks_of_heads(settings.task, tuple(settings.heads)))
        first = next(iter(heads.values.values()))
        found = {"heads": heads.values, "tasks": heads.tasks, "head_columns": heads.columns}
        return Read(heads.lacks, heads.findings, {"targets": first, "target_names": targets, **found})
    tasks_of_heads(settings.task, ())
    is_one = len(targets) == 1
    read = read_target(frame[targets[0]], settings) if is_one else read_targets(frame, targets, settings)
    names = {"target_name": targets[0]} if is_one else {"target_names": targets}
    return Read(
        read.lacks, read.findings, {"targets": read.values, "task": settings.one_task or task or read.task, **names}
    )


def read_table_heads(frame: "pd.DataFrame", settings: DataSettings, tasks: dict[str, str]) -> TableHeads:
    """Read the columns of each head as if it were the only one; rows that lack a value in any of them are left out.

    `tasks` are those that the study states. InputError if no row has all values.
    """
    read: dict[str, TargetColumn] = {}
    for name, columns in settings.heads.items():
        own = replace(settings, task=tasks.get(name))
        try:
            one = len(columns) == 1
            read[name] = read_target(frame[columns[0]], own) if one else read_targets(frame, columns, own)
        except InputError as error:
            raise InputError(error.key, f"target {name!r}: {error.message}") from error
    lacks: np.ndarray = np.logical_or.reduce([each.lacks for each in read.values()])
    if lacks.all():
        raise InputError(KEY, f"no row has a value in all of the targets {', '.join(map(repr, read))}")
    return TableHeads(
        values={name: each.values[~lacks[~each.lacks]] for name, each in read.items()},
        lacks=lacks,
        tasks={**{name: each.task for name, each in read.items() if each.task}, **tasks},
        columns={name: columns for name, columns in settings.heads.items() if len(columns) > 1},
        findings=tuple(finding for each in read.values() for finding in each.findings),
    )


def tasks_of_heads(task: str | Mapping[str, str] | None, heads: tuple[str, ...]) -> dict[str, str]:
    """Return the tasks that a study states of heads: one for all, or by name; InputError for a table without them."""
    if not isinstance(task, Mapping):
        return dict.fromkeys(heads, task) if task else {}
    if not heads:
        named = ", ".join(map(repr, task))
        problem = f"a table of tasks ({named}), and the data has one target; set one task, or return targets by name"
        raise InputError("data.task", f"{problem}, {{{', '.join(f'{name!r}: …' for name in task)}}}")
    for name in task:
        if name not in heads:
            raise InputError("data.task", unknown_name(name, heads, "target"))
    return dict(task)
