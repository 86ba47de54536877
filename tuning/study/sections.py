"""The sections of a study file that contain settings, not parameters: data, search, objective, promotion."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, TypeVar, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from nightune.tuning.errors import Problem
from nightune.vocabulary import (
    COLUMN_SPLIT_KINDS,
    DATE_FORMS,
    NUMBER_FORMS,
    OBJECTIVES,
    SPAN,
    SPLIT_KINDS,
    VALIDATION_PREFIX,
    Direction,
    SplitKind,
    Task,
    listing,
    shown,
    suggestion,
    unknown_name,
)

LIMIT_COUNT = 1_000_000  # trials of a study, epochs of a trial
LIMIT_SEED = 2**32 - 1  # one word of NumPy's seed sequences, so that different seeds never share a stream


def read_metric(metric: str) -> str:
    """Refuse an unknown metric, with the nearest known one."""
    if metric in OBJECTIVES:
        return metric
    if metric.startswith(VALIDATION_PREFIX):
        why, near = f"unknown {shown(metric)}", ""
    else:
        why = f"{shown(metric)} is not a metric of the validation split"
        near = suggestion(f"{VALIDATION_PREFIX}{metric}", OBJECTIVES)
    near = near or suggestion(metric, OBJECTIVES)
    raise PydanticCustomError("message", "{message}", {"message": f"{why}{near} ({listing(OBJECTIVES)})"})


def read_name(name: str) -> str:
    """Refuse a name that is not a plain file name."""
    if re.fullmatch(r"[A-Za-z0-9_-]{1,100}", name):
        return name
    why = f"{shown(name)} is not a name (allowed: up to 100 letters, digits, - and _)"
    raise PydanticCustomError("message", "{message}", {"message": why})


COUNT = f"a whole number from 1 to {LIMIT_COUNT}"
SEED = f"a whole number from 0 to {LIMIT_SEED}"
Text = Annotated[str, Field(min_length=1, description="a text")]
Texts = Annotated[tuple[Annotated[str, Field(strict=True)], ...], Field(strict=False, description="a list of texts")]
SHARE = "a number between 0 and 1 (both excluded)"
SHARES = ("validation", "ranking", "test")
FOLDS = "a whole number from 2 to 100"
Share = Annotated[float, Field(gt=0, lt=1, description=SHARE)]
Count = Annotated[int, Field(ge=1, le=LIMIT_COUNT, description=COUNT)]
Seed = Annotated[int, Field(ge=0, le=LIMIT_SEED, description=SEED)]
Forms = dict[str, str]
NUMERIC = f"a list of columns, or a table of columns and forms, one of {', '.join(NUMBER_FORMS)}"
DATES = f"a list of columns, or a table of columns and forms, one of {', '.join(DATE_FORMS)}"
Switch = Annotated[bool, Field(description="true or false")]


@dataclass(frozen=True)
class Clash:
    """Fields that are valid alone but not together; `key` is the one to change."""

    fields: tuple[str, ...]
    key: str
    message: str


class Section(BaseModel):
    """Frozen, strict in types, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    def clashes(self) -> Iterator[Clash]:
        """Yield the clashes between fields."""
        yield from ()

    @model_validator(mode="after")
    def _refuse_clashes(self) -> Self:
        for clash in self.clashes():
            raise PydanticCustomError("clash", "{message}", {"message": clash.message})
        return self


class Heading(Section):
    """The keys above all sections. The name is used for the MLflow experiment and for files."""

    name: Annotated[Text, AfterValidator(read_name)]
    question: Text
    seed: Seed = 0


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


Method = Literal["random", "grid", "successive_halving", "hyperband"]

RUNG_METHODS = ("successive_halving", "hyperband")  # these continue the best trials and drop the others
COUNTED_METHODS = {"random": "a random search", "successive_halving": "successive halving"}
OWN_COUNT_METHODS = {
    "grid": "a grid trains all its points",
    "hyperband": "hyperband derives the number from its brackets",
}


class SearchSection(Section):
    """How trials are chosen and how long they train. Grid and hyperband determine the number of trials themselves.

    The defaults were measured on published tables: rungs at 3, 6, 12, 25 and 50 epochs kept the winner of 50 full
    trainings in 88% of them, at a fifth of the cost; factor 3 from 2 epochs kept it in 54%.
    """

    method: Method = "random"
    trials: Count | None = None
    epochs: Count
    reuse: Switch = False
    reduction_factor: Annotated[int, Field(ge=2, le=10, description="a whole number from 2 to 10")] | None = None
    smallest_epochs: Count | None = None

    @property
    def factor(self) -> int:
        """Each rung trains 1/factor of the trials of the previous one, factor times as long."""
        return self.reduction_factor or 2

    @property
    def first_rung_epochs(self) -> int:
        """The minimum length of a rung."""
        return self.smallest_epochs or 3

    def clashes(self) -> Iterator[Clash]:
        """Check the number of trials and the keys of rungs against the method."""
        if self.method in COUNTED_METHODS and self.trials is None:
            yield Clash(("method", "trials"), "trials", f"missing; needed for {COUNTED_METHODS[self.method]}")
        if self.method in OWN_COUNT_METHODS and self.trials is not None:
            message = f"{self.trials}, but {OWN_COUNT_METHODS[self.method]}; remove it, or use method 'random'"
            yield Clash(("method", "trials"), "trials", message)
        yield from self._rung_clashes() if self.method in RUNG_METHODS else self._rungless_clashes()

    def _rungless_clashes(self) -> Iterator[Clash]:
        for name in ("reduction_factor", "smallest_epochs"):
            if getattr(self, name) is not None:
                message = f"{getattr(self, name)} is read only by methods {' and '.join(RUNG_METHODS)}; remove it"
                yield Clash(("method", name), name, message)

    def _rung_clashes(self) -> Iterator[Clash]:
        needed = self.factor * self.first_rung_epochs
        if self.epochs < needed:
            message = f"{self.epochs} are too few for a first rung of {self.first_rung_epochs} epochs"
            fields = ("method", "epochs", "reduction_factor", "smallest_epochs")
            yield Clash(fields, "epochs", f"{message} (allowed: reduction_factor × smallest_epochs = {needed} or more)")
        if self.trials is not None and self.trials < self.factor:
            message = f"{self.trials} are too few to drop any (allowed: {self.factor} or more, the reduction factor)"
            yield Clash(("method", "trials", "reduction_factor"), "trials", message)
        if self.reuse:
            message = "true, but trials of an earlier sweep have other rungs; remove it, or use method 'random'"
            yield Clash(("method", "reuse"), "reuse", message)


class Objective(Section):
    """The metric that ranks trials. The metric determines the direction; a study may state it as well.

    Where rows have weights, metrics and the gate average by them, or weigh all rows alike.
    """

    metric: Annotated[Text, AfterValidator(read_metric)] = "val_loss"
    direction: Direction = "minimize"
    average: Literal["weights", "rows"] = "weights"

    @model_validator(mode="before")
    @classmethod
    def _infer_direction(cls, given: Any) -> Any:
        metric = given.get("metric", "val_loss") if isinstance(given, Mapping) else None
        if isinstance(metric, str) and metric in OBJECTIVES:
            return {"direction": OBJECTIVES[metric], **given}
        return given

    def clashes(self) -> Iterator[Clash]:
        """The direction must be that of the metric."""
        direction = OBJECTIVES[self.metric]
        if "direction" in self.model_fields_set and self.direction != direction:
            message = f"{self.direction!r}, but {self.metric} is {direction}d; remove it"
            yield Clash(("metric", "direction"), "direction", message)


class Limits(Section):
    """Limits of one trial. A trial over a limit fails; the sweep continues."""

    seconds: Annotated[float, Field(gt=0, description="a number of seconds above 0")] | None = None
    memory_gib: Annotated[float, Field(gt=0, description="a number of GiB above 0")] | None = None


class ConfirmationSection(Section):
    """The number of finalists that are trained again, and of fresh seeds for each; 0 finalists: no confirmation."""

    finalists: Annotated[int, Field(ge=0, le=100, description="a whole number from 0 to 100")] = 5
    replicates: Annotated[int, Field(ge=2, le=100, description="a whole number from 2 to 100")] = 3
    cost: Literal["parameters", "seconds"] = "parameters"
    confidence: Share = 0.95


class PromotionSection(Section):
    """Conditions for a confirmed winner to become champion. Gains are in units of the objective's loss."""

    replicates: Annotated[int, Field(ge=1, le=100, description="a whole number from 1 to 100")] = 8
    confidence: Share = 0.95
    minimum_gain: Annotated[float, Field(ge=0, allow_inf_nan=False, description="a number from 0")] = 0.0
    challenger_margin: Annotated[float, Field(ge=0, allow_inf_nan=False, description="a number from 0")] = 0.0
    size_limit_mb: Annotated[float, Field(gt=0, description="a number above 0")] | None = None
    latency_limit_ms: Annotated[float, Field(gt=0, description="a number above 0")] | None = None


Model = TypeVar("Model", bound=Section)


def read_section(model: type[Model], table: object, prefix: str) -> tuple[Model | None, list[Problem]]:
    """Return the section in a table, or None and its problems, with keys under the prefix."""
    if not isinstance(table, dict):
        return None, [Problem(prefix, f"{shown(table)} is not a table (write [{prefix}])")]
    try:
        return model.model_validate(table), []
    except ValidationError as error:
        errors = [details for details in error.errors(include_url=False) if details["type"] != "clash"]
    wrong = {str(details["loc"][0]) for details in errors}
    sound = {name: value for name, value in table.items() if name in model.model_fields and name not in wrong}
    clashes = model.model_construct(**sound).clashes()
    problems = [_problem(model, details, prefix) for details in errors]
    problems += [
        Problem(f"{prefix}.{clash.key}".strip("."), clash.message)
        for clash in clashes
        if wrong.isdisjoint(clash.fields)
    ]
    return None, problems


def _problem(model: type[Section], details: ErrorDetails, prefix: str) -> Problem:
    """Convert one of pydantic's errors to a Problem."""
    name, given = str(details["loc"][0]), details["input"]
    key = f"{prefix}.{name}".lstrip(".")
    if details["type"] == "extra_forbidden":
        return Problem(key, f"unknown key{suggestion(name, model.model_fields)} ({listing(model.model_fields)})")
    if details["type"] == "message":
        return Problem(key, str(details["msg"]))
    words, options = _allowed(model.model_fields[name])
    if details["type"] == "missing":
        return Problem(key, f"missing (needed: {words})")
    if options and isinstance(given, str):
        return Problem(key, unknown_name(given, options))
    return Problem(key, f"{shown(given)} is not {words}")


def _allowed(field: FieldInfo) -> tuple[str, tuple[str, ...]]:
    """The allowed values of a field: in words, and its options if it has some, also inside an optional field."""
    parts = [field.annotation, *get_args(field.annotation)]
    options = [option for part in parts if get_origin(part) is Literal for option in get_args(part)]
    inner = [detail.description for part in parts for detail in get_args(part) if isinstance(detail, FieldInfo)]
    words = field.description or next((words for words in inner if words), None)
    return words or f"one of {', '.join(options)}", tuple(options)
