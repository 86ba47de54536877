"""Metrics that are computed only where a study names them: as its objective, or in `report`."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from nightune.models.data.heads import HeadData, metric_of_head
from nightune.models.networks.class_scores import (
    brier_scores,
    is_among_top,
    pinball_losses,
    relative_errors,
)
from nightune.models.networks.metrics import label_losses, log_probabilities
from nightune.models.networks.metrics_by_weight import mean_by_weight
from nightune.models.networks.own_metrics import OwnMetric, answers_of
from nightune.models.networks.weighted_metrics import label_metric_loss, metric_loss
from nightune.models.serving.predictor import in_units
from nightune.models.serving.probabilities import class_scores, label_probabilities
from nightune.vocabulary import NAMED_METRICS, OBJECTIVES, QUANTILE_METRICS, TOP_METRICS, VALIDATION_PREFIX

Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Named:
    """The named metrics of a task, without the prefix `val_`, the data's description for the units of targets, and
    the user's own metric.
    """

    metrics: tuple[str, ...] = ()
    description: Mapping[str, Any] = field(default_factory=dict)
    own: OwnMetric | None = None
    heads: "Mapping[str, Named]" = field(default_factory=dict)  # those of several heads by name

    def of_head(self, name: str) -> "Named":
        """Return the named metrics of one of several heads."""
        return self.heads.get(name, Named())

    @classmethod
    def of(
        cls, objectives: Iterable[str], task: str, description: Mapping[str, Any], own: OwnMetric | None = None
    ) -> "Named":
        """Keep the objectives that are not computed for every trial of the task."""
        heads = HeadData.of(description)
        if heads:
            objectives = tuple(objectives)
            found = [metric_of_head(each, heads) for each in objectives]
            by_head = {head.name: [each[1] for each in found if each and each[0] == head] for head in heads}
            named = {
                head.name: cls.of(
                    by_head[head.name],
                    head.task,
                    head.description(description),
                    own if own is not None and own.head == head.name else None,
                )
                for head in heads
            }
            return cls(heads=named)
        names = (name.removeprefix(VALIDATION_PREFIX) for name in objectives)
        return cls(tuple(dict.fromkeys(name for name in names if name in NAMED_METRICS[task])), description, own)

    def values(
        self,
        task: str,
        outputs: np.ndarray,
        targets: np.ndarray,
        is_logits: bool,
        weights: np.ndarray | None,
        of_level: Callable[[float], np.ndarray] | None = None,
    ) -> dict[str, float]:
        """Return the metrics of outputs (examples, size), as `metrics`; means are by `weights`, (examples,), if given.

        `of_level` gives the outputs of a model of quantiles for one of them; without it, a pinball loss compares the
        outputs themselves. NaN where an output is not finite, or no row has a weight.
        """
        asked = (*self.metrics, *([self.own.name] if self.own else []))
        if not asked:
            return {}
        if not np.isfinite(outputs).all() or (weights is not None and not weights.any()):
            return dict.fromkeys(asked, float("nan"))
        own = {}
        if self.own:
            own[self.own.name] = self.own.value(
                *answers_of(task, outputs, targets, is_logits, self.description), weights
            )
        if not self.metrics:
            return own
        outputs = outputs.astype(np.float64).reshape(len(outputs), -1)
        if task == "regression":
            targets = targets.astype(np.float64).reshape(outputs.shape)
            found = {
                name: self._of_quantities(name, self._points(name, outputs, of_level), targets, weights)
                for name in self.metrics
            }
        elif task == "multilabel":
            labels = targets.astype(np.int64).reshape(outputs.shape)
            found = {name: _of_labels(name, outputs, labels, is_logits, weights) for name in self.metrics}
        else:
            codes = targets.astype(np.int64).reshape(-1)
            found = {name: _of_classes(name, task, outputs, codes, is_logits, weights) for name in self.metrics}
        return found | own

    @staticmethod
    def _points(name: str, outputs: Array, of_level: Callable[[float], np.ndarray] | None) -> Array:
        """Return the outputs that a metric compares with the targets."""
        if of_level is None or name not in QUANTILE_METRICS:
            return outputs
        return of_level(QUANTILE_METRICS[name]).astype(np.float64)

    def _of_quantities(self, name: str, values: Array, targets: Array, weights: np.ndarray | None) -> float:
        if name == "spearman":
            return _evaluated(name, metric_loss(name, values, targets), len(values), weights)
        values, targets = (in_units(each, dict(self.description)) for each in (values, targets))
        if name == "mape":
            return mean_by_weight(relative_errors(values, targets), weights)
        if name in QUANTILE_METRICS:
            return mean_by_weight(pinball_losses(values, targets, QUANTILE_METRICS[name]), weights)
        if name == "mae_original":
            return mean_by_weight(np.abs(values - targets), weights)
        return _evaluated(name, metric_loss(name, values, targets), len(values), weights)


def _of_labels(name: str, outputs: Array, targets: Codes, is_logits: bool, weights: np.ndarray | None) -> float:
    if name == "log_loss":
        return mean_by_weight(label_losses(outputs, targets, is_logits), weights)
    if name == "brier":
        return mean_by_weight(np.square(label_probabilities(outputs, is_logits) - targets), weights)
    return _evaluated(name, label_metric_loss(name, outputs, targets), len(outputs), weights)


def _of_classes(
    name: str, task: str, outputs: Array, targets: Codes, is_logits: bool, weights: np.ndarray | None
) -> float:
    logs = log_probabilities(outputs, is_logits)
    if name == "log_loss":
        return -mean_by_weight(logs[np.arange(len(targets)), targets], weights)
    if name == "brier":
        return mean_by_weight(brier_scores(np.exp(logs), targets, task == "binary"), weights)
    if name in ("mcc", "mean_iou"):
        return _evaluated(name, metric_loss(name, logs.argmax(axis=1), targets), len(targets), weights)
    scores = class_scores(outputs, is_logits)
    if name in TOP_METRICS:
        return mean_by_weight(is_among_top(scores, targets, TOP_METRICS[name]), weights)
    answers = scores[:, 1] if task == "binary" else scores
    return _evaluated(name, metric_loss(name, answers, targets), len(targets), weights)


def _evaluated(name: str, loss: Any, count: int, weights: np.ndarray | None) -> float:
    """Return the metric's value from its loss as a function of weights of rows."""
    rows = np.ones(count) if weights is None else weights.astype(np.float64)
    (value,) = loss(rows[None])
    is_minimized = OBJECTIVES[f"{VALIDATION_PREFIX}{name}"] == "minimize"
    return float(value if is_minimized else 1.0 - value)
