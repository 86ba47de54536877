"""Outputs that only a loss of the user reads, such as the parameters of a distribution: no quantities of the target."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from nightune.models.errors import InputError
from nightune.models.networks.losses import TrainedLoss
from nightune.models.networks.metrics_by_weight import mean_by_weight
from nightune.models.networks.training_rows import TrainingRows
from nightune.models.serving.predictor import Predictor
from nightune.models.techniques.losses import HAS_PARAMETERS, MORE_OUTPUTS, PARAMETERS, HeadSettings
from nightune.vocabulary import ARCHITECTURE, counted

KEY = "training.outputs"
MOST_ROWS = 4096  # on which the best constant is searched
EVALUATIONS, MOST_EVALUATIONS = 300, 6000  # of the loss: for each output, and in all
SHIFTED = 8  # columns, to find where a loss is lowest


def typical_outputs(model: keras.Model, rows: TrainingRows) -> tuple[float, ...]:
    """Return the means of a model's outputs over a few rows, (outputs,)."""
    outputs: Any = ops.convert_to_numpy(model(rows.inputs, training=False))
    return tuple(np.asarray(outputs, np.float64).mean(axis=0).tolist())


def why_parameters(loss: TrainedLoss | None, rows: TrainingRows, stated: str, size: int) -> str:
    """Say what makes outputs parameters: the study, or their number.

    InputError without a loss of the user that reads them, for targets of several axes, in scaled units, and where the
    number may be a mistake that the loss broadcasts.
    """
    if loss is None or not loss.is_own:
        remedy = 'set loss = "path/to/file.py:function" in [training], a function of (y_true, y_pred) of your own'
        raise InputError(KEY, f"{PARAMETERS!r} are read by a loss of your own, and there is none; {remedy}")
    if isinstance(rows.output_size, tuple):
        remedy = "return targets (rows, numbers), and give them their shape in the loss"
        raise InputError(KEY, f"{PARAMETERS!r} are those of a row, and targets have several axes; {remedy}")
    if rows.is_scaled:
        problem = f"true, but the outputs are parameters of the loss {loss.name}, in no unit of the target"
        raise InputError("data.scale_target", f"{problem}; remove it, and scale the target in the loss or the source")
    if stated == PARAMETERS:
        return f"{KEY} of the study"
    if rows.targets is not None:
        _refuse_broadcast(loss, rows.targets.reshape(len(rows.targets), -1), size)
    return f"{counted(size, 'output')} for {counted(rows.output_count, 'target')}"


def _refuse_broadcast(loss: TrainedLoss, targets: np.ndarray, size: int) -> None:
    """Refuse a loss that is the mean over all pairs of several outputs and one target, or of one and several."""
    try:
        is_broadcast = min(size, targets.shape[1]) == 1 and _is_mean_of_pairs(loss, targets, size)
    except InputError:  # a column may be an index, which no other column can take the place of
        return
    if is_broadcast:
        many = f"the model has {counted(size, 'output')} for {counted(targets.shape[1], 'target')}"
        problem = f"{many}, and the loss {loss.name} is the mean over them, as by broadcasting"
        remedy = f'end in layers.Dense(output_size), or set outputs = "{PARAMETERS}" in [training] if that is meant'
        raise InputError(ARCHITECTURE, f"{problem}; {remedy}{loss.place}")


def _is_mean_of_pairs(loss: TrainedLoss, targets: np.ndarray, size: int) -> bool:
    """Return whether a loss is the mean of what it is of each output, or of each target, alone."""
    outputs, columns = np.random.default_rng(0).uniform(0.1, 0.9, (len(targets), size)), targets.shape[1]
    pairs = []
    for place in range(max(size, columns)):
        output, target = outputs[:, [place % size]], targets[:, [place % columns]]
        pairs.append(loss.rows(np.repeat(output, size, axis=1), np.repeat(target, columns, axis=1)))
    is_one = all(np.allclose(pairs[0], each, rtol=1e-3) for each in pairs)
    return not is_one and np.allclose(loss.rows(outputs, targets), np.mean(pairs, axis=0), rtol=1e-4, atol=1e-6)


def remarks_on_quantities(loss: TrainedLoss | None, rows: TrainingRows) -> Iterator[str]:
    """Yield that a user's loss of as many outputs as targets is lower elsewhere than at the targets."""
    if loss is None or not loss.is_own or rows.targets is None or isinstance(rows.output_size, tuple):
        return
    known = rows.targets.reshape(len(rows.targets), -1)
    shifts = np.diag(known.std(axis=0))[:SHIFTED]
    at_targets = float(loss.rows(known, known).mean())
    elsewhere = [float(loss.rows(known + each, known).mean()) for each in (*shifts, *-shifts)]
    if any(each < at_targets - 1e-3 * max(abs(at_targets), abs(each)) for each in elsewhere):
        remedy = f'if outputs are parameters of a distribution, set outputs = "{PARAMETERS}" in [training]'
        yield f"the loss {loss.name} is lower for other outputs than the targets; {remedy}"


def other_number(size: int, wanted: int, training: HeadSettings, loss: TrainedLoss | None) -> str:
    """Say that a model has another number of outputs than targets or quantiles to compare, and what to do."""
    kind = "quantiles" if training.quantiles else "quantities"
    remedy = MORE_OUTPUTS if training.quantiles is None and wanted == 1 else ""
    if loss is not None and loss.is_own:
        remedy = f'set outputs = "{PARAMETERS}" in [training] for numbers that only the loss reads'
    return f"has {size} outputs for {wanted} {kind}{'; ' if remedy else ''}{remedy}"


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

    options = {"maxfev": min(EVALUATIONS * len(start), MOST_EVALUATIONS), "adaptive": len(start) > 2}
    found = minimize(mean_loss, np.array(start), method="Nelder-Mead", options=options)
    return np.asarray(found.x, np.float64)
