"""The section [data] of a study file, and its split."""

import math
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator
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
    HEAD_NAME,
    NUMBER_FORMS,
    SPAN,
    SPLIT_KINDS,
    TASKS,
    SplitKind,
    Task,
    shown,
    unknown_name,
)

SHARES = ("validation", "ranking", "test")
# Keys that only some kinds of sources read (models/data/source_options.py).
OF_CSV = ("separator", "decimal", "encoding")
OF_SOURCE = (*OF_CSV, "query", "sheet", "arrays", "arguments", "pad", "loader", "image_size", "image_color")
_ARRAY_FILES = (".npz", ".npy", ".h5", ".hdf5")
_TABLES = ("breast_cancer", "diabetes", "iris", "wine")
FOLDS = "a whole number from 2 to 100"
Forms = dict[str, str]
NUMERIC = f"a list of columns, or a table of columns and forms, one of {', '.join(NUMBER_FORMS)}"
DATES = f"a list of columns, or a table of columns and forms, one of {', '.join(DATE_FORMS)}"


SEPARATOR, SEPARATORS = r"^[^\w\r\n\"'.+-]$", 'one sign between fields, such as ";" or "\\t"; " " for runs of blanks'
ARRAYS = 'a table of names, such as { x = "images", y = "labels" }'
ARGUMENTS = "a table of the function's arguments, such as { year = 2025 }"
SIDES = ("start", "end")
PAD = 'one of start, end, or a table such as { side = "end", length = 100, value = 0 }'
LIMIT_SIDE, LIMIT_LENGTH = 10_000, 1_000_000
IMAGE_SIZE = f"a height and a width in pixels, from 1 to {LIMIT_SIDE}, such as [64, 64]"


def is_file_of_table(source: str) -> bool:
    """True for a source that holds no arrays: a folder, a function or a file of arrays may split them by an array."""
    is_file = "." in source.replace("\\", "/").rpartition("/")[2] and ".py" not in source
    return source in _TABLES or (is_file and not source.lower().endswith(_ARRAY_FILES))


def read_encoding(name: str) -> str:
    """Refuse an encoding that Python does not know, or that is none of texts."""
    try:
        "a".encode(name)
    except (LookupError, ValueError):
        pass
    else:
        return name
    message = f'{shown(name)} is not a known encoding of texts (such as "utf-8", "cp1252" or "latin-1")'
    raise PydanticCustomError("message", "{message}", {"message": message})


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | dict):
        return all(map(_is_plain, value.values() if isinstance(value, dict) else value))
    return isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))


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
    target: str | tuple[str, ...] | dict[str, str | tuple[str, ...]] | None = None
    task: Task | dict[str, Task] | None = None
    drop: Texts = ()
    categorical: Texts = ()
    missing: Texts = ()
    class_names: Texts = ()
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
    ignore_class: Annotated[int, Field(strict=True)] | None = None
    weight: str | dict[str, str] | None = None
    split: Split = Split()
    separator: Annotated[str, Field(pattern=SEPARATOR, description=SEPARATORS)] | None = None
    decimal: Literal[",", "."] | None = None
    encoding: Annotated[Text, AfterValidator(read_encoding)] | None = None
    query: Text | None = None
    sheet: Text | None = None
    arrays: Forms = Field(default_factory=dict, description=ARRAYS)
    arguments: dict[str, Any] = Field(default_factory=dict, description=ARGUMENTS)
    pad: dict[str, Any] = Field(default_factory=dict, description=PAD)
    loader: Literal["batches", "examples"] | None = None
    image_size: tuple[int, ...] = Field((), description=IMAGE_SIZE)
    image_color: Literal["grey", "rgb", "rgba"] | None = None

    @field_validator("image_size", mode="before")
    @classmethod
    def _read_size(cls, given: Any) -> Any:
        """Height and width in pixels."""
        sides = given if isinstance(given, list | tuple) else ()
        is_size = len(sides) == 2 and all(type(side) is int and 0 < side <= LIMIT_SIDE for side in sides)
        if is_size:
            return tuple(sides)
        raise PydanticCustomError("message", "{message}", {"message": f"{shown(given)} is not {IMAGE_SIZE}"})

    @field_validator("pad", mode="before")
    @classmethod
    def _read_pad(cls, given: Any) -> Any:
        """The side at which short rows are filled, or a table of it, the length and the value."""
        pad = {"side": given} if isinstance(given, str) else given
        is_pad = isinstance(pad, dict) and pad.get("side") in SIDES and pad.keys() <= {"side", "length", "value"}
        length, value = (pad.get("length", 1), pad.get("value", 0)) if is_pad else (0, 0)
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if is_pad and type(length) is int and 1 <= length <= LIMIT_LENGTH and is_number:
            return pad
        raise PydanticCustomError("message", "{message}", {"message": f"{shown(given)} is not {PAD}"})

    @field_validator("arguments", mode="before")
    @classmethod
    def _read_arguments(cls, given: Any) -> Any:
        """Names and values that a study can hold: numbers, texts, true and false, and lists and tables of these."""
        if isinstance(given, dict) and all(name.isidentifier() and _is_plain(value) for name, value in given.items()):
            return given
        raise PydanticCustomError("message", "{message}", {"message": f"{shown(given)} is not {ARGUMENTS}"})

    @field_validator("weight", mode="before")
    @classmethod
    def _read_weight(cls, given: Any) -> Any:
        names = list(given.values()) if isinstance(given, dict) else [given]
        if names and all(isinstance(each, str) and each.strip() for each in names):
            return given
        allowed = 'the name of a column, or of several heads a table of such names, { HEAD = "column" }'
        raise PydanticCustomError("message", "{message}", {"message": f"{shown(given)} is not {allowed}"})

    @field_validator("target", mode="before")
    @classmethod
    def _read_target(cls, given: Any) -> Any:
        """A list of one column is that column; a table of several heads has the columns of each."""
        if given is None:
            return None
        if isinstance(given, dict):
            return cls._read_heads(given)
        names = given if isinstance(given, list | tuple) else [given]
        if not names or not all(isinstance(name, str) and name for name in names):
            why = f"{shown(given)} is not the name of a column, or a list of names"
        elif len(set(names)) < len(names):
            why = f"{shown(given)} names a column twice"
        else:
            return names[0] if len(names) == 1 else tuple(names)
        raise PydanticCustomError("message", "{message}", {"message": why})

    @classmethod
    def _read_heads(cls, given: dict[str, Any]) -> Any:
        heads = {name: cls._read_target(columns) for name, columns in given.items()}
        columns = [column for each in heads.values() for column in ((each,) if isinstance(each, str) else each or ())]
        wrong = next((name for name in heads if not re.fullmatch(HEAD_NAME, name)), None)
        if wrong is not None:
            why = f"{shown(wrong)} is no name of a head, of letters, digits, blanks, _, . and -"
        elif len(heads) < 2:
            why = f'{shown(given)} names one head; a table has several, such as {{ grade = "a", price = "b" }}'
        elif None in heads.values() or len(set(columns)) < len(columns):
            why = f"{shown(given)} names a column twice, or a head without one"
        else:
            return heads
        raise PydanticCustomError("message", "{message}", {"message": why})

    @field_validator("task", mode="before")
    @classmethod
    def _read_task(cls, given: Any) -> Any:
        """One task, or a table of tasks by the names of several targets."""
        tasks = given if isinstance(given, dict) else {"": given}
        wrong = next((name for name, task in tasks.items() if task is not None and task not in TASKS), None)
        if wrong is None and tasks:
            return given
        why = "the table is empty" if wrong is None else unknown_name(tasks[wrong], TASKS)
        of_target = f"target {shown(wrong)}: " if wrong else ""
        raise PydanticCustomError("message", "{message}", {"message": f"{of_target}{why}"})

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
