"""Settle what outputs mean: the study, the graph, a measurement on training rows and the loss must not contradict."""

from dataclasses import dataclass, replace

import keras
import numpy as np

from nightune.models.errors import InputError
from nightune.models.networks.losses import TrainedLoss, reads_logits
from nightune.models.networks.output_ranges import Measured, measure_outputs
from nightune.models.networks.output_walk import LOGITS, PROBABILITIES, UNKNOWN, Reading, walk
from nightune.models.serving.input_trees import ArrayTree
from nightune.models.techniques.losses import AUTO, PARAMETERS
from nightune.vocabulary import ARCHITECTURE, POSITIONS

KEY = "training.outputs"
_OF_REGRESSION = {
    "quantities": "",
    PARAMETERS: ', or set task = "regression" in [data], whose targets are numbers for a loss of your own',
}
REACH = 0.01  # of the range of outputs: how far beyond it a target may lie


@dataclass(frozen=True)
class Meaning:
    """Whether the outputs of a classifier are logits, and how that is known."""

    is_logits: bool
    because: str


def settle_meaning(
    model: keras.Model, kind: str, size: int, sample: ArrayTree, stated: str, loss: TrainedLoss | None
) -> Meaning:
    """Return what the outputs of a classifier are; InputError names `training.outputs` if it cannot be known.

    The graph decides, or where it does not know a measurement. The study's word decides for outputs with bounds that
    are not those of probabilities, and so does a loss of the model's own.
    """
    classes_at = size if kind == POSITIONS else 0
    kind = "classes" if kind == POSITIONS else kind
    if stated in _OF_REGRESSION:
        raise InputError(
            KEY, f"{stated!r}, but the task has classes; use logits or probabilities{_OF_REGRESSION[stated]}"
        )
    reading = walk(model)
    is_own = loss is not None and loss.example_loss is not None
    is_any = kind == "classes" and stated != PROBABILITIES and loss is not None and loss.reads_any
    if is_any and reading.activation == "sigmoid":
        reading = replace(reading, meaning=UNKNOWN)
    else:
        _refuse_parts(reading, kind, size)
    by_loss = (
        reads_logits(loss, size) if loss is not None and kind != "classes" else (loss.reads_logits if loss else None)
    )
    measured = measure_outputs(model, sample, classes_at) if reading.meaning == UNKNOWN else None
    found = reading.meaning if measured is None else _measured_meaning(measured, kind, size, is_any)
    because = reading.because if measured is None else f"measured: {measured.shown()}; {reading.because}"
    if stated != AUTO:
        if found not in (stated, UNKNOWN):
            raise InputError(KEY, f"'{stated}', but the model's outputs are {found} ({because}); {_remedy(found)}")
        if stated == PROBABILITIES and found == UNKNOWN:
            raise InputError(KEY, f"'{stated}', but outputs are {_range(measured)}, not from 0 to 1; use logits")
        if is_own and loss is not None and loss.reads_logits not in (None, stated == LOGITS):
            raise InputError(KEY, f"'{stated}', but the loss {loss.name} reads the other; change its from_logits")
        return Meaning(stated == LOGITS, f"{KEY} of the study")
    if by_loss is not None and loss is not None and _contradicts(found, by_loss, loss, is_own):
        return _refuse_contradiction(found, by_loss, loss, because)
    if found == UNKNOWN and not is_own and by_loss is not True:
        problem = f"the model's outputs are {_range(measured)} ({reading.because}): neither logits nor probabilities"
        ends = "a softmax" if kind == "classes" else "a sigmoid"
        raise InputError(KEY, f'{problem}; end in {ends} or without an activation, or set outputs = "logits"')
    if found == PROBABILITIES or (is_own and by_loss is False):
        return Meaning(False, because if found == PROBABILITIES else f"{because}; read as the loss does")
    return Meaning(True, because)


def refuse_unreachable(
    model: keras.Model, sample: ArrayTree, targets: tuple[float, float] | None, is_scaled: bool, said: str
) -> str:
    """Refuse a regression whose targets lie where the outputs cannot; return how the outputs were read."""
    reading = walk(model)
    if said == "quantities" or reading.activation == "linear" or targets is None:
        return f"{KEY} of the study" if said == "quantities" else reading.because
    measured = measure_outputs(model, sample)
    low, high = measured.bounds
    margin = REACH * (high - low if np.isfinite(high - low) else max(1.0, abs(low) if np.isfinite(low) else abs(high)))
    least, most = targets
    if np.isfinite([low, high]).any() and (least < low - margin or most > high + margin):
        problem = f"the model's outputs are {measured.shown()} ({reading.because}), but targets"
        scaled = ", standardized," if is_scaled else ""
        remedies = ["end in a layer without an activation", *(["remove data.scale_target"] if is_scaled else [])]
        remedy = f'{" or ".join(remedies)}, or set outputs = "quantities" in [training] if that is intended'
        raise InputError(KEY, f"{problem}{scaled} are from {least:.4g} to {most:.4g}; {remedy}")
    return f"measured: {measured.shown()}; {reading.because}"


def _refuse_parts(reading: Reading, kind: str, size: int) -> None:
    """Refuse an activation that does not fit the number of outputs."""
    if size == 1 and reading.activation == "softmax":
        message = "the model ends in a softmax over one output, which is always 1; use sigmoid or no activation"
        raise InputError(ARCHITECTURE, message)
    if kind == "labels" and reading.activation in ("softmax", "log_softmax"):
        raise InputError(ARCHITECTURE, _one_label(size, "ends in a softmax over"))
    if kind == "classes" and reading.activation == "sigmoid":
        raise InputError(ARCHITECTURE, _shares(size, "ends in a sigmoid over"))


def _shares(size: int, problem: str) -> str:
    return f"the model {problem} {size} outputs, which do not form a distribution; use softmax over the last axis"


def _one_label(size: int, problem: str) -> str:
    remedy = 'for targets with exactly one label per row set task = "multiclass" in [data]'
    return (
        f"the model {problem} {size} labels, which allows one label per row; use sigmoid or no activation, or {remedy}"
    )


def _measured_meaning(measured: Measured, kind: str, size: int, is_any: bool) -> str:
    """What measured outputs are: probabilities, logits, or unknown for others, such as the lengths of capsules.

    With `is_any` numbers from 0 to 1 of classes need not sum to 1: their loss takes them as they are.
    """
    is_single = size > 1 and (measured.is_distribution or measured.is_log_distribution)
    if kind == "labels" and is_single:
        raise InputError(ARCHITECTURE, _one_label(size, "has outputs that sum to 1 over"))
    if measured.is_in_unit:
        if kind == "classes" and not measured.is_distribution:
            if is_any:
                return UNKNOWN
            raise InputError(ARCHITECTURE, _shares(size, "has numbers from 0 to 1 in its"))
        if kind != "classes" and measured.low >= 1.0 - 1e-6:
            raise InputError(ARCHITECTURE, "the model's outputs are always 1; use sigmoid or no activation")
        return PROBABILITIES
    is_known = measured.is_free or (kind == "classes" and measured.is_log_distribution)
    return LOGITS if is_known else UNKNOWN


def _contradicts(found: str, by_loss: bool, loss: TrainedLoss, is_own: bool) -> bool:
    """True if the loss reads outputs as something else; squared errors of 0 and 1 may have any outputs."""
    if found == PROBABILITIES:
        return by_loss
    return not by_loss and (loss.reads_logits is False or not is_own)


def _refuse_contradiction(found: str, by_loss: bool, loss: TrainedLoss, because: str) -> Meaning:
    reads = LOGITS if by_loss else PROBABILITIES
    outputs = found if found != UNKNOWN else "neither"
    end = "end without an activation" if by_loss else "end in a sigmoid or softmax"
    change = f"compile it with from_logits={not by_loss}" if "crossentropy" in loss.name else end
    remedy = f'{change}, or set outputs = "{found}" in [training]'
    if found == UNKNOWN:
        remedy = "end in a sigmoid or softmax"
    raise InputError(KEY, f"the loss {loss.name} reads {reads}, but the outputs are {outputs} ({because}); {remedy}")


def _remedy(found: str) -> str:
    if found == LOGITS:
        return "end in a sigmoid or softmax, or remove the key"
    return "end without an activation, or remove the key"


def _range(measured: Measured | None) -> str:
    return measured.shown() if measured else "unknown"
