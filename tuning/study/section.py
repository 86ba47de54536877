"""What all sections of a study file share: types of fields with their words, clashes, and the reading of a table."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal, Self, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from nightune.tuning.errors import Problem
from nightune.vocabulary import listing, shown, suggestion, unknown_name

LIMIT_COUNT = 1_000_000  # trials of a study, epochs of a trial
LIMIT_SEED = 2**32 - 1  # one word of NumPy's seed sequences, so that different seeds never share a stream
COUNT = f"a whole number from 1 to {LIMIT_COUNT}"
SEED = f"a whole number from 0 to {LIMIT_SEED}"
Text = Annotated[str, Field(min_length=1, description="a text")]
Texts = Annotated[tuple[Annotated[str, Field(strict=True)], ...], Field(strict=False, description="a list of texts")]
SHARE = "a number between 0 and 1 (both excluded)"
Share = Annotated[float, Field(gt=0, lt=1, description=SHARE)]
Count = Annotated[int, Field(ge=1, le=LIMIT_COUNT, description=COUNT)]
Seed = Annotated[int, Field(ge=0, le=LIMIT_SEED, description=SEED)]
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
