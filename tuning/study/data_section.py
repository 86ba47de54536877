"""The section [data] of a study file, and its split."""

import re
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from nightune.tuning.study.column_keys import (
    CODES,
    DATE_PARTS,
    HASHED,
    IMAGES,
    TEXT,
    read_codes,
    read_date_parts,
    read_hashed,
    read_images,
    read_text,
)
from nightune.tuning.study.section import SHARE, Clash, Section, Seed, Switch, Text, Texts
from nightune.vocabulary import (
    COLUMN_SPLIT_KINDS,
    DATE_FORMS,
    NUMBER_FORMS,
    SPAN,
    SPLIT_KINDS,
    SplitKind,
    Task,
    shown,
    unknown_name,
)

SHARES = ("validation", "ranking", "test")
FOLDS = "a whole number from 2 to 100"
Forms = dict[str, str]
NUMERIC = f"a list of columns, or a table of columns and forms, one of {', '.join(NUMBER_FORMS)}"
DATES = f"a list of columns, or a table of columns and forms, one of {', '.join(DATE_FORMS)}"


class Split(Section):
    """The split of rows. Default kind: stratified for classes, random for quantities.

    Shares are of all rows, those of a fixed split of its training rows. It may name files of validation and test rows.
    """

    kind: SplitKind | None = None
    validation: float | str = 0.2
    test: float | str = 0.2
    column: Text | None = None
    seed: Seed | None = None
    ranking: Annotated[float, Field(ge=0, lt=1, description="a number from 0 to 1 (1 excluded)")] = 0.0
    gap: int | str = 0
    allow_overlap: Switch = False
    folds: Annotated[int, Field(ge=2, le=100, description=FOLDS)] | None = None

    def clashes(self) -> Iterator[Clash]:
        """Training rows must remain; a column and files are given only for the kinds that read them."""
        shares = {name: share for name in SHARES if not isinstance(share := getattr(self, name), str)}
        if sum(shares.values()) >= 1:
            given = [f"{name} {share}" for name, share in shares.items() if share or name != "ranking"]
            message = f"{', '.join(given[:-1])} and {given[-1]} leave no rows to train on"
            yield Clash(("validation", "ranking", "test"), "", f"{message} (allowed: a sum below 1)")
        if self.gap and self.kind != "time":
            yield Clash(("kind", "gap"), "gap", f'{shown(self.gap)} is read only by kind "time"')
        if self.allow_overlap and self.kind in ("group", "time"):
            yield Clash(("kind", "allow_overlap"), "allow_overlap", f"true is not read by kind {shown(self.kind)}")
        yield from self._fold_clashes()
        for name in (name for name in SHARES if name not in shares):
            if self.kind != "fixed" or self.column is not None:
                message = f'{shown(getattr(self, name))} is a file: use kind "fixed", without a column'
                yield Clash(("kind", "column", name), name, f"{message} (or {SHARE})")
        if self.kind not in COLUMN_SPLIT_KINDS and self.column is not None:
            message = f"{shown(self.column)} is read only by kind {' or '.join(map(shown, COLUMN_SPLIT_KINDS))}"
            yield Clash(("kind", "column"), "column", f"{message}; change the kind, or remove the column")

    def _fold_clashes(self) -> Iterator[Clash]:
        """Folds take the place of the validation and ranking splits, and divide the rows themselves."""
        if self.folds is None:
            return
        for name in ("validation", "ranking"):
            if name in self.model_fields_set and (getattr(self, name) or name == "validation"):
                message = f"{shown(getattr(self, name))} is not read with folds, which take its place; remove it"
                yield Clash(("folds", name), name, message)
        if self.kind == "fixed":
            kinds = ", ".join(shown(kind) for kind in SPLIT_KINDS if kind != "fixed")
            message = f'{self.folds}, but kind "fixed" names the rows of each split; remove it, or use one of {kinds}'
            yield Clash(("folds", "kind"), "folds", message)

    @field_validator("gap", mode="before")
    @classmethod
    def _read_gap(cls, given: Any) -> Any:
        is_count = isinstance(given, int) and not isinstance(given, bool) and given >= 0
        if is_count or (isinstance(given, str) and re.fullmatch(SPAN, given)):
            return given
        why = f'{shown(given)} is not a whole number of rows from 0, or a span such as "7 days" or "12 hours"'
        raise PydanticCustomError("message", "{message}", {"message": why})

    @field_validator("validation", "test", mode="before")
    @classmethod
    def _read_share_or_file(cls, given: Any) -> Any:
        is_share = isinstance(given, int | float) and not isinstance(given, bool) and 0 < given < 1
        if is_share or (isinstance(given, str) and given):
            return given
        why = f"{shown(given)} is not {SHARE}, or the file of a fixed split"
        raise PydanticCustomError("message", "{message}", {"message": why})


class DataSection(Section):
    """The source of the examples and how they are read; `source` is kept as written."""

    source: Text
    target: str | tuple[str, ...] | None = None
    task: Task | None = None
    drop: Texts = ()
    categorical: Texts = ()
    missing: Texts = ()
    numeric: Forms = Field(default_factory=dict, description=NUMERIC)
    dates: Forms = Field(default_factory=dict, description=DATES)
    text: Annotated[dict[str, dict[str, int]], BeforeValidator(read_text)] = Field(
        default_factory=dict, description=TEXT
    )
    codes: Annotated[dict[str, int], BeforeValidator(read_codes)] = Field(default_factory=dict, description=CODES)
    images: Annotated[dict[str, tuple[int, int, int]], BeforeValidator(read_images)] = Field(
        default_factory=dict, description=IMAGES
    )
    hashed: Annotated[dict[str, int], BeforeValidator(read_hashed)] = Field(default_factory=dict, description=HASHED)
    target_encoded: Texts = ()
    date_parts: Annotated[dict[str, tuple[str, ...]], BeforeValidator(read_date_parts)] = Field(
        default_factory=dict, description=DATE_PARTS
    )
    scale_target: Switch = False
    weight: Text | None = None
    split: Split = Split()

    @field_validator("target", mode="before")
    @classmethod
    def _read_target(cls, given: Any) -> Any:
        """A list of one column is that column."""
        if given is None:
            return None
        names = given if isinstance(given, list | tuple) else [given]
        if not names or not all(isinstance(name, str) and name for name in names):
            why = f"{shown(given)} is not the name of a column, or a list of names"
        elif len(set(names)) < len(names):
            why = f"{shown(given)} names a column twice"
        else:
            return names[0] if len(names) == 1 else tuple(names)
        raise PydanticCustomError("message", "{message}", {"message": why})

    @field_validator("missing", mode="before")
    @classmethod
    def _show_texts(cls, given: Any) -> Any:
        """Show how a single gap, and gaps that are numbers, are written."""
        gaps = given if isinstance(given, list | tuple) else [given]
        is_list_of_texts = gaps is given and all(isinstance(gap, str) for gap in gaps)
        if is_list_of_texts or not all(isinstance(gap, str | int | float) for gap in gaps):
            return given
        written = ", ".join(f'"{gap}"' for gap in gaps)
        why = f"{shown(given)} is not a list of texts (numbers in quotes, too): missing = [{written}]"
        raise PydanticCustomError("message", "{message}", {"message": why})

    @field_validator("numeric", "dates", mode="before")
    @classmethod
    def _read_forms(cls, given: Any, info: ValidationInfo) -> Any:
        """A list of columns leaves their form to their texts; a table gives it."""
        forms, words = (NUMBER_FORMS, NUMERIC) if info.field_name == "numeric" else (DATE_FORMS, DATES)
        table = (
            dict.fromkeys(given, "") if isinstance(given, list) and all(isinstance(n, str) for n in given) else given
        )
        if not isinstance(table, dict):
            raise PydanticCustomError("message", "{message}", {"message": f"{shown(given)} is not {words}"})
        for name, form in table.items():
            if form not in ("", *forms):
                why = f"column {shown(name)}: {unknown_name(form, forms, 'form')}"
                raise PydanticCustomError("message", "{message}", {"message": why})
        return table
