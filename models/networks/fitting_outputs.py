"""Whether the outputs of a function's model are those that the data needs: of one head, or of several by name."""

from collections.abc import Mapping
from math import prod
from typing import Any

from nightune.models.data.dataset import OutputSize
from nightune.models.data.heads import of_head
from nightune.models.errors import InputError
from nightune.models.networks.fitting_inputs import refuse_other_inputs, refuse_other_outputs, take_one_output
from nightune.models.serving.input_trees import ShapeTree, batch_shape, zeros
from nightune.models.techniques.losses import MORE_OUTPUTS
from nightune.vocabulary import ARCHITECTURE as KEY

Shape = tuple[int | None, ...]


def fit_outputs(model: Any, input_shape: ShapeTree, output_size: OutputSize, training_inputs: Any) -> tuple[Any, Shape]:
    """Return a model and the shape of its outputs; of several heads a model with all in one row, and ().

    What is no model of Keras is returned as it is.
    """
    import keras  # noqa: PLC0415 - Keras takes seconds; a study is read without it

    from nightune.models.networks.own_methods import refuse_unused_methods  # noqa: PLC0415 - Keras

    if not isinstance(model, keras.Model):
        return model, ()
    if isinstance(output_size, dict):
        refuse_unused_methods(model)
        return _fitting_heads(model, input_shape, output_size, training_inputs), ()
    return model, _fitting_shape(model, input_shape)


def refuse_other_model(architecture: str, model: Any, shape: Shape, output_size: OutputSize) -> None:
    """Refuse what is no model of Keras, and outputs of another shape than the data's targets."""
    import keras  # noqa: PLC0415 - as above

    if not isinstance(model, keras.Model):
        raise InputError(KEY, f"{architecture} returned a {type(model).__name__}, not a Keras model")
    if isinstance(output_size, dict):
        _refuse_other_heads(architecture, model, output_size)
    else:
        _refuse_other_size(architecture, shape, output_size)


def _fitting_shape(model: Any, input_shape: ShapeTree) -> Shape:
    """Return the shape of the outputs for the data's inputs; a model without a graph is built with them."""
    from keras import Sequential  # noqa: PLC0415 - Keras

    from nightune.models.networks.output_shapes import output_shape  # noqa: PLC0415 - Keras
    from nightune.models.networks.output_walk import has_graph  # noqa: PLC0415 - Keras

    if isinstance(model, Sequential) and not model.built:
        model.build(batch_shape(input_shape))  # a call on examples would fix their number in its shape
    if has_graph(model):
        take_one_output(model)
        refuse_other_inputs(model, input_shape)
    return output_shape(model, zeros(input_shape))


def _fitting_heads(model: Any, input_shape: ShapeTree, sizes: Mapping[str, Any], training_inputs: Any) -> Any:
    """Return the model with the outputs of all heads in one row; a model without a graph is built by a call."""
    from nightune.models.networks.output_walk import has_graph  # noqa: PLC0415 - Keras
    from nightune.models.networks.packed_models import pack  # noqa: PLC0415 - Keras

    if has_graph(model):
        refuse_other_inputs(model, input_shape)
    else:
        model(zeros(input_shape))
    return pack(model, tuple(sizes), input_shape, training_inputs)


def _refuse_other_size(architecture: str, shape: Shape, size: int | tuple[int, ...]) -> None:
    """Refuse outputs of another shape than the targets'; of a row of numbers, two for two classes fit, too."""
    if isinstance(size, tuple):
        refuse_other_outputs(architecture, shape[1:], size)
    elif len(shape) != 2 or shape[1] not in ({1, 2} if size == 1 else {size}):
        expected = "(None, 1), or for two classes (None, 2)" if size == 1 else f"(None, {size})"
        problem = f"{architecture} returned a model with outputs {shape}; the data needs {expected}"
        raise InputError(KEY, problem + _remedy(shape, size))


def _remedy(shape: Shape, size: int) -> str:
    """Return what to change in the model or the study for outputs of this shape; empty where it is not known."""
    if len(shape) == 1:
        return "; end in layers.Reshape((1,))" if size == 1 else ""
    if len(shape) == 2:
        return f"; {MORE_OUTPUTS}" if size == 1 and (shape[1] or 0) > 2 else ""
    if prod(each or 0 for each in shape[1:]) == size:
        return "; end in layers.Flatten()"
    remedy = "; end in layers.Flatten(), layers.Dense(output_size)"
    if 1 < size == shape[1]:
        classes = f"if targets are a class at each of {size} positions"
        return f'{remedy}; {classes}, set task = "classification" in [data]'
    return remedy


def _refuse_other_heads(architecture: str, model: Any, sizes: Mapping[str, int | tuple[int, ...]]) -> None:
    """Refuse a head whose outputs have another shape than its targets, by its name."""
    from nightune.models.networks.packed_models import packing_of  # noqa: PLC0415 - Keras

    packing = packing_of(model)
    assert packing is not None  # `_fitting_heads` made it
    for name, shape in packing.shapes.items():
        try:
            _refuse_other_size(architecture, (None, *shape), sizes[name])
        except InputError as error:
            raise InputError(error.key, f"head {name!r}: {of_head(error.message, name)}") from error
