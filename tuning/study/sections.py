"""The sections of a study file that hold settings rather than parameters: data, search, objective, promotion."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, TypeVar, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from nightune.tuning.errors import Problem
from nightune.vocabulary import (
    COLUMN_SPLIT_KINDS,
    OBJECTIVES,
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
    """Refuse what is not measured, with the nearest that is."""
    if metric in OBJECTIVES:
        return metric
    if metric.startswith(VALIDATION_PREFIX):
        why = f"unknown {shown(metric)}"
    else:
        why = f"{shown(metric)} is not a metric of the validation split"
    near = suggestion(f"{VALIDATION_PREFIX}{metric}", OBJECTIVES) or suggestion(metric, OBJECTIVES)
    raise PydanticCustomError("said", "{said}", {"said": f"{why}{near} ({listing(OBJECTIVES)})"})


def read_name(name: str) -> str:
    """Refuse what could be anything but one plain file name."""
    if re.fullmatch(r"[A-Za-z0-9_-]{1,100}", name):
        return name
    why = f"{shown(name)} is not a name (allowed: letters, digits, - and _, up to 100 of them)"
    raise PydanticCustomError("said", "{said}", {"said": why})


COUNT = f"a whole number from 1 to {LIMIT_COUNT}"
SEED = f"a whole number from 0 to {LIMIT_SEED}"
Text = Annotated[str, Field(min_length=1, description="a text")]
Texts = Annotated[tuple[Annotated[str, Field(strict=True)], ...], Field(strict=False, description="a list of texts")]
Share = Annotated[float, Field(gt=0, lt=1, description="a share above 0, below 1")]
Count = Annotated[int, Field(ge=1, le=LIMIT_COUNT, description=COUNT)]
Seed = Annotated[int, Field(ge=0, le=LIMIT_SEED, description=SEED)]
Switch = Annotated[bool, Field(description="true or false")]


@dataclass(frozen=True)
class Clash:
    """Fields that are well in themselves and do not go together; `key` is the one to change."""

    fields: tuple[str, ...]
    key: str
    message: str


class Section(BaseModel):
    """Frozen, strict in types, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    def clashes(self) -> Iterator[Clash]:
        """Yield what does not go together."""
        yield from ()

    @model_validator(mode="after")
    def _refuse_clashes(self) -> Self:
        for clash in self.clashes():
            raise PydanticCustomError("clash", "{said}", {"said": clash.message})
        return self


class Heading(Section):
    """What stands above all sections. The name is that of the MLflow experiment, and of files."""

    name: Annotated[Text, AfterValidator(read_name)]
    question: Text
    seed: Seed = 0


class Split(Section):
    """How rows are split. Without a kind, classes are stratified and quantities at random; shares are of all rows."""

    kind: SplitKind | None = None
    validation: Share = 0.2
    test: Share = 0.2
    column: Text | None = None
    seed: Seed | None = None
    ranking: Annotated[float, Field(ge=0, lt=1, description="a share from 0, below 1")] = 0.0

    def clashes(self) -> Iterator[Clash]:
        """Rows must be left to train on, and a column comes with the kinds that read it."""
        if self.validation + self.ranking + self.test >= 1:
            ranking = f", ranking {self.ranking}" if self.ranking else ""
            said = f"validation {self.validation}{ranking} and test {self.test} leave nothing to train on"
            yield Clash(("validation", "ranking", "test"), "", f"{said} (allowed: a sum below 1)")
        if self.kind in COLUMN_SPLIT_KINDS and self.column is None:
            yield Clash(("kind", "column"), "column", f"missing; a {self.kind} split needs the name of its column")
        if self.kind not in COLUMN_SPLIT_KINDS and self.column is not None:
            said = f"{shown(self.column)} counts only for kind {' or '.join(map(shown, COLUMN_SPLIT_KINDS))}"
            yield Clash(("kind", "column"), "column", f"{said}; change the kind, or leave it out")


class DataSection(Section):
    """Where the examples come from and how they are read; `source` stays as written."""

    source: Text
    target: Text | None = None
    task: Task | None = None
    drop: Texts = ()
    categorical: Texts = ()
    scale_target: Switch = False
    split: Split = Split()


Method = Literal["random", "grid", "successive_halving", "hyperband"]

RUNG_METHODS = ("successive_halving", "hyperband")  # those that train the best on and drop the others
COUNTED_METHODS = {"random": "a random search", "successive_halving": "successive halving"}
OWN_COUNT_METHODS = {
    "grid": "a grid trains all its points",
    "hyperband": "hyperband has as many as its brackets hold",
}


class SearchSection(Section):
    """How trials are chosen and what each may cost. Grid and hyperband have a number of trials of their own.

    Rungs at 3, 6, 12, 25 and 50 epochs kept the winner of 50 full trainings in 88% of the published tables that the
    defaults were measured on, at a fifth of the cost; factor 3 from 2 epochs on kept it in 54%.
    """

    method: Method = "random"
    trials: Count | None = None
    epochs: Count
    reuse: Switch = False
    reduction_factor: Annotated[int, Field(ge=2, le=10, description="a whole number from 2 to 10")] | None = None
    smallest_epochs: Count | None = None

    @property
    def factor(self) -> int:
        """A rung trains this many times as long as the one before it, and a share of 1/factor of its trials."""
        return self.reduction_factor or 2

    @property
    def first_rung_epochs(self) -> int:
        """No rung is shorter."""
        return self.smallest_epochs or 3

    def clashes(self) -> Iterator[Clash]:
        """Some methods need a number of trials, some have their own; rungs need room, and belong to some."""
        if self.method in COUNTED_METHODS and self.trials is None:
            yield Clash(("method", "trials"), "trials", f"missing; {COUNTED_METHODS[self.method]} needs their number")
        if self.method in OWN_COUNT_METHODS and self.trials is not None:
            said = f"{self.trials}, but {OWN_COUNT_METHODS[self.method]}; leave it out, or choose method 'random'"
            yield Clash(("method", "trials"), "trials", said)
        yield from self._rung_clashes() if self.method in RUNG_METHODS else self._rungless_clashes()

    def _rungless_clashes(self) -> Iterator[Clash]:
        for name in ("reduction_factor", "smallest_epochs"):
            if getattr(self, name) is not None:
                said = f"{getattr(self, name)} counts only for methods {' and '.join(RUNG_METHODS)}; leave it out"
                yield Clash(("method", name), name, said)

    def _rung_clashes(self) -> Iterator[Clash]:
        needed = self.factor * self.first_rung_epochs
        if self.epochs < needed:
            said = f"{self.epochs} leave no room for a first rung of {self.first_rung_epochs} epochs"
            fields = ("method", "epochs", "reduction_factor", "smallest_epochs")
            yield Clash(fields, "epochs", f"{said} (allowed: reduction_factor × smallest_epochs = {needed} or more)")
        if self.trials is not None and self.trials < self.factor:
            said = f"{self.trials} are too few to drop any (allowed: {self.factor} or more, the reduction factor)"
            yield Clash(("method", "trials", "reduction_factor"), "trials", said)
        if self.reuse:
            said = "true, but an earlier sweep's trials have other rungs; leave it out, or choose method 'random'"
            yield Clash(("method", "reuse"), "reuse", said)


class Objective(Section):
    """What ranks trials, and which way it is better: the metric decides, a study may repeat it."""

    metric: Annotated[Text, AfterValidator(read_metric)] = "val_loss"
    direction: Direction = "minimize"

    @model_validator(mode="before")
    @classmethod
    def _infer_direction(cls, given: Any) -> Any:
        metric = given.get("metric", "val_loss") if isinstance(given, Mapping) else None
        if isinstance(metric, str) and metric in OBJECTIVES:
            return {"direction": OBJECTIVES[metric], **given}
        return given

    def clashes(self) -> Iterator[Clash]:
        """A direction cannot be turned around."""
        direction = OBJECTIVES[self.metric]
        if "direction" in self.model_fields_set and self.direction != direction:
            said = f"{self.direction!r}, but {self.metric} is to be {direction}d; leave it out"
            yield Clash(("metric", "direction"), "direction", said)


class Limits(Section):
    """What one trial may take. A trial over a limit has failed; the others go on."""

    seconds: Annotated[float, Field(gt=0, description="a number of seconds above 0")] | None = None
    memory_gib: Annotated[float, Field(gt=0, description="a number of GiB above 0")] | None = None


class ConfirmationSection(Section):
    """How many of the best trials are trained again, with how many fresh seeds each; 0 finalists: none are."""

    finalists: Annotated[int, Field(ge=0, le=100, description="a whole number from 0 to 100")] = 5
    replicates: Annotated[int, Field(ge=2, le=100, description="a whole number from 2 to 100")] = 3
    cost: Literal["parameters", "seconds"] = "parameters"
    confidence: Share = 0.95


class PromotionSection(Section):
    """When a confirmed winner becomes champion. Gains are in units of the loss that goes with the objective."""

    replicates: Annotated[int, Field(ge=1, le=100, description="a whole number from 1 to 100")] = 8
    confidence: Share = 0.95
    minimum_gain: Annotated[float, Field(ge=0, allow_inf_nan=False, description="a number from 0")] = 0.0
    challenger_margin: Annotated[float, Field(ge=0, allow_inf_nan=False, description="a number from 0")] = 0.0
    size_limit_mb: Annotated[float, Field(gt=0, description="a number above 0")] | None = None
    latency_limit_ms: Annotated[float, Field(gt=0, description="a number above 0")] | None = None


Model = TypeVar("Model", bound=Section)


def read_section(model: type[Model], table: object, prefix: str) -> tuple[Model | None, list[Problem]]:
    """Return the section that a table holds, or None and all that is wrong with it, keys under the prefix."""
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
    """Tell one of pydantic's errors in this project's words."""
    name, given = str(details["loc"][0]), details["input"]
    key = f"{prefix}.{name}".lstrip(".")
    if details["type"] == "extra_forbidden":
        return Problem(key, f"unknown key{suggestion(name, model.model_fields)} ({listing(model.model_fields)})")
    if details["type"] == "said":
        return Problem(key, str(details["msg"]))
    words, options = _allowed(model.model_fields[name])
    if details["type"] == "missing":
        return Problem(key, f"missing (needed: {words})")
    if options and isinstance(given, str):
        return Problem(key, unknown_name(given, options))
    return Problem(key, f"{shown(given)} is not {words}")


def _allowed(field: FieldInfo) -> tuple[str, tuple[str, ...]]:
    """What a field takes: words, and the texts if it is one of some. An optional field says it one level down."""
    parts = [field.annotation, *get_args(field.annotation)]
    options = [option for part in parts if get_origin(part) is Literal for option in get_args(part)]
    inner = [detail.description for part in parts for detail in get_args(part) if isinstance(detail, FieldInfo)]
    words = field.description or next((said for said in inner if said), None)
    return words or f"one of {', '.join(options)}", tuple(options)
