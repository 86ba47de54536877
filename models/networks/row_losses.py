"""Losses of single test rows for the promotion gate: of models and of the baseline."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from nightune.models.data.dataset import Dataset
from nightune.models.errors import InputError
from nightune.models.networks.class_scores import (
    SMALLEST,
    brier_scores,
    decided_classes,
    is_among_top,
    pinball_losses,
    relative_errors,
)
from nightune.models.networks.constant_guesses import class_shares, mean_of, median_of, quantiles_of
from nightune.models.networks.heads import Head
from nightune.models.networks.joint_heads import JointHead
from nightune.models.networks.metrics import CLIP, label_losses, log_probabilities
from nightune.models.networks.named_metrics import Named
from nightune.models.networks.own_metrics import OwnMetric
from nightune.models.networks.positions import row_losses_of_positions
from nightune.models.networks.row_positions import at_positions, trivial_at_positions
from nightune.models.networks.trained_rows import RowMeasure
from nightune.models.networks.truth import Truth, quantities_of
from nightune.models.serving.head_outputs import head_descriptions
from nightune.models.serving.input_trees import ArrayTree, rows_of
from nightune.models.serving.predictor import Predictor, in_units
from nightune.models.serving.probabilities import class_scores, decided_places
from nightune.vocabulary import DECIDED_METRICS, OBJECTIVES, QUANTILE_METRICS, TOP_METRICS, VALIDATION_PREFIX, row_of

HALF_BRIER = "Brier score of two classes"  # half the sum over both, as the Brier score is defined for two
TOP = {f"top-{count} error": count for count in TOP_METRICS.values()}
PINBALL = {f"pinball loss of the quantile {level:g}": level for level in QUANTILE_METRICS.values()}

# objective → the loss of a row, by task; the gate compares its mean over the rows, or the metric itself where
# `weighted_metrics.py` has it: then the loss only shows whether outputs are finite
MEASURES = {
    "val_loss": {"regression": "squared error", "classes": "log loss", "labels": "log loss"},
    "val_accuracy": {"classes": "error", "labels": "error"},
    "val_label_accuracy": {"labels": "label error"},
    "val_balanced_accuracy": {"classes": "balanced error"},
    "val_f1_macro": {"classes": "balanced error", "labels": "balanced label error"},
    "val_f1_micro": {"labels": "label error"},
    "val_auc": {"classes": "log loss", "labels": "log loss"},
    "val_mae": {"regression": "absolute error"},
    "val_rmse": {"regression": "squared error"},
    "val_r2": {"regression": "squared error"},
    "val_pr_auc": {"classes": "log loss", "labels": "log loss"},
    "val_mcc": {"classes": "balanced error"},
    **{f"{VALIDATION_PREFIX}{name}": {"classes": measure} for name, measure in zip(TOP_METRICS, TOP, strict=True)},
    "val_brier": {"binary": HALF_BRIER, "classes": "Brier score", "labels": "Brier score"},
    "val_log_loss": {"classes": "log loss", "labels": "log loss"},
    "val_mean_iou": {"classes": "balanced error"},
    "val_mape": {"regression": "relative error"},
    "val_spearman": {"regression": "squared error"},
    "val_mae_original": {"regression": "absolute error"},
    "val_rmse_original": {"regression": "squared error"},
    **{
        f"{VALIDATION_PREFIX}{name}": {"regression": measure}
        for name, measure in zip(QUANTILE_METRICS, PINBALL, strict=True)
    },
}
LATENCY_CALLS = 20


Measure = str | RowMeasure


def measure_of(objective: str, task: str, trained: RowMeasure | None = None) -> Measure:
    """Return the loss of a row for an objective: "error" is 0 or 1, "balanced error" weights classes equally.

    Of several labels, "error" is 1 unless all are right, and the other losses are means over labels; "balanced label
    error" weights the rows that have a label and those that lack it equally. `trained` is the training loss, which
    `val_loss` is the mean of, where it is not the task's default one.
    """
    if objective == "val_loss" and trained is not None:
        return trained
    objective = objective if objective in OBJECTIVES else "val_loss"  # a user's metric: only whether outputs are finite
    by_task = row_of(MEASURES, objective, "MEASURES in models/networks/row_losses.py")
    kind = {"regression": "regression", "multilabel": "labels"}.get(task, "classes")
    kind = task if task in by_task else kind
    return row_of(by_task, kind, f"{objective} of MEASURES in models/networks/row_losses.py")


def row_losses(predictor: Predictor, inputs: ArrayTree, truth: Truth, measure: Measure) -> np.ndarray:
    """Return the loss of each row, (rows,) float64; NaN if an output is not finite.

    A label that is unknown to the model has the probability 1e-7. InputError if it does not predict the quantities.
    """
    return losses_of_outputs(predictor, predictor.outputs(inputs), truth, measure)


def losses_of_outputs(predictor: Predictor, outputs: np.ndarray, truth: Truth, measure: Measure) -> np.ndarray:
    """Return the loss of each row, as `row_losses`, from outputs of shape (rows, size)."""
    if not isinstance(measure, str):
        return measure.rows(predictor, outputs, truth)
    finite = np.isfinite(outputs).all(axis=1)
    if truth.is_regression:
        readable = np.where(finite[:, None], outputs, 0.0)
        values = quantities_of(predictor, readable, truth, level=PINBALL.get(measure, 0.5))
        return np.where(finite, _quantity_losses(values, truth.values, measure), np.nan)
    readable = np.where(finite[:, None], outputs, 0.0).astype(np.float64)
    if truth.labels is not None or truth.at_positions:
        of = _losses_of_labels if truth.labels is not None else _losses_of_positions
        return np.where(finite, of(predictor, readable, truth, measure), np.nan)
    logs = log_probabilities(readable, predictor.description["is_logits"])
    own = {label: index for index, label in enumerate(predictor.description["classes"])}
    wanted = np.array([own.get(label, -1) for label in truth.values.tolist()])
    if measure in TOP:
        found = is_among_top(class_scores(readable, predictor.description["is_logits"]), wanted, TOP[measure])
        return np.where(finite, ~found, np.nan)
    if "Brier" in measure:
        return np.where(finite, brier_scores(np.exp(logs), wanted, measure == HALF_BRIER), np.nan)
    chosen = np.where(wanted >= 0, logs[np.arange(len(logs)), wanted], np.log(CLIP))
    predicted = decided_classes(logs, readable, predictor.description)
    return np.where(finite, _class_losses(chosen, predicted != wanted, truth.values, measure), np.nan)


def trivial_losses(dataset: Dataset, truth: Truth, measure: Measure) -> np.ndarray:
    """Return the loss of each row of the baseline: the class shares, mean or median of the training rows."""
    if not isinstance(measure, str):
        return measure.trivial_rows(dataset, truth)
    known, weights = dataset.train.targets, truth.training_weights(dataset)
    if truth.is_regression:
        guess = _constant_guess(known.astype(np.float64).reshape(len(known), -1), weights, measure, dataset)
        return _quantity_losses(np.broadcast_to(guess, truth.values.shape), truth.values, measure)
    if truth.labels is not None:
        shares = mean_of(known, weights)
        guesses = np.broadcast_to(shares, truth.values.shape)
        return _label_losses(label_losses(guesses, truth.values, False), guesses > 0.5, truth.values, measure)
    return _trivial_losses_of_classes(dataset, truth, measure)


def _trivial_losses_of_classes(dataset: Dataset, truth: Truth, measure: str) -> np.ndarray:
    known, weights = dataset.train.targets, truth.training_weights(dataset)
    if truth.at_positions:
        return row_losses_of_positions(*trivial_at_positions(dataset, truth, weights))
    classes = np.array(dataset.classes)
    shares = class_shares(known, len(classes), weights)
    index = {label: number for number, label in enumerate(classes.tolist())}
    wanted = np.array([index[label] for label in truth.values.tolist()])
    constant = np.broadcast_to(shares, (len(wanted), len(shares)))
    if measure in TOP:
        return np.asarray(~is_among_top(constant, wanted, TOP[measure]), np.float64)
    if "Brier" in measure:
        return brier_scores(constant, wanted, measure == HALF_BRIER)
    chosen = np.log(np.maximum(shares[wanted], CLIP))
    return _class_losses(chosen, wanted != shares.argmax(), truth.values, measure)


def all_metrics(
    predictor: Predictor,
    inputs: ArrayTree,
    targets: np.ndarray,
    head: Head,
    weights: np.ndarray | None = None,
    names: Sequence[str] = (),
    own: OwnMetric | None = None,
) -> dict[str, float]:
    """Return the task's metrics, and those that the study names, on the test rows: for reports.

    Those of predicted classes are at the version's threshold.
    """
    task = predictor.description["task"]
    named, outputs = Named.of(names, task, predictor.description, own), predictor.outputs(inputs)
    values = head.metrics(task, outputs, targets, weights, named)
    if not np.isfinite(outputs).all():
        return values
    if isinstance(head, JointHead):
        return values | _of_heads_at_thresholds(predictor, outputs, targets, head, weights, named)
    return values | _at_threshold(predictor.description, outputs, targets, head, weights, named)


def _of_heads_at_thresholds(
    predictor: Predictor,
    outputs: np.ndarray,
    targets: np.ndarray,
    head: JointHead,
    weights: np.ndarray | None,
    named: Named,
) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, described in head_descriptions(predictor.description).items():
        part = head.part(name)
        own = np.asarray(part.outputs(outputs)), part.data.targets(targets)
        of_rows = part.data.row_weights(targets, weights)
        values = _at_threshold(described, *own, part.head, of_rows, named.of_head(name))
        found |= {f"{name}_{metric}": value for metric, value in values.items()}
    return found


def _at_threshold(
    description: Mapping[str, Any],
    outputs: np.ndarray,
    targets: np.ndarray,
    head: Head,
    weights: np.ndarray | None,
    named: Named,
) -> dict[str, float]:
    """Return the metrics of predicted classes at a version's threshold; none if it has none."""
    if "threshold" not in description:
        return {}
    decided = decided_places(outputs, description).astype(np.float64)[:, None]  # as probabilities 0 and 1
    plain = replace(head, is_logits=False, loss=None)
    values = plain.metrics(description["task"], decided, targets, weights, replace(named, own=None))
    return {name: values[name] for name in DECIDED_METRICS if name in values}


def latency_ms(predictor: Predictor, raw: Any, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the milliseconds from one raw row to its prediction: the median of 20 calls after a warm-up.

    Outputs that are NaN take as long, and have no answer. InputError for a row that the model cannot read.
    """
    row = raw.iloc[:1] if hasattr(raw, "iloc") else rows_of(raw, slice(1))
    predictor.inputs(row)
    taken = []
    for _ in range(1 + LATENCY_CALLS):
        started_at = clock()
        with suppress(InputError):
            predictor.predict(row)
        taken.append(clock() - started_at)
    return 1000 * float(np.median(taken[1:]))


def _constant_guess(known: np.ndarray, weights: np.ndarray | None, measure: str, dataset: Dataset) -> np.ndarray:
    """Return the constant with the lowest loss of the training rows, (quantities,), in the units of the data."""
    if measure == "relative error":
        values = in_units(known, dataset.description)
        shares = (1.0 if weights is None else weights[:, None]) / np.maximum(np.abs(values), SMALLEST)
        columns = zip(values.T, np.broadcast_to(shares, values.shape).T, strict=True)
        return np.array([median_of(column, share) for column, share in columns])
    if measure in PINBALL:
        return in_units(quantiles_of(known, PINBALL[measure], weights), dataset.description)
    middle = median_of if measure == "absolute error" else mean_of
    return in_units(middle(known, weights), dataset.description)


def _quantity_losses(values: np.ndarray, wanted: np.ndarray, measure: str) -> np.ndarray:
    if measure == "relative error":
        return relative_errors(values, wanted)
    if measure in PINBALL:
        return pinball_losses(values, wanted, PINBALL[measure])
    errors = np.abs(values - wanted)
    means: np.ndarray = np.mean(errors if measure == "absolute error" else errors**2, axis=1)
    return means


def _losses_of_positions(predictor: Predictor, outputs: np.ndarray, truth: Truth, _measure: str) -> np.ndarray:
    """Return the trained loss of each row; the other objectives are metrics of all positions (row_answers.py)."""
    return row_losses_of_positions(*at_positions(predictor, outputs, truth))


def _losses_of_labels(predictor: Predictor, outputs: np.ndarray, truth: Truth, measure: str) -> np.ndarray:
    """Compare the outputs with the labels by name: a champion may have them in another order, or lack some."""
    assert truth.labels is not None
    own = {label: index for index, label in enumerate(predictor.description["classes"])}
    has_logits, wanted = predictor.description["is_logits"], truth.values
    losses, predicted = np.full(wanted.shape, -np.log(CLIP)), wanted != 1  # of a label that the model does not know
    for place, label in enumerate(truth.labels):
        if label in own:
            column = outputs[:, [own[label]]]
            losses[:, [place]] = label_losses(column, wanted[:, [place]], has_logits)
            predicted[:, place] = column[:, 0] > (0.0 if has_logits else 0.5)
    return _label_losses(losses, predicted, wanted, measure)


def _label_losses(losses: np.ndarray, predicted: np.ndarray, wanted: np.ndarray, measure: str) -> np.ndarray:
    """Return the loss of each row from the log losses and predictions of its labels, (rows, labels)."""
    is_wrong = predicted != (wanted == 1)
    if measure == "error":
        losses = is_wrong.any(axis=1, keepdims=True)
    elif measure == "balanced label error":
        shares = np.where(wanted == 1, wanted.mean(axis=0), 1.0 - wanted.mean(axis=0))
        known = (wanted.min(axis=0) != wanted.max(axis=0)) + 1.0  # values of each label: 1 or 2
        losses = is_wrong / (known * shares)
    elif measure == "Brier score":
        losses = (1.0 - np.exp(-losses)) ** 2
    elif measure == "label error":
        losses = is_wrong
    means: np.ndarray = losses.mean(axis=1, dtype=np.float64)
    return means


def _class_losses(logs: np.ndarray, is_wrong: np.ndarray, labels: np.ndarray, measure: str) -> np.ndarray:
    if measure == "log loss":
        return -logs
    if measure == "error":
        return is_wrong.astype(np.float64)
    _, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return is_wrong * (len(labels) / (len(counts) * counts[index]))
