"""Which weights Muon orthogonalizes: the kernels of hidden layers that are matrices. Adam moves all others."""

import re
from typing import Any

import keras

from nightune.models.library_internals.models import all_sources_of, operation_of


def exclude_from_muon(optimizer: Any, model: keras.Model, kernels: list[keras.Variable]) -> list[str]:
    """Tell Keras' Muon, before it is built, what to leave to Adam; return the paths of those that are matrices.

    They are the kernels of the layers that give the outputs, embeddings, and biases with two dimensions (GRU's).
    """
    last = {id(variable) for variable in _output_kernels(model)}
    chosen = {id(variable) for variable in kernels if id(variable) not in last}
    matrices = [variable for variable in model.trainable_variables if len(variable.shape) == 2]
    excluded = [variable.path for variable in matrices if id(variable) not in chosen]
    optimizer.exclude_layers = [f"^{re.escape(path)}$" for path in excluded]
    return excluded


def _output_kernels(model: keras.Model) -> list[keras.Variable]:
    """The weights of the layers nearest to the outputs; of a model that does not show its graph, the last matrix."""
    outputs = getattr(model, "outputs", None)
    if not outputs:
        return [variable for variable in model.trainable_variables if len(variable.shape) == 2][-1:]
    found: list[keras.Variable] = []
    left, seen = [operation_of(output) for output in outputs], set()
    while left:
        operation = left.pop()
        if id(operation) in seen:
            continue
        seen.add(id(operation))
        if isinstance(operation, keras.Model):
            found += _output_kernels(operation)
        elif matrices := [each for each in getattr(operation, "trainable_variables", ()) if len(each.shape) >= 2]:
            found += matrices
        else:  # an activation, say: what it is computed from
            left += [operation_of(tensor) for tensor in all_sources_of(operation)]
    return found
