"""The section [objective] of a study file: the metric that ranks trials, and those that stand beside it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from nightune.tuning.study.section import Clash, Section, Text, Texts
from nightune.tuning.study.sections import OF_MODEL
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


def read_objectives(metrics: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse what is neither a metric nor a cost of a model; the first ranks trials, and is no cost."""
    found = tuple(each if each in OF_MODEL else read_objective(each) for each in metrics)
    why = ""
    if len(set(found)) < len(found):
        why = "names one twice"
    elif len(found) == 1:
        why = f"has one; write metric = {shown(found[0])}"
    elif found and found[0] in OF_MODEL:
        why = f"begins with {found[0]}, but the first ranks trials and is judged by the gate; begin with a metric"
    if why:
        message = f"{shown(list(metrics))} {why}"
        raise PydanticCustomError("message", "{message}", {"message": message})
    return found


class Objective(Section):
    """The metric that ranks trials. The metric determines the direction; a study may state it as well.

    A function of the user, `path/to/file.py:function`, needs a direction. Its values are named `val_` and its name. Of
    several heads it measures the `head`, whose name is then in front of its own.

    Where rows have weights, metrics and the gate average by them, or weigh all rows alike. `report` names metrics that
    are logged next to those of every trial. `metrics` are several objectives: the first is `metric`, and the others,
    metrics or costs of a model, stand beside it on the leaderboard's front. Of two classes the second is predicted
    above the probability `threshold`, or one chosen on the validation split, by the version and in the gate; of several
    heads by name. Report and threshold change no trial.
    """

    metric: Annotated[Text, AfterValidator(read_objective)] = "val_loss"
    direction: Direction = "minimize"
    metrics: Annotated[Texts, AfterValidator(read_objectives)] = ()
    directions: Annotated[tuple[Direction, ...], Field(strict=False, description="a list of directions")] = ()
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
    def other_threshold(self) -> ThresholdRule | float | dict[str, ThresholdRule | float]:
        """The threshold, of several heads without those that keep the default; the default if all do."""
        if not isinstance(self.threshold, dict):
            return self.threshold
        return {name: each for name, each in self.threshold.items() if each != DEFAULT_THRESHOLD} or DEFAULT_THRESHOLD

    @property
    def is_own(self) -> bool:
        """True if the metric is a function of the user."""
        return OWN_METRIC.fullmatch(self._first) is not None

    @property
    def name(self) -> str:
        """The name of the metric's curve."""
        return self._name_of(self._first)

    @property
    def _first(self) -> str:
        """The metric that ranks trials; of a section that is not checked yet, too."""
        return self.metrics[0] if self.metrics and "metric" not in self.model_fields_set else self.metric

    @property
    def field(self) -> str:
        """The name of the key that names the metrics: `metrics` where there are several."""
        return "metrics" if self.metrics else "metric"

    @property
    def key(self) -> str:
        """The key that names the metrics, for messages."""
        return f"objective.{self.field}"

    @property
    def named(self) -> tuple[str, ...]:
        """The metrics as the study names them: one, or several objectives."""
        return self.metrics or (self.metric,)

    @property
    def further(self) -> tuple["Further", ...]:
        """The objectives after the first."""
        given = self.directions or (None,) * len(self.metrics)
        return tuple(
            Further(each, self._name_of(each), _direction_of(each) or stated or "minimize")
            for each, stated in list(zip(self.metrics, given, strict=False))[1:]
        )

    @property
    def costs(self) -> tuple[str, ...]:
        """The costs of a model that are objectives, by the names of their limits."""
        return tuple(each for each in self.metrics if each in OF_MODEL)

    @property
    def further_curves(self) -> tuple[str, ...]:
        """The metrics among the objectives after the first that are measured after each epoch."""
        return tuple(each.metric for each in self.further if not each.is_cost and not each.is_own)

    def _stated_direction(self, place: int) -> Direction | None:
        """Return the direction that the study states for one of several objectives; None if it states none."""
        if self.directions:
            return self.directions[place]
        return self.direction if place == 0 and "direction" in self.model_fields_set else None

    def _name_of(self, metric: str) -> str:
        own = OWN_METRIC.fullmatch(metric)
        of_head = f"{self.head}_" if self.head else ""
        return f"{VALIDATION_PREFIX}{of_head}{own['function']}" if own else metric

    @property
    def _metric_of_head(self) -> str:
        return shown(f"{VALIDATION_PREFIX}{self.head}_{plain_metric(self._first).removeprefix(VALIDATION_PREFIX)}")

    @model_validator(mode="before")
    @classmethod
    def _infer_direction(cls, given: Any) -> Any:
        if isinstance(given, Mapping):
            given = {**_first_of(given, "metric"), **_first_of(given, "direction"), **given}
        metric = given.get("metric", "val_loss") if isinstance(given, Mapping) else None
        if isinstance(metric, str) and plain_metric(metric) in OBJECTIVES:
            return {"direction": OBJECTIVES[plain_metric(metric)], **given}
        return given

    def clashes(self) -> Iterator[Clash]:
        """The direction must be that of the metric, and several objectives must go together."""
        yield from self._clashes_of_several()
        if self.is_own:
            if _is_taken(self._first):
                message = f"a function of this name would be logged as {self.name}, which is another metric; rename it"
                yield Clash((self.field,), self.field, message)
            if "direction" not in self.model_fields_set and not self.metrics:
                message = f"missing (needed for a function of yours: {' or '.join(DIRECTIONS)})"
                yield Clash(("metric", "direction"), "direction", message)
            return
        if self.head is not None and not any(each.is_own for each in self.further):
            written = "begin metrics with" if self.metrics else "write metric ="
            message = f"{shown(self.head)} is read only for a function of yours; {written} {self._metric_of_head}"
            yield Clash(("metric", "head"), "head", message)
        direction = OBJECTIVES[plain_metric(self._first)]
        if "direction" in self.model_fields_set and self.direction != direction:
            message = f"{self.direction!r}, but {self._first} is {direction}d; remove it"
            yield Clash(("metric", "direction"), "direction", message)

    def _clashes_of_several(self) -> Iterator[Clash]:
        names = [self.name, *(each.name for each in self.further)]
        if self.metrics and self._first != self.metrics[0]:
            message = f"{shown(self.metric)}, but metrics begins with {shown(self.metrics[0])}; remove it"
            yield Clash(("metric", "metrics"), "metric", message)
        if self.directions and "direction" in self.model_fields_set and self.direction != self.directions[0]:
            message = f"{self.direction!r}, but directions begins with {self.directions[0]!r}; remove it"
            yield Clash(("direction", "directions"), "direction", message)
        if len(set(names)) < len(names):
            message = f"{shown(list(self.metrics))} has two of one name; rename a function"
            yield Clash(("metrics",), "metrics", message)
        if self.directions and len(self.directions) != len(self.metrics):
            message = f"{len(self.directions)} for {len(self.metrics)} metrics; give one for each"
            yield Clash(("metrics", "directions"), "directions", message)
            return
        for place, metric in enumerate(self.metrics):
            known, stated = _direction_of(metric), self._stated_direction(place)
            if known is None and stated is None:
                message = f"missing (needed for {metric}, a function of yours: one for each metric)"
                yield Clash(("metrics", "directions"), "directions", message)
            elif self.directions and known is not None and stated not in (None, known):
                message = f"{stated!r} for {metric}, which is {known}d; remove directions, or correct it"
                yield Clash(("metrics", "directions"), "directions", message)
            elif known is None and place and _is_taken(metric):
                message = f"a function of this name would be logged as {self._name_of(metric)}; rename it"
                yield Clash(("metrics",), "metrics", message)


@dataclass(frozen=True)
class Further:
    """An objective after the first: as the study names it, its name in MLflow, and its direction."""

    metric: str
    name: str
    direction: Direction

    @property
    def is_cost(self) -> bool:
        """True for a cost of the model, which its training does not measure."""
        return self.metric in OF_MODEL

    @property
    def is_own(self) -> bool:
        """True for a function of the user."""
        return OWN_METRIC.fullmatch(self.metric) is not None


def _first_of(given: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the first of a list of metrics or directions as that of the study; nothing if it is none."""
    listed = given.get(f"{name}s")
    first = listed[0] if isinstance(listed, list | tuple) and listed else None
    is_metric = isinstance(first, str) and (plain_metric(first) in OBJECTIVES or OWN_METRIC.fullmatch(first))
    return {name: first} if first in DIRECTIONS or is_metric else {}


def _is_taken(metric: str) -> bool:
    """Return whether a function of the user has the name of a metric: of a head, too, both would have one curve."""
    own = OWN_METRIC.fullmatch(metric)
    return own is not None and f"{VALIDATION_PREFIX}{own['function']}" in OBJECTIVES


def _direction_of(metric: str) -> Direction | None:
    """Return the direction of a metric or cost; None for a function of the user."""
    return "minimize" if metric in OF_MODEL else OBJECTIVES.get(plain_metric(metric))


def _is_threshold(given: object) -> bool:
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    return 0 < given < 1 if is_number else given in THRESHOLD_RULES  # type: ignore[operator] # a number
