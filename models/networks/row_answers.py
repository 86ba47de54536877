"""Answers of models and of the baseline to the test rows, in the form that the weighted metrics read."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nightune.models.data.dataset import Dataset
from nightune.models.networks.class_scores import decided_classes, has_zero
from nightune.models.networks.constant_guesses import mean_of
from nightune.models.networks.metrics import CLIP, log_probabilities
from nightune.models.networks.positions import metric_of_positions
from nightune.models.networks.row_positions import at_positions, trivial_at_positions
from nightune.models.networks.truth import Truth, quantities_of
from nightune.models.networks.weighted_metrics import Metric, is_row_mean, label_metric_loss, metric_loss
from nightune.models.serving.predictor import Predictor, in_units
from nightune.models.serving.probabilities import class_scores
from nightune.vocabulary import VALIDATION_PREFIX

AREAS = ("auc", "pr_auc")  # of scores; other metrics read predicted classes, or quantities


def model_metric(predictor: Predictor, outputs: np.ndarray, truth: Truth, dataset: Dataset, objective: str) -> Metric:
    """Return the objective of one model as a function of weights of the rows, from finite outputs (rows, size).

    Labels are compared by name: a champion may have other labels, or another order of them.
    """
    metric = objective.removeprefix(VALIDATION_PREFIX)
    if truth.is_regression:
        return metric_loss(metric, quantities_of(predictor, outputs, truth), truth.values)
    if truth.labels is not None:
        return label_metric_loss(metric, _label_scores(predictor, outputs, truth.labels), truth.values)
    if truth.at_positions:
        return metric_of_positions(metric, *at_positions(predictor, outputs, truth))
    logs = log_probabilities(outputs.astype(np.float64), predictor.description["is_logits"])
    labels, own = _labels(dataset), list(predictor.description["classes"])
    if metric in AREAS and (metric != "auc" or len(labels) > 2):
        scores = class_scores(outputs.astype(np.float64), predictor.description["is_logits"])
        lost = np.full(len(scores), -np.inf)  # a label that the model does not know
        columns = np.stack([scores[:, own.index(label)] if label in own else lost for label in labels], axis=1)
        return metric_loss(metric, columns if len(labels) > 2 else columns[:, 1], classes_of(truth, dataset))
    if metric == "auc":
        known = [logs[:, own.index(label)] if label in own else np.full(len(logs), np.log(CLIP)) for label in labels]
        return metric_loss(metric, known[1] - known[0], classes_of(truth, dataset))
    numbers = _numbers([*labels, *(label for label in own if label not in labels)])
    predicted = np.array([numbers[label] for label in own])[decided_classes(logs, outputs, predictor.description)]
    return metric_loss(metric, predicted, classes_of(truth, dataset))


def trivial_metric(dataset: Dataset, truth: Truth, objective: str) -> Metric:
    """Return the objective of the baseline: equal scores, the most frequent class or the mean of the training rows."""
    metric, known = objective.removeprefix(VALIDATION_PREFIX), dataset.train.targets
    weights = truth.training_weights(dataset)
    if truth.at_positions:
        return metric_of_positions(metric, *trivial_at_positions(dataset, truth, weights))
    if truth.labels is not None:
        shares = mean_of(known, weights)
        constant_scores = np.zeros_like(shares) if metric in AREAS else shares - 0.5
        return label_metric_loss(metric, np.broadcast_to(constant_scores, truth.values.shape), truth.values)
    if truth.is_regression:
        guess = in_units(mean_of(known.astype(np.float64).reshape(len(known), -1), weights), dataset.description)
        return metric_loss(metric, np.broadcast_to(guess, truth.values.shape), truth.values)
    if metric in AREAS and len(dataset.classes or ()) > 2:
        equal = np.zeros((len(truth.values), len(dataset.classes or ())))
        return metric_loss(metric, equal, classes_of(truth, dataset))
    constant = 0 if metric in AREAS else int(np.bincount(known, weights=weights).argmax())
    return metric_loss(metric, np.full(len(truth.values), constant), classes_of(truth, dataset))


def classes_of(truth: Truth, dataset: Dataset) -> np.ndarray:
    """Return the class of each test row, (rows,) int64 from 0."""
    numbers = _numbers(_labels(dataset))
    return np.array([numbers[label] for label in truth.values.tolist()], dtype=np.int64)


def undefined_reason(truth: Truth, dataset: Dataset, objective: str) -> str:
    """Say why an objective cannot be compared on these rows; empty if nothing is known against it."""
    metric = objective.removeprefix(VALIDATION_PREFIX)
    if truth.at_positions:
        return ""
    if is_row_mean(objective):
        is_zero = metric == "mape" and has_zero(truth.values, dataset.description)
        return "the target of a test row is 0, and the metric divides by it" if is_zero else ""
    if truth.is_regression:
        is_constant = metric in ("r2", "spearman") and bool((truth.values == truth.values[:1]).all(axis=0).any())
        return "a target has the same value in all test rows" if is_constant else ""
    if truth.labels is not None:
        varies = (truth.values.min(axis=0) != truth.values.max(axis=0)).any()
        return "" if varies or metric not in AREAS else "no label is 0 in some test rows and 1 in others"
    return _reason_of_classes(truth.values, metric)


def _reason_of_classes(values: np.ndarray, metric: str) -> str:
    labels, counts = np.unique(values, return_counts=True)
    if len(labels) == 1:
        return f"all {len(values)} test rows are of class {labels.tolist()[0]!r}"
    if metric in AREAS and counts.min() == 1:
        return f"only 1 of {len(values)} test rows is of class {labels.tolist()[int(counts.argmin())]!r}"
    return ""


def _label_scores(predictor: Predictor, outputs: np.ndarray, labels: Sequence[Any]) -> np.ndarray:
    """Return the outputs of the labels, (rows, labels), above 0 where predicted; unknown labels are never predicted."""
    own = list(predictor.description["classes"])
    threshold = 0.0 if predictor.description["is_logits"] else 0.5
    scores = outputs.astype(np.float64) - threshold
    unknown = np.full(len(outputs), -np.inf)
    return np.stack([scores[:, own.index(label)] if label in own else unknown for label in labels], axis=1)


def _labels(dataset: Dataset) -> list[Any]:
    """The labels in the form that the true values have."""
    labels: list[Any] = np.array(dataset.classes).tolist()
    return labels


def _numbers(labels: list[Any]) -> dict[Any, int]:
    return {label: number for number, label in enumerate(labels)}
