"""Words that `tuning` and `models` share: metrics, directions, tasks, statuses, kinds of splits and of keys.

Options of a technique are not here: they belong to `models`, and `tuning` receives them with the study's vocabulary.
"""

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, Literal, TypeVar, get_args

Direction = Literal["minimize", "maximize"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)

Task = Literal["classification", "binary", "multiclass", "multilabel", "positions", "regression"]
TASKS: tuple[Task, ...] = get_args(Task)
# The data decides which classification it is.
TRAINED_TASKS: tuple[Task, ...] = ("binary", "multiclass", "multilabel", "positions", "regression")
POSITIONS = "positions"  # the task of a class at each position: pixels of an image, words of a sentence
HEAD_NAME = r"[\w .-]{1,100}"  # of one of several heads: a part of names of metrics in MLflow
HEADS = "heads"  # the task of several targets, each with a task, a head and a loss of its own

SplitKind = Literal["random", "stratified", "group", "time", "fixed"]
SPLIT_KINDS: tuple[SplitKind, ...] = get_args(SplitKind)
NUMBER_FORMS = ("1,250.00", "1.250,00")  # thousands and decimals of numbers written as texts
DATE_FORMS = ("DD/MM/YYYY", "MM/DD/YYYY", "YYYY/MM/DD", "YYYYMMDD")  # the order of day, month and year
COLUMN_SPLIT_KINDS: tuple[SplitKind, ...] = ("group", "time", "fixed")  # these read a column
SPAN_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}
SPAN = rf"([0-9]*\.?[0-9]+) ({'|'.join(SPAN_SECONDS)})s?"  # of time, as people write it

KeyKind = Literal[
    "float",
    "integer",
    "boolean",
    "option",
    "numbers",
    "names",
    "class_weight",
    "head_weights",
    "changes",
    "text",
    "any",
]
GIVEN = ("given",)  # of a condition: another key has any value but its default

MODEL_PREFIX = "model."  # of an architecture's own parameters
ARCHITECTURE = "model.architecture"
DEFAULT_ARCHITECTURE = "mlp"

CHANGES = "training.changes"
DROPOUT = f"{MODEL_PREFIX}dropout"  # of any architecture that has such a parameter
# Params that may change within a training, since they are data of its program; each with the value at which its graph
# is another one, which the training must then have throughout or never. None: it has no such value.
CHANGEABLE: dict[str, float | None] = {
    "learning_rate.peak": None,
    "weight_decay.strength": None,
    "penalty.strength": None,
    "penalty.label_smoothing": 0.0,
    "gradient_clip.limit": None,
    "one_minus_momentum": 1.0,
    "one_minus_beta_1": None,
    "one_minus_beta_2": None,
    "one_minus_rho": None,
    DROPOUT: 0.0,
}

VALIDATION_PREFIX = "val_"
DEFAULT_THRESHOLD = 0.5  # of the probability of the second of two classes
ThresholdRule = Literal["f1", "balanced_accuracy"]
THRESHOLD_RULES: tuple[ThresholdRule, ...] = get_args(ThresholdRule)
DECIDED_METRICS = ("accuracy", "balanced_accuracy", "f1_macro", "mcc")  # of two classes: they depend on the threshold
POSITIONS_SAID = "as a class at each position"  # in what is said of a head of them
WEIGHTED_SAID = "metrics average by them"  # in what is said of data whose weights no key names
LOSS_SAID, DEFAULT_LOSS = " · loss ", "default of the task"  # in what is said of a head
_METRICS: dict[str, tuple[Direction, tuple[Task, ...]]] = {
    "loss": ("minimize", TRAINED_TASKS),
    "accuracy": ("maximize", ("binary", "multiclass", "multilabel", "positions")),
    "label_accuracy": ("maximize", ("multilabel",)),
    "balanced_accuracy": ("maximize", ("binary", "multiclass", "positions")),
    "f1_macro": ("maximize", ("binary", "multiclass", "multilabel", "positions")),
    "f1_micro": ("maximize", ("multilabel",)),
    "auc": ("maximize", ("binary", "multilabel")),
    "mae": ("minimize", ("regression",)),
    "rmse": ("minimize", ("regression",)),
    "r2": ("maximize", ("regression",)),
}
# Metric → the quantile whose loss it is: of whole percents, and of some tails.
QUANTILE_METRICS = {
    f"pinball_{level:g}": level for level in sorted({*(n / 100 for n in range(1, 100)), 0.005, 0.025, 0.975, 0.995})
}
TOP_METRICS = {f"top_{count}": count for count in range(2, 11)}  # metric → among how many the class may be
# Computed only where a study names them, as objective or in `report`: they cost time in each epoch.
_NAMED_METRICS: dict[str, tuple[Direction, tuple[Task, ...]]] = {
    "auc": ("maximize", ("multiclass",)),
    "pr_auc": ("maximize", ("binary", "multiclass", "multilabel")),
    "mcc": ("maximize", ("binary", "multiclass")),
    **dict.fromkeys(TOP_METRICS, ("maximize", ("multiclass",))),
    "brier": ("minimize", ("binary", "multiclass", "multilabel")),
    "log_loss": ("minimize", ("binary", "multiclass", "multilabel", "positions")),
    "mean_iou": ("maximize", ("positions",)),
    "mape": ("minimize", ("regression",)),
    "spearman": ("maximize", ("regression",)),
    "mae_original": ("minimize", ("regression",)),
    "rmse_original": ("minimize", ("regression",)),
    **dict.fromkeys(QUANTILE_METRICS, ("minimize", ("regression",))),
}
# Metrics of the validation split that can rank trials, with the direction of improvement.
OBJECTIVES: dict[str, Direction] = {
    f"{VALIDATION_PREFIX}{name}": direction for name, (direction, _) in [*_METRICS.items(), *_NAMED_METRICS.items()]
}
# Those of every trial, and those of studies that name them.
TASK_METRICS: dict[str, tuple[str, ...]] = {
    task: tuple(name for name, (_, tasks) in _METRICS.items() if task in tasks) for task in TRAINED_TASKS
}
NAMED_METRICS: dict[str, tuple[str, ...]] = {
    task: tuple(name for name, (_, tasks) in _NAMED_METRICS.items() if task in tasks) for task in TRAINED_TASKS
}
# Written in percent.
SHARES = (
    *("accuracy", "label_accuracy", "balanced_accuracy", *TOP_METRICS),
    *("f1_macro", "f1_micro", "auc", "pr_auc", "mean_iou"),
)
# The ends of a metric's values, where it has some.
METRIC_LIMITS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(SHARES, (0.0, 1.0)),
    **dict.fromkeys(("mae", "rmse", "mape", "brier", "log_loss"), (0.0, math.inf)),
    **dict.fromkeys(("mae_original", "rmse_original", *QUANTILE_METRICS), (0.0, math.inf)),
    **dict.fromkeys(("mcc", "spearman"), (-1.0, 1.0)),
    "r2": (-math.inf, 1.0),
}
NO_LIMITS = (-math.inf, math.inf)

Row = TypeVar("Row")

SHOWN_NAMES = 30
SHOWN_CHARACTERS = 80


class Status(StrEnum):
    """How a trial ended. All but FAILED have curves; only finite objectives are ranked.

    OVER_LIMIT is a trial whose model is larger or slower than the study allows: without curves if it was not trained.
    """

    COMPLETED = "completed"  # trained for its whole budget
    STOPPED_EARLY = "stopped_early"  # ended by the stopping rule; the best epoch's weights are kept
    NOT_PROMOTED = "not_promoted"  # dropped at a rung; its curves are a prefix of the full training
    DIVERGED = "diverged"  # NaN or infinity; the best finite epoch's weights are kept
    OVER_LIMIT = "over_limit"  # its model exceeds [limits]: not trained, or trained and ranked last
    FAILED = "failed"  # raised an error: an impossible combination of params, or the user's own code


def plain_metric(metric: str) -> str:
    """Return `val_METRIC` for the metric of one of several heads, `val_HEAD_METRIC`; any other text as it is.

    A reference to a function, such as `val_shop.py:my_accuracy`, is no metric of a head, whatever it ends in.
    """
    if metric in OBJECTIVES or not metric.startswith(VALIDATION_PREFIX):
        return metric
    named = metric.removeprefix(VALIDATION_PREFIX)
    ends = [known for known in OBJECTIVES if named.endswith(f"_{known.removeprefix(VALIDATION_PREFIX)}")]
    longest = max(ends, key=len, default=metric)
    head = named.removesuffix(f"_{longest.removeprefix(VALIDATION_PREFIX)}")
    return longest if re.fullmatch(HEAD_NAME, head) else metric


def listed_metrics(metrics: Iterable[str]) -> list[str]:
    """Return metrics as messages list them: one quantile stands for all, `top_3` and `top_5` for the other counts."""
    shown_ones = ("pinball_0.9", "top_3", "top_5")
    return [name for name in metrics if not re.search(r"(pinball|top)_[0-9.]+$", name) or name.endswith(shown_ones)]


def flat_table(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a table by dotted name: `learning_rate.peak = 0.1` is a nested table in TOML.

    An empty table is a value.
    """
    return dict(_flat_items(table))


def name_given_twice(table: Mapping[str, Any]) -> str | None:
    """Return a dotted name that a table has twice, as `learning_rate.peak` and in quotation marks; None without one."""
    names = [name for name, _ in _flat_items(table)]
    return next((name for place, name in enumerate(names) if name in names[:place]), None)


def _flat_items(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, Mapping) and value:
            yield from ((f"{name}.{each}", held) for each, held in _flat_items(value))
        else:
            yield name, value


def counted(number: int, noun: str) -> str:
    """Return `1 trial` or `3 trials`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def after_epochs(epochs: int | None) -> str:
    """Return ` after 1 epoch` or ` after 3 epochs`; empty without a number, where trials are compared as they ended."""
    return f" after {counted(epochs, 'epoch')}" if epochs else ""


def metric_limits(metric: str) -> tuple[float, float]:
    """Return the ends of the values of a metric such as `val_accuracy`; infinite for none, as of a user's metric."""
    return METRIC_LIMITS.get(metric.removeprefix(VALIDATION_PREFIX), NO_LIMITS)


def sign_of(direction: str) -> float:
    """Return the factor that turns an objective into a score to minimize; ValueError for an unknown direction."""
    if direction not in DIRECTIONS:
        raise ValueError(f"direction: {unknown_name(direction, DIRECTIONS)}")
    return 1.0 if direction == "minimize" else -1.0


def refuse_unknown_task(task: str) -> None:
    """Raise ValueError unless a model can be trained for the task."""
    if task not in TRAINED_TASKS:
        raise ValueError(f"task: {unknown_name(task, TRAINED_TASKS)}")


def row_of(rows: Mapping[str, Row], name: str, table: str) -> Row:
    """Return the row of a technique; LookupError names the table, with its file, that lacks it."""
    if name not in rows:
        raise LookupError(f"{name!r} has no row: add one to {table}")
    return rows[name]


def unknown_name(given: object, known: Iterable[object], kind: str = "") -> str:
    """Say that a name is unknown, with the nearest spelling and the known names."""
    names = list(known)
    return f"unknown {kind + ' ' if kind else ''}{shown(given)}{suggestion(given, names)} ({listing(names)})"


def suggestion(given: object, known: Iterable[object]) -> str:
    """Return "; did you mean 'x'?" with the nearest known name, or an empty text if none is near."""
    nearest = nearest_name(given, known)
    return "" if nearest is None else f"; did you mean {nearest!r}?"


def nearest_name(given: object, known: Iterable[object]) -> str | None:
    """Return the known name that was probably meant; None if none is near.

    The start and the end of a name count as near: `min` is near `minimize`, `patience` near `stopping.patience`. Of
    several near names, one of the same length and the same first letters is preferred: `adamv` suggests `adamw`.
    """
    names = [str(name) for name in known]
    text = str(given)[:SHOWN_CHARACTERS]
    exact = [name for name in names if name.strip().casefold() == text.strip().casefold()]
    tails = [name for name in names if name.endswith((f".{text}", f"_{text}"))]
    starts = [name for name in names if len(text) >= 3 and name.startswith(text)]
    close = difflib.get_close_matches(text, names, n=3)
    ratios = {name: difflib.SequenceMatcher(None, text, name).ratio() for name in close}
    close = [name for name in close if ratios[name] > max(ratios.values()) - 0.1]
    close.sort(key=lambda name: (len(name) != len(text), not name.startswith(text[:2])))
    return next(iter([*exact, *tails[:1], *starts[:1], *close]), None)


def listing(known: Iterable[object], word: str = "known") -> str:
    """Return "known: a, b, c", truncated after 30 names."""
    names = [str(name) for name in known]
    more = f", and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return f"{word}: {', '.join(names[:SHOWN_NAMES]) or 'none'}{more}"


def shown(value: object) -> str:
    """Format a value for a message: texts in quotes, booleans as in TOML, long values truncated."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > 64:
        return "a number of more than 64 bits"
    text = repr(value) if isinstance(value, str | int | float | list | dict) else str(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"
