"""A user's metric for the promotion gate: of models, whose labels are compared by name, and of the best constant."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from nightune.models.data.dataset import Dataset
from nightune.models.errors import InputError
from nightune.models.networks.constant_guesses import class_shares, mean_of, median_of
from nightune.models.networks.own_metrics import (
    OwnMetric,
    answers_of,
    at_axes,
    in_shape,
    of_second,
    plain,
    some_rows,
)
from nightune.models.networks.positions import shares_of_positions
from nightune.models.networks.row_answers import classes_of
from nightune.models.networks.row_losses import Measure
from nightune.models.networks.row_positions import codes_at_positions
from nightune.models.networks.trained_rows import TrainedMeasure
from nightune.models.networks.truth import Truth, quantities_of
from nightune.models.networks.weighted_metrics import Metric
from nightune.models.serving.predictor import Predictor
from nightune.models.serving.probabilities import class_probabilities, label_probabilities
from nightune.models.techniques.losses import HAS_PARAMETERS
from nightune.vocabulary import POSITIONS

MOST_CERTAIN = 20  # classes that the baseline tries as constants, besides their shares


def own_model_metric(
    own: OwnMetric, predictor: Predictor, outputs: np.ndarray, truth: Truth, dataset: Dataset
) -> Metric:
    """Return the metric of one model as a function of weights, from finite outputs (rows, size).

    A class or label that the model does not know has the probability 0.
    """
    described = dataset.description
    if truth.is_regression and predictor.description.get(HAS_PARAMETERS):
        return own.loss(plain(truth.values, described), plain(outputs.astype(np.float64), described))
    if truth.is_regression:
        return own.loss(plain(truth.values, described), plain(quantities_of(predictor, outputs, truth), described))
    readable, is_logits = outputs.astype(np.float64), bool(predictor.description["is_logits"])
    known = list(predictor.description["classes"])
    if truth.labels is not None:
        probabilities = _by_name(label_probabilities(readable, is_logits), known, list(truth.labels))
        return own.loss(in_shape(truth.values, described), in_shape(probabilities, described))
    wanted: list[Any] = np.array(dataset.classes).tolist()
    if truth.at_positions:
        each = class_probabilities(readable.reshape(truth.values.size, -1), is_logits)
        return own.loss(*at_axes(codes_at_positions(truth, wanted), _by_name(each, known, wanted), described))
    probabilities = _by_name(class_probabilities(readable, is_logits), known, wanted)
    return own.loss(classes_of(truth, dataset), of_second(probabilities))


def own_trivial_metric(own: OwnMetric, dataset: Dataset, truth: Truth, measure: Measure = "") -> Metric:
    """Return the metric of the constant that is best on the training rows, among usual ones.

    Of parameters of a loss it is the constant by the training loss, which `measure` then is.
    """
    weights = truth.training_weights(dataset)
    chosen = some_rows(dataset, dataset.train if weights is not None else replace(dataset.train, weights=None))
    known, weights_of_known = chosen.targets, chosen.weights
    rows = len(known)
    sign = 1.0 if own.direction == "minimize" else -1.0
    scored = []
    constants = list(_constants(dataset, weights))
    if isinstance(measure, TrainedMeasure) and measure.head.parameters:
        constants = [measure.constant_parameters(dataset, weights)]
    for constant in constants:
        outputs = np.broadcast_to(constant, (rows, len(constant)))
        try:
            value = own.value(*answers_of(dataset.task, outputs, known, False, dataset.description), weights_of_known)
        except InputError:  # it may have no value for equal predictions of certain classes
            continue
        if np.isfinite(value):
            scored.append((sign * value, constant))
    best = min(scored, key=lambda pair: pair[0])[1] if scored else constants[0]
    outputs = np.broadcast_to(best, (len(truth.values), len(best)))
    if truth.at_positions:
        codes = codes_at_positions(truth, dataset.classes or ())
        return own.loss(*answers_of(dataset.task, outputs, codes, False, dataset.description))
    _, answers = answers_of(dataset.task, outputs, np.zeros(outputs.shape), False, dataset.description)
    if truth.is_regression:
        return own.loss(plain(truth.values, dataset.description), answers)
    has_labels = truth.labels is not None
    return own.loss(in_shape(truth.values, dataset.description) if has_labels else classes_of(truth, dataset), answers)


def _constants(dataset: Dataset, weights: np.ndarray | None) -> Iterator[np.ndarray]:
    """Yield constant outputs (size,): shares of classes or labels, the mean and the median; then certain ones."""
    known = dataset.train.targets
    if dataset.task == "regression":
        values = known.astype(np.float64).reshape(len(known), -1)
        yield mean_of(values, weights)
        yield median_of(values, weights).astype(np.float64)
        return
    if dataset.task == "multilabel":
        shares = mean_of(known, weights)
        yield from (shares, (shares > 0.5).astype(np.float64), np.zeros(len(shares)), np.ones(len(shares)))
        return
    count = len(dataset.classes or ())
    is_at_positions = dataset.task == POSITIONS
    shares = (shares_of_positions if is_at_positions else class_shares)(known, count, weights)
    repeats = known.shape[1] if is_at_positions else 1
    yield np.tile(shares, repeats)
    frequent = np.argsort(-shares, kind="stable")[:MOST_CERTAIN]
    yield from (np.tile(np.eye(count)[number], repeats) for number in frequent)


def _by_name(probabilities: np.ndarray, known: list[Any], wanted: list[Any]) -> np.ndarray:
    none = np.zeros(len(probabilities))
    return np.stack([probabilities[:, known.index(name)] if name in known else none for name in wanted], axis=1)
