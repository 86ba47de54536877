"""The meaning of a model's outputs by its graph: logits or probabilities, or unknown where a layer may do anything."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import activations, layers

from nightune.models.library_internals.models import is_part_of_keras, operation_of, sources_of

LOGITS, PROBABILITIES, UNKNOWN = "logits", "probabilities", "unknown"

# These return their values unchanged, possibly in another shape.
_CARRIERS = (layers.Reshape, layers.Flatten, layers.Identity)
_AFFINE = (layers.Dense, layers.EinsumDense)
_ACTIVATIONS = {"linear": LOGITS, "softmax": PROBABILITIES, "sigmoid": PROBABILITIES, "log_softmax": LOGITS}


@dataclass(frozen=True)
class Reading:
    """What outputs are, the activation that makes them so (empty if unknown), and why."""

    meaning: str
    activation: str
    because: str


def has_graph(model: keras.Model) -> bool:
    """True if the model is a graph of layers; False if its own code computes the outputs."""
    return bool(getattr(model, "outputs", None))


def walk(model: keras.Model) -> Reading:
    """Read the outputs' meaning from the last layers of the graph; unknown for all but Keras' dense layers,
    its linear, softmax, log-softmax and sigmoid activations, and layers after them that keep their values.
    """
    if not has_graph(model) or not is_part_of_keras(model):
        return Reading(UNKNOWN, "", f"{type(model).__name__} computes them by its own code")
    tensor = model.outputs[0]
    while True:
        operation = operation_of(tensor)
        name = _activation(operation, tensor, int(model.outputs[0].shape[-1] or 0))
        if name is not None:
            meaning = _ACTIVATIONS.get(name, UNKNOWN)
            return Reading(meaning, name if meaning != UNKNOWN else "", _why(operation, name))
        sources = sources_of(tensor)
        if len(sources) != 1:
            return Reading(UNKNOWN, "", "the model returns its inputs")
        tensor = sources[0]


def _activation(operation: Any, tensor: Any, size: int) -> str | None:
    """The activation of one layer or operation, None if it keeps its inputs' values, an empty name if unknown."""
    if not is_part_of_keras(operation) or isinstance(operation, keras.Model):
        return ""
    if isinstance(operation, _CARRIERS):
        return None
    if isinstance(operation, layers.Activation):
        name = _name_of(operation.activation)
        return None if name == "linear" else _of_all_outputs(name, tensor, size)
    if isinstance(operation, _AFFINE):
        is_free = operation.kernel_constraint is None and operation.bias_constraint is None
        return _of_all_outputs(_name_of(operation.activation), tensor, size) if is_free else ""
    kind = type(operation).__name__
    if kind in ("Softmax", "Sigmoid", "LogSoftmax"):  # layers.Softmax, and operations such as ops.softmax
        is_last = getattr(operation, "axis", -1) in (-1, len(tensor.shape) - 1)
        name = {"Softmax": "softmax", "Sigmoid": "sigmoid", "LogSoftmax": "log_softmax"}[kind]
        return _of_all_outputs(name, tensor, size) if is_last else ""
    return ""


def _of_all_outputs(name: str, tensor: Any, size: int) -> str:
    """The name, or an empty one for a softmax over parts of the outputs: the parts' sums are 1, not that of all."""
    is_over_parts = name in ("softmax", "log_softmax") and tensor.shape[-1] != size
    return "" if is_over_parts else name


def _name_of(activation: Any) -> str:
    """The name of Keras' own activation; empty for any other function, whatever it is called."""
    known = {name: getattr(activations, name) for name in _ACTIVATIONS}
    functions = {"softmax": keras.ops.softmax, "sigmoid": keras.ops.sigmoid, "log_softmax": keras.ops.log_softmax}
    if activation is None:
        return "linear"
    return next((name for each in (known, functions) for name, one in each.items() if activation is one), "")


def _why(operation: Any, name: str) -> str:
    layer = f"{type(operation).__name__} {getattr(operation, 'name', '')!r}"
    if not name:
        activation = str(getattr(getattr(operation, "activation", None), "__name__", ""))
        named = f" with {activation}" if activation.isidentifier() and activation != "linear" else ""
        return f"the graph ends in {layer}{named}"
    return f"{layer} has no activation" if name == "linear" else f"{layer} is a {name}"
