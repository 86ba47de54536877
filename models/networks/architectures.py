"""Architectures: functions from typed parameters to a Keras model, built in or in users' files.

The signature of a function defines keys of a study: each parameter is a key of [model]. `input_shape`, `output_size`,
`training_inputs` and `vocabulary_sizes` are given by the data. The outputs of built-in models are logits. Keras is
imported when a model is built.
"""

import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

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
from nightune.models.networks.sequence_architecture import sequence
from nightune.models.serving.input_trees import ShapeTree, is_several, map_arrays
from nightune.models.techniques.keys import NO_VALUE, Key, NoValue
from nightune.models.user_code import folder_on_path, is_reference, load_function
from nightune.vocabulary import ARCHITECTURE as KEY
from nightune.vocabulary import MODEL_PREFIX, KeyKind, unknown_name

GIVEN = ("input_shape", "output_size", "training_inputs", "vocabulary_sizes")
NO_VOCABULARIES: Mapping[str, int] = types.MappingProxyType({})
UNIONS = (typing.Union, types.UnionType)  # int | None, Optional[int]


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
    hints = _hints(function)
    return {
        parameter.name: _key_of(parameter, hints)
        for parameter in _parameters(function)
        if parameter.name not in GIVEN and _is_plain(_plain(parameter.default))
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
) -> Any:
    """Return a new Keras model with initial weights by the seed; what it was compiled with is left to the caller.

    `training_inputs` are those of the training split, for a function with this parameter, and `vocabulary_sizes` the
    numbers of different indices or codes of a table's columns of texts and codes.

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
    refuse_other_model(architecture, model, shape, output_size)
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


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations, with string annotations resolved if possible: each alone, as others may name what is missing."""
    source: Any = function.__init__ if inspect.isclass(function) else function
    scope, hints = getattr(inspect.unwrap(source), "__globals__", {}), dict[str, Any]()
    for name, hint in getattr(source, "__annotations__", {}).items():
        with suppress(NameError, TypeError, AttributeError, SyntaxError):
            hints |= typing.get_type_hints(types.SimpleNamespace(__annotations__={name: hint}), scope, None, True)
    return hints


def _key_of(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> Key:
    hint = hints.get(parameter.name, parameter.annotation)
    is_unknown = hint in (inspect.Parameter.empty, Any, object) or isinstance(hint, str)
    if is_unknown and parameter.default is None:
        hint = str | None  # the default alone tells no type: a text is not excluded
    return _as_key(hint, _plain(parameter.default))


def _as_key(hint: Any, default: Any) -> Key:
    """Return the key of a parameter. If it may be None, that is "none" in a study, unless it may be a text as well."""
    if typing.get_origin(hint) is Annotated:
        stated = [note for note in hint.__metadata__ if isinstance(note, Key)]
        return replace(stated[0], default=default) if stated else _as_key(hint.__origin__, default)
    alternatives = [*_alternatives(hint)]
    others = [each for each in alternatives if each is not types.NoneType]
    if others and len(others) < len(alternatives):
        key = _as_key(typing.Union[tuple(others)], default)  # noqa: UP007 - of types that are known at run time
        return replace(key, no_value=_no_value(key, others))
    if typing.get_origin(hint) is Literal:
        return Key("option", default, options=typing.get_args(hint))
    if hint is inspect.Parameter.empty and default is not None:
        hint = type(default)
    if hint is float or set(alternatives) == {int, float}:
        return Key("float", float(default) if isinstance(default, int) else default)
    kinds: dict[Any, KeyKind] = {bool: "boolean", int: "integer"}
    return Key(kinds.get(hint, "any"), default)


def _alternatives(hint: Any) -> Iterator[Any]:
    """Yield the types of a union, also of one that is written as a literal: Literal["a", None]."""
    if typing.get_origin(hint) in UNIONS:
        for each in typing.get_args(hint):
            yield from _alternatives(each)
    elif typing.get_origin(hint) is Literal and None in typing.get_args(hint):
        values = tuple(each for each in typing.get_args(hint) if each is not None)
        yield from (*([Literal[values]] if values else []), types.NoneType)
    else:
        yield hint


def _no_value(key: Key, others: Sequence[Any]) -> NoValue:
    """Return what "none" is of a parameter that may be None, or of these types."""
    if NO_VALUE in (key.default, *key.options):
        return "text"
    return "unclear" if key.kind == "any" and any(map(_may_be_text, others)) else "None"


def _may_be_text(hint: Any) -> bool:
    if typing.get_origin(hint) is Annotated:
        return _may_be_text(hint.__origin__)
    if typing.get_origin(hint) is Literal:
        return NO_VALUE in typing.get_args(hint)
    kind = typing.get_origin(hint) or hint
    return not isinstance(kind, type) or kind in (Any, object) or issubclass(kind, str)


def _is_plain(value: Any) -> bool:
    """True for values that a study file can contain; parameters with other defaults are not keys."""
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, bool | int | float | str)


def _plain(default: Any) -> Any:
    if default is inspect.Parameter.empty:
        return None
    return [_plain(item) for item in default] if isinstance(default, list | tuple) else default


def _arguments(function: Callable[..., Any], values: Mapping[str, Any]) -> inspect.BoundArguments:
    parameters, hints = _parameters(function), _hints(function)
    names = [parameter.name for parameter in parameters]
    for name in values:
        if name not in names and name not in GIVEN:
            raise InputError(f"{MODEL_PREFIX}{name}", unknown_name(name, [name for name in names if name not in GIVEN]))
    chosen = {parameter.name: values[parameter.name] for parameter in parameters if parameter.name in values}
    for parameter in parameters:
        if parameter.default is inspect.Parameter.empty and chosen.get(parameter.name) is None:
            raise InputError(f"{MODEL_PREFIX}{parameter.name}", f"missing; {function.__name__}() has no default for it")
        value = chosen.get(parameter.name)  # also an array: the training inputs
        if isinstance(value, str) and value == NO_VALUE and _key_of(parameter, hints).no_value == "None":
            chosen[parameter.name] = None
    return inspect.BoundArguments(inspect.signature(function), chosen)
