"""Outputs that only a loss of the user reads, such as the parameters of a distribution: no quantities of the target."""

from typing import Any

import keras
import numpy as np
from keras import ops

from nightune.models.errors import InputError
from nightune.models.networks.losses import TrainedLoss
from nightune.models.networks.metrics_by_weight import mean_by_weight
from nightune.models.networks.training_rows import TrainingRows
from nightune.models.serving.predictor import Predictor
from nightune.models.techniques.losses import HAS_PARAMETERS, PARAMETERS
from nightune.vocabulary import counted

KEY = "training.outputs"
MOST_ROWS = 4096  # on which the best constant is searched
EVALUATIONS = 300  # of the loss, for each output


def typical_outputs(model: keras.Model, rows: TrainingRows) -> tuple[float, ...]:
    """Return the means of a model's outputs over a few rows, (outputs,)."""
    outputs: Any = ops.convert_to_numpy(model(rows.inputs, training=False))
    return tuple(np.asarray(outputs, np.float64).mean(axis=0).tolist())


def refuse_unread(loss: TrainedLoss | None, rows: TrainingRows) -> None:
    """Refuse parameters without a loss of the user that reads them, of targets of several axes, or in scaled units."""
    if loss is None or not loss.is_own:
        remedy = 'set loss = "path/to/file.py:function" in [training], a function of (y_true, y_pred) of your own'
        raise InputError(KEY, f"{PARAMETERS!r} are read by a loss of your own, and there is none; {remedy}")
    if isinstance(rows.output_size, tuple):
        remedy = "return targets (rows, numbers), and give them their shape in the loss"
        raise InputError(KEY, f"{PARAMETERS!r} are those of a row, and targets have several axes; {remedy}")
    if rows.is_scaled:
        problem = f"true, but the outputs are parameters of the loss {loss.name}, in no unit of the target"
        raise InputError("data.scale_target", f"{problem}; remove it, and scale the target in the loss or the source")


def because_of(stated: str, size: int, wanted: int) -> str:
    """Say what makes outputs parameters: the study, or their number."""
    if stated == PARAMETERS:
        return f"{KEY} of the study"
    return f"{counted(size, 'output')} for {counted(wanted, 'target')}"


def described_parameters(size: int) -> dict[str, Any]:
    """What a version says of them, empty for none: it answers a table of one column for each."""
    if not size:
        return {}
    return {"outputs": [f"output_{place}" for place in range(size)], "output_size": size, HAS_PARAMETERS: True}


def parameters_of(predictor: Predictor, outputs: np.ndarray, size: int) -> np.ndarray:
    """Return finite outputs (rows, size) of a version as its loss reads them; InputError if it has none, or others."""
    if not predictor.description.get(HAS_PARAMETERS) or outputs.shape[1] != size:
        answers = "quantities" if not predictor.description.get(HAS_PARAMETERS) else f"{outputs.shape[1]} parameters"
        raise InputError(KEY, f"the model predicts {answers}, and the loss reads {counted(size, 'parameter')}")
    return outputs.astype(np.float64)


def best_constant(
    loss: TrainedLoss, start: tuple[float, ...], targets: np.ndarray, weights: np.ndarray | None
) -> np.ndarray:
    """Return constant outputs, (size,), of a low mean loss: found by a simplex (Nelder & Mead, 1965) from a start.

    Targets are those of the training rows, of which it reads some thousands, evenly.
    """
    from scipy.optimize import minimize  # noqa: PLC0415 - takes a moment, and few studies have such outputs

    rows = np.unique(np.linspace(0, len(targets) - 1, min(len(targets), MOST_ROWS)).astype(int))
    known, shares = targets[rows], None if weights is None else weights[rows]

    def mean_loss(constant: np.ndarray) -> float:
        outputs = np.broadcast_to(constant, (len(known), len(constant)))
        mean = mean_by_weight(loss.rows(outputs, known), shares)
        return float(mean) if np.isfinite(mean) else np.inf

    options = {"maxfev": EVALUATIONS * len(start), "adaptive": len(start) > 2}
    found = minimize(mean_loss, np.array(start), method="Nelder-Mead", options=options)
    return np.asarray(found.x, np.float64)
