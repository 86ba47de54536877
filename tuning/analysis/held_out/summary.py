"""The summary that is kept of a finalist's answers to the held-out rows, in bounded space, as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field

FORMAT = 1  # of the file
MOST_CLASSES = 30  # of a confusion matrix; beyond them only the pairs that are confused most
MOST_GROUPS = 12  # classes or labels, the worst first
MOST_PAIRS = 12
WORST_ROWS = 10
NAME_CHARACTERS = 60  # of a class, a label or a value

Bin = tuple[float, float, float, float, float]  # low end, high end, rows, mean prediction, what was observed


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far predictions are from what is observed, in bins, and how far chance alone would lead.

    `error` is the mean over the models of the mean distance, weighted by the rows of each bin. `usual` and `high` are
    the median and the 0.95 quantile of the same number for predictions that are right on average.
    """

    name: str
    error: float
    usual: float
    high: float
    bins: tuple[Bin, ...]

    @property
    def is_off(self) -> bool:
        """True if the error is more than chance makes."""
        return self.error > self.high


@dataclass(frozen=True, slots=True)
class Group:
    """A class or a label: its rows, the share of them that is recognized with its interval, and its precision."""

    name: str
    rows: float
    recall: float
    low: float
    high: float
    precision: float | None  # None: it is never predicted
    is_worse: bool = False  # its loss is higher than that of the others by more than chance


@dataclass(frozen=True, slots=True)
class Confused:
    """A true class, the other one that was predicted, and in how many rows, as a mean over the models."""

    truth: str
    predicted: str
    rows: float


@dataclass(frozen=True, slots=True)
class Slice:
    """Rows with one value of a column, or with values in a range, whose loss is higher by more than chance."""

    column: str
    value: str
    rows: int
    loss: float
    other_loss: float
    chance: float  # of such a difference anywhere among all slices that were examined


@dataclass(frozen=True, slots=True)
class Residuals:
    """Errors of a quantity, prediction minus truth, in the units of the data: quantiles, a histogram and a sample."""

    name: str
    bias: float
    absolute: float  # the mean of the absolute errors
    quantiles: tuple[float, ...]  # at LEVELS
    edges: tuple[float, ...]
    counts: tuple[float, ...]  # of rows between the edges, as a mean over the models
    sample: tuple[tuple[float, float], ...]  # truth and mean prediction of some rows
    calibration: Calibration | None = None


@dataclass(frozen=True, slots=True)
class WorstRow:
    """A held-out row with a large loss: its number in the source, None if unknown, and what was predicted."""

    row: int | None
    loss: float
    truth: str
    predicted: str
    share: float | None = None  # the mean probability of the truth


@dataclass(frozen=True, slots=True)
class HeadSummary:
    """The answers of a model, or of one of its heads. `why` says why there is no summary; empty if there is one."""

    name: str = ""
    kind: str = ""  # classes, labels or quantities
    why: str = ""
    measure: str = ""
    loss: float = 0.0
    scores: Mapping[str, float] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    matrix: tuple[tuple[float, ...], ...] = ()  # rows by true and predicted class
    groups: tuple[Group, ...] = ()
    confused: tuple[Confused, ...] = ()
    calibration: Calibration | None = None
    residuals: tuple[Residuals, ...] = ()
    slices: tuple[Slice, ...] = ()
    examined: int = 0  # slices
    why_no_slices: str = ""
    worst: tuple[WorstRow, ...] = ()
    is_weighted: bool = False  # its numbers are by weights of rows, which one of several heads may have of its own


@dataclass(frozen=True, slots=True)
class FinalistAnswers:
    """The summary of a finalist: over which rows, by the models of which runs, and what a model costs.

    `has_row_numbers`: the rows of `worst` have their numbers in the source.
    """

    split: str
    rows: int
    models: tuple[str, ...]
    heads: tuple[HeadSummary, ...] = ()
    why: str = ""  # why nothing is known; empty if something is
    size_mb: float | None = None
    latency_ms: float | None = None
    is_weighted: bool = False
    has_row_numbers: bool = False
    format: int = FORMAT
