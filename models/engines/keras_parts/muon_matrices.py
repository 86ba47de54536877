"""Choose the weights that Muon orthogonalizes: matrix kernels of hidden layers. Adam updates all others."""

import re
from typing import Any

import keras

from nightune.models.library_internals.models import all_sources_of, operation_of


def exclude_from_muon(optimizer: Any, model: keras.Model, kernels: list[keras.Variable]) -> list[str]:
    """Configure Keras' Muon, before it is built, to leave some matrices to Adam; return their paths.

    They are the kernels of output layers, embeddings, and biases with two dimensions (GRU's).
    """
    last = {id(variable) for variable in _output_kernels(model)}
    chosen = {id(variable) for variable in kernels if id(variable) not in last}
    matrices = [variable for variable in model.trainable_variables if len(variable.shape) == 2]
    excluded = [variable.path for variable in matrices if id(variable) not in chosen]
    optimizer.exclude_layers = [f"^{re.escape(path)}$" for path in excluded]
    return excluded


def _output_kernels(model: keras.Model) -> list[keras.Variable]:
    """Return the weights of the layers nearest to the outputs, or the last matrix of a model without a graph."""
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
        else:  # for example an activation: continue with its inputs
            left += [operation_of(tensor) for tensor in all_sources_of(operation)]
    return found
