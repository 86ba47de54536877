"""Architectures: functions from typed parameters to a Keras model, built in or in users' files.

The signature of a function defines keys of a study: each parameter is a key of [model]. `input_shape`, `output_size`,
`training_inputs` and `vocabulary_sizes` are given by the data. The outputs of built-in models are logits. Keras is
imported when a model is built.
"""

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from nightune.models.backend import import_tensorflow_if_installed
from nightune.models.data.dataset import OutputSize
from nightune.models.error_causes import cause_of, eager_remedy, users_line
from nightune.models.errors import InputError
from nightune.models.library_internals.models import mark_uncompiled
from nightune.models.networks.column_architectures import text, wide_deep
from nightune.models.networks.fitting_inputs import refuse_indices, refuse_several, shown_inputs
from nightune.models.networks.fitting_outputs import fit_outputs, refuse_other_model
from nightune.models.networks.isolated_random import isolated_random
from nightune.models.networks.layer_blocks import Activation, Dropout, Size, block, checked_sizes, last_layers
from nightune.models.networks.noise import hashed_noise
from nightune.models.networks.own_seeds import following_seed
from nightune.models.networks.parameter_keys import annotations, is_key, is_no_value, key_of
from nightune.models.networks.sequence_architecture import sequence
from nightune.models.serving.input_trees import ShapeTree, is_several, map_arrays
from nightune.models.techniques.keys import Key
from nightune.models.user_code import folder_on_path, is_reference, load_function
from nightune.vocabulary import ARCHITECTURE as KEY
from nightune.vocabulary import MODEL_PREFIX, unknown_name

GIVEN = ("input_shape", "output_size", "training_inputs", "vocabulary_sizes")
NO_VOCABULARIES: Mapping[str, int] = types.MappingProxyType({})


def mlp(
    input_shape: tuple[int, ...],
    output_size: OutputSize,
    units: Sequence[int] = (64,),
    activation: Activation = "relu",
    dropout: Dropout = 0.0,
    batch_normalization: bool = False,
) -> Any:
    """Return dense layers of these widths on the flattened input, with optional normalization and dropout."""
    from keras import Input, Sequential, layers  # noqa: PLC0415 - Keras takes seconds; a study is checked without it

    stack: list[Any] = [Input(input_shape)]
    if len(input_shape) != 1:
        stack.append(layers.Flatten())
    for width in checked_sizes("units", units):
        stack += block(layers.Dense(width, use_bias=not batch_normalization), activation, batch_normalization)
        stack += [layers.Dropout(dropout)] if dropout else []
    return Sequential([*stack, *last_layers(output_size)], name="mlp")


def cnn(  # noqa: PLR0913, PLR0917 - one argument per key of [model]
    input_shape: tuple[int, ...],
    output_size: OutputSize,
    filters: Sequence[int] = (16, 32),
    kernel_size: Size = 3,
    units: Sequence[int] = (),
    activation: Activation = "relu",
    dropout: Dropout = 0.0,
    batch_normalization: bool = False,
) -> Any:
    """Return convolutions with these numbers of filters, each halving the image, then dense layers as in `mlp`.

    Inputs are images (height, width, channels), series (steps, channels) or volumes with four dimensions.
    """
    from keras import Input, Sequential, layers  # noqa: PLC0415 - as above

    ranks = {2: (layers.Conv1D, layers.MaxPooling1D), 3: (layers.Conv2D, layers.MaxPooling2D)}
    ranks[4] = (layers.Conv3D, layers.MaxPooling3D)
    if len(input_shape) not in ranks:
        raise InputError(KEY, f"cnn needs images (height, width, channels), but an example has shape {input_shape}")
    convolution, pooling = ranks[len(input_shape)]
    stack: list[Any] = [Input(input_shape)]
    for count in checked_sizes("filters", filters):
        layer = convolution(count, kernel_size, padding="same", use_bias=not batch_normalization)
        stack += [*block(layer, activation, batch_normalization), pooling(2, padding="same")]
    stack += [layers.Flatten()]
    stack += [layers.Dropout(dropout)] if dropout else []
    for width in checked_sizes("units", units):
        stack += block(layers.Dense(width, use_bias=not batch_normalization), activation, batch_normalization)
        stack += [layers.Dropout(dropout)] if dropout else []
    return Sequential([*stack, *last_layers(output_size)], name="cnn")


ARCHITECTURES: dict[str, Callable[..., Any]] = {
    "mlp": mlp,
    "cnn": cnn,
    "text": text,
    "sequence": sequence,
    "wide_deep": wide_deep,
}


def architecture_keys(name: str, folder: Path) -> dict[str, Key]:
    """Return the parameters of an architecture as keys, in the order of its signature; InputError if it is unknown.

    The key of a parameter without a default has the default None: `build_model` refuses to build without a value.
    """
    function = _find(name, folder)
    hints = annotations(function)
    return {
        parameter.name: key_of(parameter, hints)
        for parameter in _parameters(function)
        if parameter.name not in GIVEN and is_key(parameter)
    }


def takes_any_parameter(name: str, folder: Path) -> bool:
    """Return whether an architecture's function has **kwargs, whose names are no keys; InputError if it is unknown."""
    parameters = inspect.signature(_find(name, folder)).parameters.values()
    return any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)


def build_model(  # noqa: PLR0913 - what a study sets, and what the data gives
    architecture: str,
    parameters: Mapping[str, Any],
    input_shape: ShapeTree,
    output_size: OutputSize,
    *,
    folder: Path,
    seed: int,
    training_inputs: Any = None,
    vocabulary_sizes: Mapping[str, int] = NO_VOCABULARIES,
    quantity_loss: str = "",
) -> Any:
    """Return a new Keras model with initial weights by the seed; what it was compiled with is left to the caller.

    `training_inputs` are those of the training split, for a function with this parameter, and `vocabulary_sizes` the
    numbers of different indices or codes of a table's columns of texts and codes. `quantity_loss` is the loss that the
    study states for quantities in a row: with a user's own, or `auto` and one that the function compiled, the model may
    have another number of outputs.

    Seeds that the function fixes are replaced by seeds that follow the given one (own_seeds.py).
    InputError gives the exception of the function, or the mismatch between its result and the data. Not thread-safe:
    Keras has one global seed. Other threads may draw random numbers at the same time.
    """
    import keras  # noqa: PLC0415 - as above

    from nightune.models.networks.own_methods import refuse_unused_methods  # noqa: PLC0415 - Keras

    function = _find(architecture, folder)
    refuse_indices(architecture, input_shape, vocabulary_sizes)
    refuse_several(architecture, input_shape, output_size)
    arguments = bound_arguments(
        architecture, parameters, input_shape, output_size, folder, _unchanging(training_inputs), vocabulary_sizes
    )
    code = (folder / architecture.rpartition(":")[0]).parent
    if is_reference(architecture):
        import_tensorflow_if_installed()
    try:
        with isolated_random(), folder_on_path(code) if is_reference(architecture) else nullcontext():
            keras.utils.set_random_seed(seed)
            with following_seed(seed), hashed_noise():
                made = function(*arguments.args, **arguments.kwargs)
                model, shape = fit_outputs(made, input_shape, output_size, training_inputs)
    except (InputError, MemoryError):
        raise
    except Exception as error:
        line, held = users_line(error, code), _held(input_shape, output_size)
        raised = f"{cause_of(error)}{f' ({line})' if line else ''}{held}{eager_remedy(error)}"
        raise InputError(KEY, f"{architecture} raised {raised}") from error
    refuse_other_model(architecture, model, shape, output_size, quantity_loss)
    refuse_unused_methods(model)
    mark_uncompiled(model)  # a compiled model is accepted, but its optimizer is not saved
    return model


def _held(input_shape: ShapeTree, output_size: OutputSize) -> str:
    """What a function may have missed: the data holds several inputs, or several targets."""
    held = f"; the data holds the inputs {shown_inputs(input_shape)}" if is_several(input_shape) else ""
    if isinstance(output_size, dict):
        several = ", ".join(map(repr, output_size))
        held += f"; the data holds the targets {several}: output_size is a dictionary, with an output for each"
    return held


def reads_training_inputs(architecture: str, folder: Path) -> bool:
    """Return whether the function of an architecture has a parameter for the inputs of the training split."""
    return any(parameter.name == "training_inputs" for parameter in _parameters(_find(architecture, folder)))


def _unchanging(inputs: Any) -> Any:
    """Return views of the arrays that cannot be written to: training reads the same memory."""

    def view(array: Any) -> Any:
        unchanging = array.view()
        unchanging.flags.writeable = False
        return unchanging

    return None if inputs is None else map_arrays(view, inputs)


def bound_arguments(
    architecture: str,
    parameters: Mapping[str, Any],
    input_shape: ShapeTree,
    output_size: OutputSize,
    folder: Path,
    training_inputs: Any = None,
    vocabulary_sizes: Mapping[str, int] = NO_VOCABULARIES,
) -> inspect.BoundArguments:
    """Return the arguments that `build_model` gives to the function; InputError names a wrong parameter."""
    given = dict(zip(GIVEN, (input_shape, output_size, training_inputs, dict(vocabulary_sizes)), strict=True))
    return _arguments(_find(architecture, folder), {**parameters, **given})


def _find(name: str, folder: Path) -> Callable[..., Any]:
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    if is_reference(name):
        return load_function(name, folder, KEY)
    known = unknown_name(name, ARCHITECTURES, "architecture")
    raise InputError(KEY, f"{known}; for your own function, use path/to/file.py:function")


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters that a study can set: all except *args and **kwargs."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError as error:
        raise InputError(KEY, f"{function!r} has no readable signature") from error
    unnamed = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    named = [parameter for parameter in parameters if parameter.kind not in unnamed]
    if any(parameter.name == "architecture" for parameter in named):
        raise InputError(KEY, "a parameter named 'architecture' conflicts with the key model.architecture; rename it")
    return named


def _arguments(function: Callable[..., Any], values: Mapping[str, Any]) -> inspect.BoundArguments:
    parameters, hints = _parameters(function), annotations(function)
    names = [parameter.name for parameter in parameters]
    for name in values:
        if name not in names and name not in GIVEN:
            raise InputError(f"{MODEL_PREFIX}{name}", unknown_name(name, [name for name in names if name not in GIVEN]))
    chosen = {parameter.name: values[parameter.name] for parameter in parameters if parameter.name in values}
    for parameter in parameters:
        if parameter.default is inspect.Parameter.empty and chosen.get(parameter.name) is None:
            raise InputError(f"{MODEL_PREFIX}{parameter.name}", f"missing; {function.__name__}() has no default for it")
        if is_no_value(chosen.get(parameter.name), parameter, hints):
            chosen[parameter.name] = None
    return inspect.BoundArguments(inspect.signature(function), chosen)
