"""The training loss of single rows, whose mean is `val_loss`: in the scale of the targets as they are trained."""

import numpy as np

from nightune.models.data.dataset import Examples
from nightune.models.networks.heads import Head
from nightune.models.networks.joint_heads import JointHead
from nightune.models.networks.metrics import label_losses, log_probabilities
from nightune.models.networks.positions import logs_at_positions, row_losses_of_positions
from nightune.vocabulary import POSITIONS


def losses_as_trained(head: Head, outputs: np.ndarray, examples: Examples) -> np.ndarray:
    """Return the loss of each row, (rows,) float64, from finite outputs (rows, size); of several heads their sum."""
    if isinstance(head, JointHead):
        total = np.zeros(len(outputs))
        for part in head.parts:
            if part.weight:
                own = examples.of_head(part.data)
                shares = part.weight * mean_one(own.weights, examples.weights)
                total += shares * losses_as_trained(part.head, part.outputs(outputs), own)
        return total
    values = outputs.astype(np.float64).reshape(len(outputs), -1)
    if head.loss is not None and head.loss.example_loss is not None:
        return head.loss.rows(values, head.targets(examples.targets))
    if head.kind == "quantities":
        errors: np.ndarray = ((values - examples.targets.reshape(values.shape)) ** 2).mean(axis=1)
        return errors
    if head.kind == "labels":
        losses: np.ndarray = label_losses(values, examples.targets.reshape(values.shape), head.is_logits).mean(axis=1)
        return losses
    if head.kind == POSITIONS:
        classes = examples.targets.reshape(len(values), -1)
        return row_losses_of_positions(logs_at_positions(values, classes.shape[1], head.is_logits), classes)
    places = examples.targets.astype(np.int64).reshape(-1)
    chosen: np.ndarray = log_probabilities(values, head.is_logits)[np.arange(len(values)), places]
    return -chosen


def mean_one(own: np.ndarray | None, of_all: np.ndarray | None) -> np.ndarray | float:
    """Return a head's own weights of rows, (rows,), divided by their mean, if they are not those of all heads.

    `own` are those of all heads times its own. Rows of weight 0 for all heads have any factor.
    """
    if own is None or own is of_all:
        return 1.0
    rows = np.ones(len(own)) if of_all is None else of_all.astype(np.float64)
    factors: np.ndarray = own / np.where(rows > 0, rows, 1.0)
    total = float(own.sum(dtype=np.float64))
    return factors * (float(rows.sum()) / total) if total > 0 else factors


def weighing_rows(head: Head, examples: Examples) -> np.ndarray | None:
    """Return the places of the rows that weigh for some trained one of several heads; None for all, and for one head.

    The others add nothing to `val_loss`, and are no evidence. Weights of rows for all heads are not read here.
    """
    if not isinstance(head, JointHead):
        return None
    weighs = np.zeros(len(examples), bool)
    for part in head.parts:
        own = part.data.row_weights(examples.targets, None)
        if part.weight:
            weighs |= True if own is None else own > 0
    return None if weighs.all() else np.flatnonzero(weighs)


def standard_error_of_mean(losses: np.ndarray, weights: np.ndarray | None) -> float:
    """Return the standard error of the mean of independent rows, weighted if they have weights; NaN for one row."""
    count = len(losses) if weights is None else int(np.count_nonzero(weights))
    if count < 2:
        return float("nan")
    shares = np.full(len(losses), 1.0 / len(losses)) if weights is None else weights / weights.sum(dtype=np.float64)
    away = losses - float(shares @ losses)
    return float(np.sqrt(count / (count - 1) * np.sum((shares * away) ** 2)))
