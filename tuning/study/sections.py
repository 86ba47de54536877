"""The sections of a study file beside [data] that contain settings, not parameters: objective, limits, promotion."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from nightune.tuning.study.section import Clash, Section, Seed, Share, Text, Texts
from nightune.vocabulary import (
    DEFAULT_THRESHOLD,
    DIRECTIONS,
    OBJECTIVES,
    QUANTILE_METRICS,
    THRESHOLD_RULES,
    VALIDATION_PREFIX,
    Direction,
    ThresholdRule,
    listed_metrics,
    listing,
    plain_metric,
    shown,
    suggestion,
)

_FINER = [f"{level:g}" for level in QUANTILE_METRICS.values() if round(level, 2) != level]
_QUANTILES = f"0.01 to 0.99, and {', '.join(_FINER)}"
OWN_METRIC = re.compile(r".+\.py:(?P<function>[^\W\d]\w*)")


def read_objective(metric: str) -> str:
    """Refuse what is neither a known metric nor a reference to a function of the user."""
    if not (metric.endswith(".py") or ".py:" in metric) or OWN_METRIC.fullmatch(metric):
        return metric if OWN_METRIC.fullmatch(metric) else read_metric(metric)
    message = f"{shown(metric)} is not a reference to a function (allowed: path/to/file.py:function)"
    raise PydanticCustomError("message", "{message}", {"message": message})


def read_metric(metric: str) -> str:
    """Refuse an unknown metric, with the nearest known one."""
    if plain_metric(metric) in OBJECTIVES:
        return metric
    if metric.startswith(VALIDATION_PREFIX):
        why, near = f"unknown {shown(metric)}", ""
    else:
        why = f"{shown(metric)} is not a metric of the validation split"
        near = suggestion(f"{VALIDATION_PREFIX}{metric}", OBJECTIVES)
    near = near or suggestion(metric, OBJECTIVES)
    if "pinball" in metric:
        of_quantile = f"{VALIDATION_PREFIX}pinball_0.9"
        near = f"; a pinball loss names its quantile, such as {of_quantile} ({_QUANTILES})"
    known = listing(listed_metrics(OBJECTIVES))
    raise PydanticCustomError("message", "{message}", {"message": f"{why}{near} ({known})"})


def read_metrics(metrics: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse unknown metrics; leave out repeated ones."""
    return tuple(dict.fromkeys(read_metric(metric) for metric in metrics))


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


class Objective(Section):
    """The metric that ranks trials. The metric determines the direction; a study may state it as well.

    A function of the user, `path/to/file.py:function`, needs a direction. Its values are named `val_` and its name. Of
    several heads it measures the `head`, whose name is then in front of its own.

    Where rows have weights, metrics and the gate average by them, or weigh all rows alike. `report` names metrics that
    are logged next to those of every trial. Of two classes the second is predicted above the probability `threshold`,
    or one chosen on the validation split, by the version and in the gate; of several heads by name. Both change no
    trial.
    """

    metric: Annotated[Text, AfterValidator(read_objective)] = "val_loss"
    direction: Direction = "minimize"
    head: Text | None = None
    average: Literal["weights", "rows"] = "weights"
    report: Annotated[Texts, AfterValidator(read_metrics)] = ()
    threshold: ThresholdRule | float | dict[str, ThresholdRule | float] = DEFAULT_THRESHOLD

    @field_validator("threshold", mode="before")
    @classmethod
    def _read_threshold(cls, given: Any) -> Any:
        wrong = [each for each in (given.values() if isinstance(given, dict) else [given]) if not _is_threshold(each)]
        if not wrong and given != {}:
            return given
        allowed = f"a number between 0 and 1, or one of {', '.join(map(shown, THRESHOLD_RULES))}"
        by_head = "; of several heads a table of these by name"
        problem = f"{shown(wrong[0] if wrong else given)} is not {allowed}{by_head}"
        raise PydanticCustomError("message", "{message}", {"message": problem})

    def threshold_of(self, head: str = "") -> ThresholdRule | float:
        """Return the threshold of the only target, or of one of several heads."""
        return self.threshold.get(head, DEFAULT_THRESHOLD) if isinstance(self.threshold, dict) else self.threshold

    @property
    def is_own(self) -> bool:
        """True if the metric is a function of the user."""
        return OWN_METRIC.fullmatch(self.metric) is not None

    @property
    def name(self) -> str:
        """The name of the metric's curve."""
        own = OWN_METRIC.fullmatch(self.metric)
        of_head = f"{self.head}_" if self.head else ""
        return f"{VALIDATION_PREFIX}{of_head}{own['function']}" if own else self.metric

    @property
    def _metric_of_head(self) -> str:
        return shown(f"{VALIDATION_PREFIX}{self.head}_{plain_metric(self.metric).removeprefix(VALIDATION_PREFIX)}")

    @model_validator(mode="before")
    @classmethod
    def _infer_direction(cls, given: Any) -> Any:
        metric = given.get("metric", "val_loss") if isinstance(given, Mapping) else None
        if isinstance(metric, str) and plain_metric(metric) in OBJECTIVES:
            return {"direction": OBJECTIVES[plain_metric(metric)], **given}
        return given

    def clashes(self) -> Iterator[Clash]:
        """The direction must be that of the metric."""
        if self.is_own:
            if self.name in OBJECTIVES:
                message = f"a function of this name would be logged as {self.name}, which is another metric; rename it"
                yield Clash(("metric",), "metric", message)
            if "direction" not in self.model_fields_set:
                message = f"missing (needed for a function of yours: {' or '.join(DIRECTIONS)})"
                yield Clash(("metric", "direction"), "direction", message)
            return
        if self.head is not None:
            message = f"{shown(self.head)} is read only for a function of yours; write metric = {self._metric_of_head}"
            yield Clash(("metric", "head"), "head", message)
        direction = OBJECTIVES[plain_metric(self.metric)]
        if "direction" in self.model_fields_set and self.direction != direction:
            message = f"{self.direction!r}, but {self.metric} is {direction}d; remove it"
            yield Clash(("metric", "direction"), "direction", message)


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


def _is_threshold(given: object) -> bool:
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    return 0 < given < 1 if is_number else given in THRESHOLD_RULES  # type: ignore[operator] # a number
