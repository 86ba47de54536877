"""A class at each position: its loss, its metrics, and their comparison by rows, of which each has many positions.

Targets are class indices, -1 at positions without a class, which the loss and all metrics leave out.
"""

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import losses, ops

from nightune.models.errors import InputError
from nightune.models.library_internals.models import has_mask
from nightune.models.networks.class_factors import ClassFactors
from nightune.models.networks.constant_guesses import class_shares
from nightune.models.networks.counted_metrics import counted_metric_loss
from nightune.models.networks.metrics import CLIP, log_probabilities, metrics
from nightune.models.networks.metrics_by_weight import metrics_by_weight
from nightune.models.networks.named_metrics import Named
from nightune.models.networks.output_walk import has_graph
from nightune.models.networks.own_metrics import answers_of
from nightune.models.networks.training_rows import TrainingRows
from nightune.models.networks.weighted_metrics import Metric
from nightune.models.techniques.losses import AUTO, HeadSettings
from nightune.vocabulary import ARCHITECTURE, POSITIONS, TASK_METRICS

ONE_CLASS_EACH = "multiclass"  # the task of positions as rows
Array = npt.NDArray[np.float64]


class PositionsLoss(losses.Loss):
    """The cross-entropy of an example: the mean over its positions, 0 for those without a class.

    As Keras' SparseCategoricalCrossentropy with a `sample_weight` of 0 at these positions. The share `label_smoothing`
    of each target is spread evenly over the classes. Weights of classes multiply the losses of their positions.
    """

    def __init__(self, is_logits: bool, label_smoothing: Any = 0.0, weights: ClassFactors | None = None) -> None:
        super().__init__(name="crossentropy_of_positions")
        self._is_logits, self._label_smoothing, self._weights = is_logits, label_smoothing, weights
        # Of a program the share is a variable, whose value is data.
        self._is_smoothed = not isinstance(label_smoothing, float | int) or label_smoothing != 0.0

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each example, (examples,); outputs are (examples, axis, ..., classes)."""
        classes = ops.cast(ops.reshape(y_true, ops.shape(y_pred)[:-1]), "int32")
        known = ops.maximum(classes, 0)
        if self._is_smoothed:
            one_hot = ops.one_hot(known, y_pred.shape[-1], dtype=y_pred.dtype)
            each = losses.categorical_crossentropy(one_hot, y_pred, self._is_logits, self._label_smoothing)
        else:
            each = losses.sparse_categorical_crossentropy(known, y_pred, from_logits=self._is_logits)
        if self._weights is not None:
            each = each * self._weights.of(known)
        each = ops.where(classes >= 0, each, ops.zeros_like(each))
        return ops.mean(each, axis=tuple(range(1, len(each.shape))))


def refuse_unsuited_positions(model: keras.Model, rows: TrainingRows, training: HeadSettings) -> None:
    """Refuse other losses than the cross-entropy, and outputs with a mask of their steps.

    Keras' losses leave masked steps out, and divide by the others of a batch.
    """
    if training.loss not in (AUTO, "crossentropy"):
        problem = f"{training.loss!r} is not trained for a class at each position (known: crossentropy)"
        raise InputError("training.loss", f'{problem}; for a loss of your own give labels, task = "multilabel"')
    if has_mask(model.outputs[0] if has_graph(model) else model(rows.two, training=False)):
        remedy = "end in keras.ops.multiply(outputs, 1.0), and set ignore_class in [data] to leave positions out"
        raise InputError(ARCHITECTURE, f"the model's outputs have a mask of their steps, which no loss reads; {remedy}")


def metrics_of_positions(
    outputs: np.ndarray, targets: np.ndarray, is_logits: bool, weights: np.ndarray | None, named: Named
) -> dict[str, float]:
    """Return the metrics over all positions with a class; `loss` is the mean over rows of the trained one.

    Outputs are (rows, positions * classes), targets (rows, positions). A position weighs as much as its row.
    """
    asked = (*TASK_METRICS[ONE_CLASS_EACH], *named.metrics, *([named.own.name] if named.own else []))
    known = targets.reshape(-1) >= 0
    each = outputs.reshape(len(known), -1)[known]
    if not np.isfinite(outputs).all() or not known.any():
        return dict.fromkeys(asked, float("nan"))
    classes, spread = targets.reshape(-1)[known], None
    if weights is None:
        values, share = metrics(ONE_CLASS_EACH, each, classes, is_logits), float(known.mean())
    else:
        spread = np.repeat(weights, targets.shape[1])[known]
        values = metrics_by_weight(ONE_CLASS_EACH, each, classes, is_logits, spread)
        share = float(spread.sum(dtype=np.float64) / (weights.sum(dtype=np.float64) * targets.shape[1]))
    values["loss"] *= share
    if named.own:
        answers = answers_of(POSITIONS, outputs, targets, is_logits, named.description)
        values[named.own.name] = named.own.value(*answers, weights)
    return values | replace(named, own=None).values(ONE_CLASS_EACH, each, classes, is_logits, spread)


def row_losses_of_positions(logs: Array, wanted: np.ndarray) -> Array:
    """Return the trained loss of each row from log-probabilities (rows, positions, classes), (rows,).

    `wanted` are classes (rows, positions): -1 for no class, and the number of classes for one that is unknown.
    """
    count, known = logs.shape[2], wanted >= 0
    chosen = np.take_along_axis(logs, np.clip(wanted, 0, count - 1)[..., None], axis=2)[..., 0]
    chosen = np.where(wanted == count, np.log(CLIP), chosen)
    means: Array = np.where(known, -chosen, 0.0).mean(axis=1)
    return means


def metric_of_positions(metric: str, logs: Array, wanted: np.ndarray) -> Metric:
    """Return a metric's loss as a function of weights of rows; arguments as in `row_losses_of_positions`."""
    known = wanted >= 0
    if metric == "log_loss":
        sums, counts = row_losses_of_positions(logs, wanted) * wanted.shape[1], known.sum(axis=1)

        def loss(weights: Array) -> Array:
            mean: Array = (weights @ sums) / np.maximum(weights @ counts, 1e-300)
            return mean

        return loss
    return counted_metric_loss(metric, logs.argmax(axis=2), wanted, known)


def logs_at_positions(outputs: np.ndarray, positions: int, is_logits: bool) -> Array:
    """Return log-probabilities (rows, positions, classes) of finite outputs (rows, positions * classes)."""
    rows = outputs.astype(np.float64).reshape(len(outputs) * positions, -1)
    return log_probabilities(rows, is_logits).reshape(len(outputs), positions, -1)


def shares_of_positions(targets: np.ndarray, count: int, weights: np.ndarray | None) -> Array:
    """Return the share of each class among the positions with a class, (classes,)."""
    known = targets.reshape(-1) >= 0
    spread = None if weights is None else np.repeat(weights, targets.shape[1])[known]
    return class_shares(targets.reshape(-1)[known], count, spread)
