"""Answers at the positions of test rows, of models and of the baseline, as the gate compares them: classes by name."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nightune.models.data.dataset import Dataset
from nightune.models.networks.metrics import CLIP
from nightune.models.networks.positions import logs_at_positions, shares_of_positions
from nightune.models.networks.truth import Truth
from nightune.models.serving.predictor import Predictor

Logs = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]


def at_positions(predictor: Predictor, outputs: np.ndarray, truth: Truth) -> tuple[Logs, Codes]:
    """Return log-probabilities (rows, positions, classes), and the true classes by the model's own order of them.

    A true class is -1 where a position has none, and the number of classes where the model does not know it.
    """
    logs = logs_at_positions(outputs, truth.values.shape[1], predictor.description["is_logits"])
    return logs, codes_at_positions(truth, predictor.description["classes"])


def trivial_at_positions(dataset: Dataset, truth: Truth, weights: np.ndarray | None) -> tuple[Logs, Codes]:
    """Return the shares of classes among the training rows' positions for each position, and the true classes."""
    classes = dataset.classes or ()
    shares = shares_of_positions(dataset.train.targets, len(classes), weights)
    logs = np.broadcast_to(np.log(np.maximum(shares, CLIP)), (*truth.values.shape, len(classes)))
    return logs, codes_at_positions(truth, classes)


def codes_at_positions(truth: Truth, classes: Sequence[object]) -> Codes:
    """Return the true classes (rows, positions) by their places: -1 for none, their number for an unknown one."""
    places = {label: number for number, label in enumerate(classes)} | {None: -1}
    codes = np.array([places.get(label, len(classes)) for label in truth.values.reshape(-1).tolist()], np.int64)
    return codes.reshape(truth.values.shape)
