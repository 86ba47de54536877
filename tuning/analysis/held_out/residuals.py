"""The errors of predicted quantities on held-out rows."""

import numpy as np

from nightune.tuning.analysis.held_out import calibration
from nightune.tuning.analysis.held_out.answers import Answers
from nightune.tuning.analysis.held_out.summary import Residuals

MOST_QUANTITIES = 6
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
BARS = 24
SAMPLE = 240  # rows


def residuals_of(answers: Answers, points: np.ndarray) -> tuple[Residuals, ...]:
    """Return the errors of the first quantities; `points` are predictions, (models, rows, quantities)."""
    count = min(MOST_QUANTITIES, points.shape[2])
    return tuple(_of_one(answers, place, points[:, :, place]) for place in range(count))


def _of_one(answers: Answers, place: int, points: np.ndarray) -> Residuals:
    truths = answers.truths[:, place]
    errors, middle = points - truths, points.mean(axis=0)
    low, high = np.quantile(errors, [0.005, 0.995])
    edges = np.linspace(low, high, BARS + 1) if high > low else np.array([low - 0.5, low + 0.5])
    counts = np.histogram(np.clip(errors, edges[0], edges[-1]), edges)[0] / len(points)
    order = np.argsort(truths, kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, min(SAMPLE, len(order))).astype(int))]
    return Residuals(
        name=answers.names[place] if answers.names else "",
        bias=answers.mean(errors),
        absolute=answers.mean(np.abs(errors)),
        quantiles=tuple(map(float, np.quantile(errors, LEVELS))),
        edges=tuple(map(float, edges)),
        counts=tuple(map(float, counts)),
        sample=tuple((float(truths[row]), float(middle[row])) for row in chosen),
        calibration=None
        if answers.quantiles
        else calibration.of_quantity(points, truths, answers.weights, answers.seed),
    )
