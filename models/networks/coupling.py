"""Whether the outputs of an example depend on the other examples of its batch: by the layers, or by a measurement."""

from typing import Any

import keras
import numpy as np

from nightune.models.library_internals.models import (
    all_layers,
    is_defined_by_keras,
    is_part_of_keras,
    operations_of,
    random_states,
    variables_kept,
)
from nightune.models.networks.isolated_random import isolated_random
from nightune.models.networks.noise import hashed_noise
from nightune.models.networks.output_ranges import disturbed
from nightune.models.serving.input_trees import ArrayTree, joined_rows, row_count, rows_of

# During training, an output of these layers depends on the other examples of the batch.
_COUPLING = (keras.layers.BatchNormalization, keras.layers.SpectralNormalization, keras.layers.Normalization)
# Keras' layers that treat each example by itself, unless their axis is that of the examples.
_BY_EXAMPLE = ("core", "activations", "attention", "convolutional", "pooling", "reshaping", "merging", "regularization")
_KNOWN = tuple(f"keras.src.layers.{folder}." for folder in (*_BY_EXAMPLE, "normalization", "rnn"))
MINIMUM_ROWS = 3  # of a sample: some that are kept, and two others in turn
_ROWS = 8  # that are kept while the others change
_APART = 1e-6  # of outputs computed in the same shape, relative to the largest
_APART_BY_SIZE = 1e-3  # in batches of different sizes, which round differently
_APART_IN_FEW_BITS = 5e-2  # the same in mixed precision


def is_separable(model: keras.Model, sample: ArrayTree) -> bool:
    """True if a batch's gradient is known to be the sum of its examples' gradients.

    Keras' own layers without coupling between examples are known to be so. Its operations (`ops.mean(x, axis=0)`) and
    functions of the user's in its layers are measured on the sample, a few training rows in the form of the model's
    inputs. Layers of the user's own may do anything with a batch: add losses, or keep a state.
    """
    return not any(map(_may_couple, all_layers(model))) and (
        is_known_by_example(model) or not depends_on_other_rows(model, sample, training=True)
    )


def normalizations_alone(model: keras.Model) -> list[Any]:
    """Return the BatchNormalization layers of a model whose examples depend on each other through these alone.

    Empty if anything else couples them or may do so. Layers inside of others that repeat them are not looked at.
    """
    layers = all_layers(model)
    found = [layer for layer in layers if type(layer) is keras.layers.BatchNormalization]
    rest = [layer for layer in layers if type(layer) is not keras.layers.BatchNormalization]
    is_alone = is_known_by_example(model) and not any(
        _may_couple(layer) or isinstance(layer, keras.layers.Wrapper) for layer in rest
    )
    are_plain = all(not layer.synchronized and layer.activity_regularizer is None for layer in found)
    return found if is_alone and are_plain else []


def predicts_rows_apart(model: keras.Model, sample: ArrayTree) -> bool:
    """True if in inference mode an example's outputs do not depend on the others: known, or measured on the sample."""
    return is_known_by_example(model) or not depends_on_other_rows(model, sample, training=False)


def is_known_by_example(model: keras.Model) -> bool:
    """True if the model consists of Keras' layers that compute the outputs of each example from its inputs alone."""
    layers = all_layers(model)
    return all(map(_is_known, layers)) and all(isinstance(each, keras.layers.Layer) for each in operations_of(model))


def depends_on_other_rows(model: keras.Model, sample: ArrayTree, *, training: bool) -> bool:
    """Measure whether outputs change with the other rows of a batch, or with their number; noise stays the same.

    In training mode this is also true of a model that changes a state, such as moving means. Too few rows to tell, and
    models that take no batch of another size, count as dependent. The model's variables are as before afterwards.
    """
    kept = min(_ROWS, row_count(sample) // MINIMUM_ROWS)
    if not kept:
        return True
    first, second, third = (rows_of(rows_of(sample, slice(part, None, 3)), slice(kept)) for part in range(3))
    weights = {id(variable) for variable in model.trainable_variables}
    streams = {id(variable) for variable in random_states(model)}
    generator = np.random.default_rng(0)
    pairs = ((first, second), (first, third), (second, first), (third, first), (first,))
    try:
        with isolated_random(), hashed_noise(), variables_kept(model) as before:
            values = [
                (each, disturbed(value, 1.0, generator) if id(each) in weights and value.dtype.kind == "f" else value)
                for each, value in before
            ]
            outputs = [_outputs(model, values, joined_rows(pair), training) for pair in pairs]
            states = [(variable, value) for variable, value in values if id(variable) not in streams]
            is_changed = training and not all(_is_equal(variable, value) for variable, value in states)
    except Exception:  # of the user's code, or of a fixed batch size: where it matters, training reports it
        return True
    by_size = _APART_BY_SIZE if model.compute_dtype == "float32" else _APART_IN_FEW_BITS
    before_second, before_third, after_second, after_third, alone = outputs
    return (
        is_changed
        or _differ(before_second[:kept], before_third[:kept], _APART)
        or _differ(after_second[kept:], after_third[kept:], _APART)
        or _differ(before_second[:kept], alone, by_size)
    )


def _may_couple(layer: Any) -> bool:
    """True for layers that couple, keep a state from batch to batch, or are the user's own."""
    return (
        not is_part_of_keras(layer)
        or isinstance(layer, _COUPLING)
        or bool(getattr(layer, "stateful", False))
        or getattr(layer, "activity_regularizer", None) is not None
    )


def _is_known(layer: Any) -> bool:
    if isinstance(layer, keras.Model):
        return is_part_of_keras(layer)
    module, functions = type(layer).__module__, [vars(layer).get(name) for name in ("activation", "function")]
    is_own = any(function is not None and not is_defined_by_keras(function) for function in functions)
    has_axis = any(_has_first_axis(getattr(layer, name, None)) for name in ("axis", "axes"))
    return f"{module}.".startswith(_KNOWN) and not is_own and not has_axis


def _has_first_axis(axis: Any) -> bool:
    """True if an axis is that of the examples, or may be: one that is counted from the end."""
    axes = [axis] if isinstance(axis, int) else axis if isinstance(axis, list | tuple) else ()
    return any(each == 0 or each < -1 for each in axes)


def _outputs(model: keras.Model, values: Any, rows: ArrayTree, training: bool) -> np.ndarray:
    """The outputs of rows, with given values of all variables, (rows, numbers) float64."""
    for variable, value in values:
        variable.assign(value)
    outputs: Any = keras.ops.convert_to_numpy(model(rows, training=training))
    return np.asarray(outputs, np.float64).reshape(row_count(rows), -1)


def _differ(one: np.ndarray, other: np.ndarray, apart: float) -> bool:
    finite = np.abs(one[np.isfinite(one)])
    return not np.allclose(one, other, rtol=0.0, atol=apart * float(finite.max(initial=1e-12)), equal_nan=True)


def _is_equal(variable: keras.Variable, value: np.ndarray) -> bool:
    return np.array_equal(keras.ops.convert_to_numpy(variable.value), value, equal_nan=value.dtype.kind == "f")
