"""The values of the study's own metric on the sealed rows, beside the gain: of challenger, champion and baseline."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nightune.tuning.analysis.paired_gain import Gain
from nightune.vocabulary import QUANTILE_METRICS, VALIDATION_PREFIX, plain_metric

AS_TRAINED = ("val_mae", "val_rmse")  # of trials in the unit that models are trained in
IN_UNITS_OF_TARGET = (
    *AS_TRAINED,
    *(f"{VALIDATION_PREFIX}{name}" for name in ("mae_original", "rmse_original", *QUANTILE_METRICS)),
)
UNITS = "units of the target"
SCALED = "standard deviations of the target"  # of trials, where models are trained on a scaled one
OF_UNSCALED = "of the unscaled target"  # a loss on sealed rows, where that of trials is of a scaled one
OF_TARGET = "in units of the target"  # on sealed rows, also where models are trained on a scaled one


def is_target_scaled(content: Mapping[str, Any]) -> bool:
    """True if models are trained on standardized quantities; `content` is that of the study."""
    data = content.get("data", {})
    return isinstance(data, Mapping) and data.get("scale_target") is True


def search_unit(metric: str, content: Mapping[str, Any]) -> str:
    """Return the unit of trials' scores in words where models are trained on a scaled target; empty for none."""
    if not is_target_scaled(content) or (known := known_metric(metric, content)) not in IN_UNITS_OF_TARGET:
        return ""
    return SCALED if known in AS_TRAINED else UNITS


def is_of_unscaled(metric: str, content: Mapping[str, Any]) -> bool:
    """True for a loss whose values on sealed rows are of the unscaled target, and those of trials of a scaled one."""
    return is_target_scaled(content) and known_metric(metric, content) == f"{VALIDATION_PREFIX}loss"


def known_metric(metric: str, content: Mapping[str, Any]) -> str:
    """Return the metric `val_METRIC` of one of several heads; that of a function of the user, and any other, as it is.

    `content` is that of a study, empty if it is unknown.
    """
    return metric if metric in _own_metrics(content) else plain_metric(metric)


def _own_metrics(content: Mapping[str, Any]) -> set[str]:
    """Return the names of the curves of the user's functions among all objectives of a study."""
    objective = content.get("objective")
    if not isinstance(objective, Mapping):
        return set()
    further = objective.get("metrics")
    references = [objective.get("metric"), *(further if isinstance(further, list | tuple) else ())]
    of_head = f"{objective['head']}_" if objective.get("head") else ""
    functions = [str(each).rpartition(":")[2] for each in references if ":" in str(each)]
    return {f"{VALIDATION_PREFIX}{of_head}{each}" for each in functions}


@dataclass(frozen=True, slots=True)
class MetricValues:
    """The means over each side's models, in the unit of the metric; quantities in that of the data."""

    metric: str
    direction: str
    challenger: float
    baseline: float
    champion: float | None = None  # None without a comparable champion
    is_own: bool = False  # a function of the user, whatever its name ends in; verdicts before do not say so
    is_unscaled: bool = False  # a loss, where that of trials is of a scaled target

    @property
    def unit(self) -> str:
        """The unit of the values in words; empty for that of no quantity, and for a function of the user."""
        if self.is_unscaled:
            return OF_UNSCALED
        return OF_TARGET if not self.is_own and plain_metric(self.metric) in IN_UNITS_OF_TARGET else ""

    @classmethod
    def of(cls, metric: str, direction: str, gain: Gain | None, baseline: Gain, is_own: bool = False) -> "MetricValues":
        """Convert losses: that of a metric that is maximized is 1 minus its value."""

        def value(loss: float) -> float:
            return loss if direction == "minimize" else 1.0 - loss

        champion = None if gain is None else value(gain.opponent_loss)
        return cls(metric, direction, value(baseline.challenger_loss), value(baseline.opponent_loss), champion, is_own)


def values_text(values: MetricValues | None) -> str:
    """Return `val_auc 0.912 (champion 0.9, baseline 0.5)`."""
    if values is None:
        return "values of the study's metric not recorded"
    champion = "no champion" if values.champion is None else f"champion {values.champion:.4g}"
    return f"{values.metric} {values.challenger:.4g} ({champion}, baseline {values.baseline:.4g})"
