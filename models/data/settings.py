"""The settings of a study's [data] section, as one value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nightune.models.data.columns.reading import Choices
from nightune.models.data.source_options import READ_BY, SourceOptions
from nightune.models.data.splits import Split


@dataclass(frozen=True)
class DataSettings:
    """Where the data comes from and how to read it: one field per key of [data].

    `target`, `weight`, `drop`, `categorical`, `numeric`, `dates` and `split.column` name columns of a table; a form of
    numbers or dates is empty where its texts decide. Columns of `text` (words and length of each), `codes` (their
    number, 0: all) and `images` (height, width and channels) are inputs of their own. Labels of `hashed` share so many
    features, those of `target_encoded` are means of the target, and columns of dates in `date_parts` have features of
    these parts.

    `missing` are the texts of gaps. Without a task, the targets decide. With `metrics_by_rows` only training uses
    weights of rows. The fields from `separator` on are those of
    SourceOptions.
    """

    source: str
    target: str | tuple[str, ...] | Mapping[str, str | tuple[str, ...]] | None = None  # several names: two or more
    task: str | Mapping[str, str] | None = None  # a table: of several targets by name
    drop: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    numeric: Mapping[str, str] = field(default_factory=dict)
    dates: Mapping[str, str] = field(default_factory=dict)
    text: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    codes: Mapping[str, int] = field(default_factory=dict)
    images: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    hashed: Mapping[str, int] = field(default_factory=dict)
    target_encoded: tuple[str, ...] = ()
    date_parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    scale_target: bool = False
    ignore_class: int | None = None
    weight: str | Mapping[str, str] | None = None
    metrics_by_rows: bool = False
    split: Split = field(default_factory=Split)
    separator: str = ""
    decimal: str = ""
    encoding: str = ""
    query: str = ""
    sheet: str = ""
    arrays: Mapping[str, str] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    pad: Mapping[str, Any] = field(default_factory=dict)
    loader: str = ""
    image_size: tuple[int, ...] = ()
    image_color: str = ""

    @property
    def options(self) -> SourceOptions:
        """What the study says about its source."""
        return SourceOptions(**{name: getattr(self, name) for name in READ_BY})

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of the target columns; none for arrays."""
        if isinstance(self.target, Mapping):
            return tuple(column for columns in self.heads.values() for column in columns)
        return (self.target,) if isinstance(self.target, str) else self.target or ()

    @property
    def heads(self) -> dict[str, tuple[str, ...]]:
        """The columns of each of several targets by name; empty for one target, and for arrays."""
        given = self.target if isinstance(self.target, Mapping) else {}
        return {name: (each,) if isinstance(each, str) else tuple(each) for name, each in given.items()}

    @property
    def weight_columns(self) -> tuple[str, ...]:
        """The columns of weights, of all heads or of each that has its own; none for arrays."""
        if isinstance(self.weight, Mapping):
            return tuple(dict.fromkeys(self.weight.values()))
        return () if self.weight is None else (self.weight,)

    @property
    def one_task(self) -> str | None:
        """The task of the only target, if it is stated."""
        return self.task if isinstance(self.task, str) else None

    @property
    def choices(self) -> Choices:
        """What the study says about columns."""
        return Choices(
            missing=self.missing,
            numeric=self.numeric,
            dates=self.dates,
            categorical=self.categorical,
            text=self.text,
            codes=self.codes,
            images=self.images,
            hashed=self.hashed,
            target_encoded=self.target_encoded,
            date_parts=self.date_parts,
        )

    @property
    def as_written(self) -> tuple[str, ...]:
        """The columns whose texts count as they are written: 007 is not 7."""
        return (*self.categorical, *self.text, *self.codes, *self.images, *self.hashed, *self.target_encoded)
