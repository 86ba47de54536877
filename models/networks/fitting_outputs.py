"""Whether the outputs of a function's model are those that the data needs: of one head, or of several by name."""

from collections.abc import Mapping
from math import prod
from typing import Any

from nightune.models.data.dataset import OutputSize
from nightune.models.data.heads import of_head
from nightune.models.errors import InputError
from nightune.models.networks.fitting_inputs import refuse_other_inputs, refuse_other_outputs, take_one_output
from nightune.models.serving.input_trees import ShapeTree, batch_shape, zeros
from nightune.models.techniques.losses import AUTO, MORE_OUTPUTS
from nightune.models.user_code import is_reference
from nightune.vocabulary import ARCHITECTURE as KEY

Shape = tuple[int | None, ...]
END = "end in layers.Dense(output_size)"
OWN_LOSS_OF_CLASSES = (
    'for a loss of your own with other outputs, such as thresholds between grades, set task = "regression" in [data]'
)
OF_HEAD = (
    'for quantiles of one target set loss = "pinball" and quantiles = [0.1, …] in [training]; for parameters of a '
    "distribution return the target once for each output, such as np.repeat(y[:, None], 2, axis=1)"
)
OWN_LOSS = (
    'for outputs that are no quantities of the target set loss = "path/to/file.py:function" in [training], a function '
    "of (y_true, y_pred) of your own"
)


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


def refuse_other_model(
    architecture: str, model: Any, shape: Shape, output_size: OutputSize, quantity_loss: str = ""
) -> None:
    """Refuse what is no model of Keras, and outputs of another shape than the data's targets.

    A user's own loss of quantities, stated or compiled, reads any number of outputs in a row.
    """
    import keras  # noqa: PLC0415 - as above

    if not isinstance(model, keras.Model):
        raise InputError(KEY, f"{architecture} returned a {type(model).__name__}, not a Keras model")
    if isinstance(output_size, dict):
        _refuse_other_heads(architecture, model, output_size)
    elif not (len(shape) == 2 and shape[1] and _has_own_loss(model, quantity_loss)):
        _refuse_other_size(architecture, shape, output_size, "quantities" if quantity_loss else "classes")


def _has_own_loss(model: Any, quantity_loss: str) -> bool:
    """Return whether a user's own loss compares outputs with quantities."""
    from nightune.models.networks.compiled_losses import has_own_loss  # noqa: PLC0415 - Keras

    return is_reference(quantity_loss) or (quantity_loss == AUTO and has_own_loss(model))


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


def _refuse_other_size(architecture: str, shape: Shape, size: int | tuple[int, ...], what: str) -> None:
    """Refuse outputs of another shape than the targets'; of a row of numbers, two for two classes fit, too."""
    if isinstance(size, tuple):
        refuse_other_outputs(architecture, shape[1:], size)
    elif len(shape) != 2 or shape[1] not in ({1, 2} if size == 1 and what != "quantities" else {size}):
        expected = f"(None, {size}){', or for two classes (None, 2)' if size == 1 and what != 'quantities' else ''}"
        problem = f"{architecture} returned a model with outputs {shape}; the data needs {expected}"
        raise InputError(KEY, problem + _remedy(shape, size, what))


def _remedy(shape: Shape, size: int, what: str) -> str:
    """Return what to change in the model or the study for outputs of this shape."""
    if len(shape) == 1:
        return "; end in layers.Reshape((1,))" if size == 1 else f"; {END}"
    if len(shape) == 2:
        return f"; {_remedy_of_row(size, what)}"
    if prod(each or 0 for each in shape[1:]) == size:
        return "; end in layers.Flatten()"
    remedy = "; end in layers.Flatten(), layers.Dense(output_size)"
    if 1 < size == shape[1]:
        classes = f"if targets are a class at each of {size} positions"
        return f'{remedy}; {classes}, set task = "classification" in [data]'
    return remedy


def _remedy_of_row(size: int, what: str) -> str:
    """Return what to change for outputs in a row of another number."""
    if what == "classes":
        return f"{END}, or {OWN_LOSS_OF_CLASSES}"
    if size == 1:
        return MORE_OUTPUTS if what == "quantities" else OF_HEAD
    return f"{END}, or {OWN_LOSS}" if what == "quantities" else "end in layers.Dense with as many outputs"


def _refuse_other_heads(architecture: str, model: Any, sizes: Mapping[str, int | tuple[int, ...]]) -> None:
    """Refuse a head whose outputs have another shape than its targets, by its name."""
    from nightune.models.networks.packed_models import packing_of  # noqa: PLC0415 - Keras

    packing = packing_of(model)
    assert packing is not None  # `_fitting_heads` made it
    for name, shape in packing.shapes.items():
        try:
            _refuse_other_size(architecture, (None, *shape), sizes[name], "a head")
        except InputError as error:
            raise InputError(error.key, f"head {name!r}: {of_head(error.message, name)}") from error
