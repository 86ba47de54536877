"""The sections of a study file that hold settings, not parameters: heading, limits, confirmation, promotion."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from nightune.tuning.study.section import Section, Seed, Share, Text
from nightune.vocabulary import shown


def read_name(name: str) -> str:
    """Refuse a name that is not a plain file name."""
    if re.fullmatch(r"[A-Za-z0-9_-]{1,100}", name):
        return name
    why = f"{shown(name)} is not a name (allowed: up to 100 letters, digits, - and _)"
    raise PydanticCustomError("message", "{message}", {"message": why})


class Heading(Section):
    """The keys above all sections. The name is used for the MLflow experiment and for files."""

    name: Annotated[Text, AfterValidator(read_name)]
    question: Text
    seed: Seed = 0


# The costs of a model that [limits] may name, in words.
OF_MODEL = {"parameters": "{:,.0f} parameters", "size_mb": "{:.4g} MB of weights", "latency_ms": "{:.4g} ms per row"}


class Limits(Section):
    """Limits of one trial. A trial over its time or memory fails; the sweep continues.

    Others are of its model: one over them is ranked last, and is not promoted. They belong to the trials' identity. The
    price of the machine limits nothing, and changes no trial; the report writes the cost by it.
    """

    seconds: Annotated[float, Field(gt=0, description="a number of seconds above 0")] | None = None
    memory_gib: Annotated[float, Field(gt=0, description="a number of GiB above 0")] | None = None
    parameters: Annotated[int, Field(gt=0, description="a whole number above 0")] | None = None
    size_mb: Annotated[float, Field(gt=0, allow_inf_nan=False, description="a number of MB above 0")] | None = None
    latency_ms: Annotated[float, Field(gt=0, allow_inf_nan=False, description="a number of ms above 0")] | None = None
    price_per_hour: Annotated[float, Field(ge=0, allow_inf_nan=False, description="a number from 0")] | None = None

    @property
    def of_model(self) -> dict[str, float]:
        """The limits of a trial's model that are set, by name."""
        return {name: limit for name in OF_MODEL if (limit := getattr(self, name)) is not None}

    def exceeded(self, costs: Mapping[str, float]) -> str:
        """Name the measured costs of a model, by the names of their limits, that are above them; empty if none is."""
        over = [
            f"{OF_MODEL[name].format(costs[name])} (limits.{name} is {limit:g})"
            for name, limit in self.of_model.items()
            if costs.get(name, 0.0) > limit
        ]
        return f"over its limit: {', '.join(over)}" if over else ""


MANY_TRIALS = 60  # trained in a search, from which on the best of them owe more to luck
OF_FEW, OF_MANY = (3, 2), (5, 3)  # finalists and seeds of a search of fewer trials, and of one of so many


def counts_after(trials: int) -> tuple[int, int]:
    """Return how many finalists with how many seeds confirm a search that trained so many trials."""
    return OF_MANY if trials >= MANY_TRIALS else OF_FEW


@dataclass(frozen=True)
class Confirming:
    """How a sweep is confirmed: the number of finalists, of fresh seeds for each, and what decides among equals."""

    finalists: int
    replicates: int
    cost: str
    confidence: float

    @property
    def trainings(self) -> int:
        """The number of replicates of all finalists."""
        return self.finalists * self.replicates


class ConfirmationSection(Section):
    """The number of finalists that are trained again, and of fresh seeds for each; 0 finalists: no confirmation.

    What is not set follows from the number of trials that the search trained.
    """

    finalists: Annotated[int, Field(ge=0, le=100, description="a whole number from 0 to 100")] | None = None
    replicates: Annotated[int, Field(ge=2, le=100, description="a whole number from 2 to 100")] | None = None
    cost: Literal["parameters", "seconds"] = "parameters"
    confidence: Share = 0.95

    def after(self, trials: int, recorded: tuple[int, int] | None = None) -> Confirming:
        """Return how a search of so many trained trials is confirmed; keys that are set go before what is recorded."""
        finalists, replicates = recorded or counts_after(trials)
        return Confirming(
            finalists if self.finalists is None else self.finalists,
            replicates if self.replicates is None else self.replicates,
            self.cost,
            self.confidence,
        )


class PromotionSection(Section):
    """Conditions for a confirmed winner to become champion. Gains are in units of the objective's loss."""

    replicates: Annotated[int, Field(ge=1, le=100, description="a whole number from 1 to 100")] = 8
    confidence: Share = 0.95
    minimum_gain: Annotated[float, Field(ge=0, allow_inf_nan=False, description="a number from 0")] = 0.0
    challenger_margin: Annotated[float, Field(ge=0, allow_inf_nan=False, description="a number from 0")] = 0.0
    size_limit_mb: Annotated[float, Field(gt=0, description="a number above 0")] | None = None
    latency_limit_ms: Annotated[float, Field(gt=0, description="a number above 0")] | None = None
