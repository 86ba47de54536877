"""How a study's objective is named, written and drawn in the report."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from nightune.tuning.analysis.metric_values import AS_TRAINED, IN_UNITS_OF_TARGET, SCALED, UNITS
from nightune.vocabulary import (
    NO_LIMITS,
    OBJECTIVES,
    QUANTILE_METRICS,
    SHARES,
    TOP_METRICS,
    VALIDATION_PREFIX,
    metric_limits,
    sign_of,
)

SPACE = "\u00a0"  # keeps a number and its unit on one line
THOUSANDS = "\u202f"  # the narrow space between groups of three digits
MINUS = "\u2212"
TICKS = (90, 80, 50, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)  # percent that is missing
FEW_TICKS = (90, 50, 10, 5, 2, 1, 0.1, 0.01)
NAMES = {
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "r2": "R²",
    "auc": "area under the curve",
    "f1_macro": "macro F1",
    "f1_micro": "micro F1",
    "pr_auc": "average precision",
    "mcc": "Matthews correlation",
    "mean_iou": "mean intersection over union",
    **{name: f"top-{count} accuracy" for name, count in TOP_METRICS.items()},
    "brier": "Brier score",
    "mape": "mean absolute percentage error",
    "spearman": "rank correlation",
    "mae_original": "mean absolute error",
    "rmse_original": "root mean squared error",
    **{name: f"pinball loss of the {level:g} quantile" for name, level in QUANTILE_METRICS.items()},
}
RATIOS = ("mape",)  # in percent, too
NEAR_ONE = 0.9  # a best share from here on is drawn by the logarithm of what is missing
WIDE = 4.0  # ratio of the 0.9 quantile to the minimum from which on positive values are drawn by their logarithm
LARGEST_WRITTEN_OUT = 1e12  # numbers from here on have an exponent
LONG_LABEL = 1e4  # labels of axes from here on are written as 20k or 1.5M
FAR_OUT = 3.0  # interquartile ranges beyond which a value is drawn at the end of a linear axis

Spec = dict[str, Any]
Ends = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Measure:
    """Words and scale of one metric. Shares are written in percent; those near 1 are drawn by what is missing to 1.

    `floor` is the least number that is drawn on a logarithmic axis: the percentage of half a row, or a tenth of the
    lowest score. `unit` is that of the search's scores in words, empty for that of the data and for none. Values lie
    within `limits`. `is_own`: the metric is a function of the user.
    """

    name: str
    is_percent: bool
    kind: Literal["missing", "log", "linear"]
    is_maximized: bool
    floor: float = 0.0
    unit: str = ""
    limits: Ends = NO_LIMITS
    is_own: bool = False

    def text(self, score: float, more_digits: int = 0) -> str:
        """Return `98.2 %`, or four significant digits."""
        text = f"{100 * score:.{1 + more_digits}f}{SPACE}%" if self.is_percent else _number(score, 4 + more_digits)
        return text.replace("-", MINUS)

    def points(self, difference: float, is_signed: bool = False) -> str:
        """Return a difference of two scores: `0.4 points`, or three significant digits."""
        sign = "+" if is_signed else ""
        text = f"{100 * difference:{sign}.1f}{SPACE}points" if self.is_percent else _number(difference, 3, sign)
        return text.replace("-", MINUS)

    def within_limits(self, low: float, high: float) -> Ends:
        """Cut an interval at the ends of the values: a symmetric one may pass them."""
        return max(low, self.limits[0]), min(high, self.limits[1])

    def drawn(self, score: float) -> float:
        """Return the number that a chart draws for a score."""
        if self.kind == "missing":
            return max(100.0 * (1.0 - score), self.floor)
        factor = 100.0 if self.is_percent else 1.0
        return factor * (max(score, self.floor) if self.kind == "log" else score)

    def straight(self, score: float, reach: Ends) -> float:
        """Return a number that grows evenly along the drawn axis; scores beyond the reach count as at its end."""
        drawn = self.drawn(min(max(score, reach[0]), reach[1]))
        return drawn if self.kind == "linear" else math.log(drawn)

    def bent(self, number: float) -> float:
        """Return the drawn number of one of `straight`."""
        return number if self.kind == "linear" else math.exp(number)

    def score(self, number: float) -> float:
        """Return the score of one of the numbers of `straight`."""
        drawn = self.bent(number)
        if self.kind == "missing":
            return 1.0 - drawn / 100.0
        return drawn / 100.0 if self.is_percent else drawn

    @property
    def grows(self) -> bool:
        """True if a larger number of `straight` is a better score."""
        return self.is_maximized and self.kind != "missing"

    def scale(self, ends: Ends) -> Spec:
        """Return Vega-Lite's scale between two drawn numbers; it grows upwards and to the right with the score."""
        low, high = sorted(ends)
        domain = [high, low] if self.kind == "missing" else [low, high]
        kind: Spec = {"type": "linear", "zero": False} if self.kind == "linear" else {"type": "log"}
        return {**kind, "domain": domain, "nice": False, "clamp": True}

    def axis(self, ends: Ends, is_small: bool = False, **more: Any) -> Spec:
        """Return Vega-Lite's axis between two drawn numbers."""
        suffix = f" + '{SPACE}%'" if self.is_percent else ""
        if self.kind != "missing":
            label = "format(datum.value, '~s')" if max(map(abs, ends)) >= LONG_LABEL else "datum.label"
            return {"title": None, "labelExpr": f"{label}{suffix}", "tickCount": 3 if is_small else 5, **more}
        values = _ticks(ends)
        if is_small and len(values) > 4:
            values = [tick for tick in values if tick in FEW_TICKS]
        return {"title": None, "labelExpr": f"format(100 - datum.value, '~g'){suffix}", "values": values, **more}

    def ends(self, scores: Sequence[float], room: float = 0.05) -> Ends:
        """Return drawn numbers between which all scores lie, with room on both sides, the worse one first."""
        drawn = np.array([self.drawn(score) for score in scores])
        places = drawn if self.kind == "linear" else np.log(drawn)
        margin = room * float(np.ptp(places)) or 0.05 * max(abs(float(places[0])), 1e-9)
        low, high = float(places.min()) - margin, float(places.max()) + margin
        if self.kind != "linear":
            low, high = math.exp(low), math.exp(high)
        if self.kind == "missing":
            high = min(high, max(100.0, float(drawn.max())))
        worse_is_low = self.is_maximized and self.kind != "missing"
        return (low, high) if worse_is_low else (high, low)

    def reach(self, scores: Sequence[float]) -> Ends:
        """Return the lowest and the highest score that are drawn in place.

        On a linear axis, scores far out at the worse end are drawn at the end of the axis.
        """
        low, high = min(scores), max(scores)
        if self.kind != "linear":
            return low, high
        first, third = np.quantile(scores, [0.25, 0.75])
        far = FAR_OUT * float(third - first)
        return (max(low, float(first) - far), high) if self.is_maximized else (low, min(high, float(third) + far))

    @property
    def full_name(self) -> str:
        """The name with the unit of the search's scores."""
        return f"{self.name} in {self.unit}" if self.unit else self.name

    @property
    def note(self) -> str:
        """What a reader has to know about the axis: its scale unless it is linear, the direction of a user's metric."""
        scale = {
            "missing": f"The axis is logarithmic in what is missing to 100{SPACE}%.",
            "log": "The axis is logarithmic.",
            "linear": "",
        }[self.kind]
        return f"{'Higher' if self.is_maximized else 'Lower'} is better. {scale}".strip() if self.is_own else scale


def measure_of(
    metric: str,
    direction: str,
    scores: Sequence[float],
    rows: int | None,
    is_target_scaled: bool = False,
    head: str = "",
) -> Measure:
    """Return the measure of a metric such as `val_accuracy`, or of a user's metric, which has any finite values.

    `scores` are all finite objectives of the sweep, `rows` the number of rows that they are computed from. Of several
    heads `metric` is that of one alone, and `head` its name.
    """
    short, is_maximized = metric.removeprefix(VALIDATION_PREFIX), sign_of(direction) < 0
    name = NAMES.get(short, short.replace("_", " ").strip() or short) + (f" of {head}" if head else "")
    limits = metric_limits(metric)
    if not all(limits[0] <= score <= limits[1] for score in scores):  # changed by hand
        limits = NO_LIMITS
    if short in SHARES and limits != NO_LIMITS:
        is_near = max(scores, default=0.0) >= NEAR_ONE
        floor = 50.0 / rows if rows else 0.01
        return Measure(name, True, "missing" if is_near else "linear", is_maximized, floor, limits=limits)
    is_wide = bool(scores) and min(scores) > 0 and float(np.quantile(scores, 0.9)) / min(scores) > WIDE
    has_unit = metric in IN_UNITS_OF_TARGET and is_target_scaled
    unit = "" if not has_unit else SCALED if metric in AS_TRAINED else UNITS
    return Measure(
        name,
        is_percent=short in RATIOS,
        kind="log" if is_wide else "linear",
        is_maximized=is_maximized,
        floor=min(scores) / 10 if is_wide else 0.0,
        unit=unit,
        limits=limits,
        is_own=metric not in OBJECTIVES,
    )


def head_of(metric: str, known: str) -> str:
    """Return the head in `val_HEAD_METRIC`, where the known metric is `val_METRIC`; empty for the known one itself."""
    own = metric.removeprefix(VALIDATION_PREFIX).removesuffix(known.removeprefix(VALIDATION_PREFIX))
    return own.rstrip("_") if metric != known else ""


def _number(value: float, digits: int, sign: str = "") -> str:
    """Return significant digits; a larger number as a whole one, in groups of three digits."""
    if 10**digits - 0.5 <= abs(value) < LARGEST_WRITTEN_OUT:
        return f"{value:{sign},.0f}".replace(",", THOUSANDS)
    return f"{value:{sign}.{digits}g}"


def _ticks(ends: Ends) -> list[float]:
    """Return percentages that are missing, two or more, between drawn numbers."""
    low, high = sorted(ends)
    values = [float(tick) for tick in TICKS if low <= tick <= high]
    steps = (factor * 10.0**power for power in range(1, -4, -1) for factor in (2, 1, 0.5))
    while len(values) < 2 and (step := next(steps, None)) is not None:
        first, last = math.ceil(low / step), math.floor(high / step)
        values = [round(number * step, 4) for number in range(first, last + 1) if number > 0]
    return values


def whole(number: float) -> str:
    """Return a number without decimals, in groups of three digits."""
    return f"{number:,.0f}".replace(",", THOUSANDS)


def duration(seconds: float) -> str:
    """Return `4.2 s`, `48 s`, `3 min 20 s` or `2 h 05 min`; a dash for NaN."""
    if math.isnan(seconds):
        return "–"
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f}{SPACE}s" if seconds < 10 else f"{whole}{SPACE}s"
    if whole < 3600:
        return f"{whole // 60}{SPACE}min {whole % 60:02d}{SPACE}s"
    return f"{whole // 3600}{SPACE}h {whole % 3600 // 60:02d}{SPACE}min"
