"""The settings of a study's [data] section, as one value."""

from dataclasses import dataclass, field

from nightune.models.data.splits import Split


@dataclass(frozen=True)
class DataSettings:
    """Where the data comes from and how to read it: one field per key of [data].

    `target`, `drop`, `categorical` and `split.column` name columns of a table. Without a task, the targets decide.
    """

    source: str
    target: str | None = None
    task: str | None = None
    drop: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    scale_target: bool = False
    split: Split = field(default_factory=Split)
