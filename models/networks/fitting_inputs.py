"""Compare the inputs and outputs of a model with those that the data holds: names or number, and shapes."""

from collections.abc import Iterable, Mapping
from typing import Any

from nightune.models.errors import InputError
from nightune.models.library_internals.models import return_tensor, take_in_order
from nightune.models.serving.input_trees import ShapeTree, arrays_of, is_several, named_arrays
from nightune.models.user_code import is_reference
from nightune.vocabulary import ARCHITECTURE as KEY

Shape = tuple[int | None, ...]
OF_COLUMNS = ("text", "wide_deep")  # built-in architectures that take columns of texts and codes


def refuse_several(architecture: str, shape: ShapeTree, size: Any) -> None:
    """Refuse several heads, and several inputs, for a built-in architecture, which has one head and takes one array."""
    if isinstance(size, dict) and not is_reference(architecture):
        held = f"{architecture} has one head, and the data holds the targets {_listed(size)}"
        remedy = "set architecture to a function of your own, path/to/file.py:function, or return one of them as y"
        raise InputError(KEY, f"{held}; {remedy}")
    if is_several(shape) and not is_reference(architecture) and architecture not in OF_COLUMNS:
        remedy = "return one array, or set architecture to a function of your own, path/to/file.py:function"
        held = f"{architecture} takes one array, and the data holds the inputs {shown_inputs(shape)}"
        raise InputError(KEY, f"{held}; {remedy}")


def refuse_indices(architecture: str, shape: ShapeTree, vocabulary_sizes: Mapping[str, int]) -> None:
    """Refuse indices of words and codes for a built-in architecture that takes an array of numbers."""
    if not vocabulary_sizes or is_reference(architecture) or architecture in OF_COLUMNS:
        return
    named = ", ".join(map(repr, vocabulary_sizes))
    held = f"{architecture} takes one array of numbers, and [data] makes {named} indices of words or codes"
    of_text = 'architecture = "text", ' if any(map(len, _of_columns(shape, vocabulary_sizes))) else ""
    own = "set architecture to a function of your own, path/to/file.py:function"
    raise InputError(KEY, f'{held}; set {of_text}architecture = "wide_deep", or {own}')


def _of_columns(shape: ShapeTree, names: Iterable[str]) -> list[tuple[int, ...]]:
    """Return the shapes of columns of texts and codes."""
    return [shape[name] for name in names] if isinstance(shape, dict) else arrays_of(shape)


def refuse_other_inputs(model: Any, shape: ShapeTree) -> None:
    """Refuse a model with a graph whose inputs are not those of the data; arrays in order are taken in order.

    A dictionary of arrays goes to inputs by the keys of the model's dictionary, or else by the names of its Input
    layers, as Keras does it.
    """
    if isinstance(shape, tuple):
        _refuse_more(model, shape)
        _refuse_shape("", tuple(model.input_shape[1:]), shape)
    elif isinstance(shape, dict):
        _refuse_one_array(model, shape)
        _refuse_other_names(model, shape)
    else:
        _refuse_other_order(model, shape)
        if isinstance(getattr(model, "input", None), dict):
            take_in_order(model)


def _refuse_other_names(model: Any, shape: dict[str, tuple[int, ...]]) -> None:
    wanted = _named(model)
    if set(wanted) != set(shape):
        both = f"the model takes the inputs {_listed(wanted)}, and the data holds {_listed(shape)}"
        remedy = "give arrays and Input layers (or the keys of the model's dictionary of inputs) the same names"
        raise InputError(KEY, f"{both}; {remedy}")
    for name, each in shape.items():
        _refuse_shape(name, wanted[name], each)


def _refuse_other_order(model: Any, shape: list[tuple[int, ...]]) -> None:
    if len(model.inputs) != len(shape):
        both = f"the model takes {len(model.inputs)} inputs, and the data holds a list of {len(shape)} arrays"
        raise InputError(KEY, f"{both}; return one array for each input")
    named = getattr(model, "input", None)
    if isinstance(named, dict) and list(named) != sorted(named):
        both = f"the model names its inputs {_listed(named)}, and the data holds arrays without names"
        raise InputError(KEY, f"{both}; return a dictionary with these names")
    for place, (tensor, have) in enumerate(zip(model.inputs, shape, strict=True)):
        _refuse_shape(str(place), tuple(tensor.shape[1:]), have)


def take_one_output(model: Any) -> None:
    """Make a model of a dictionary of one output return the output; refuse several outputs."""
    held = getattr(model, "output", None)
    if len(model.outputs) != 1:
        names = f" ({_listed(held)})" if isinstance(held, dict) else ""
        remedy = (
            "return the one for the target, join quantities by layers.Concatenate(), or return targets by name from "
            'the source: {"a": …, "b": …}'
        )
        raise InputError(KEY, f"the model has {len(model.outputs)} outputs{names}, and one is trained; {remedy}")
    if isinstance(held, dict):
        return_tensor(model)


def refuse_other_outputs(architecture: str, shape: Shape, wanted: tuple[int, ...]) -> None:
    """Refuse outputs of another shape than that of the targets, apart from a last axis of 1, as Keras' losses do."""
    plain, plainly = ((*each[:-1],) if each and each[-1] == 1 else each for each in (shape, wanted))
    if len(plain) != len(plainly) or any(have not in (None, want) for have, want in zip(plain, plainly, strict=True)):
        expected = f"(None, {', '.join(map(str, wanted))})"
        problem = f"{architecture} returned a model with outputs {(None, *shape)}; the data needs {expected}"
        remedy = (
            "end in layers that give it, or for a loss of your own with other outputs return targets (rows, numbers)"
        )
        raise InputError(KEY, f"{problem}, the shape of its targets; {remedy}")


def shown_inputs(shape: ShapeTree) -> str:
    """Return the names of several inputs with their shapes."""
    return ", ".join(f"{name!r} {each}" for name, each in named_arrays(shape))


def _refuse_more(model: Any, shape: ShapeTree) -> None:
    """Refuse a model of several inputs for one array."""
    if len(model.inputs) != 1:
        both = f"the model has {len(model.inputs)} inputs, and the data holds one array of shape {shape}"
        remedy = "return a dictionary of arrays as x, by the names of the model's inputs"
        raise InputError(KEY, f"{both}; {remedy} ({_listed(_named(model))})")


def _refuse_one_array(model: Any, shape: ShapeTree) -> None:
    """Refuse arrays by name for a Sequential and a model of one tensor, of which Keras would warn at every call."""
    if not isinstance(getattr(model, "input", None), dict | list | tuple):
        both = f"the model takes one array, and the data holds {shown_inputs(shape)}"
        remedy = "return the array itself as x, or build keras.Model with a dictionary of Input layers"
        raise InputError(KEY, f"{both}; {remedy}")


def _named(model: Any) -> dict[str, Shape]:
    """Return the shapes of an example of each input, by the names that a dictionary of arrays may have."""
    held = getattr(model, "input", None)  # a Sequential that was never called has none
    if not isinstance(held, dict):
        return {tensor.name: tuple(tensor.shape[1:]) for tensor in model.inputs}
    nested = next((name for name, each in held.items() if not hasattr(each, "shape")), None)
    if nested is not None:
        raise InputError(
            KEY, f"the model's input {nested!r} is several itself; give the model one dictionary of inputs"
        )
    return {name: tuple(tensor.shape[1:]) for name, tensor in held.items()}


def _refuse_shape(name: str, wanted: Shape, have: tuple[int, ...]) -> None:
    """Refuse examples of another shape; Keras adds or removes a last axis of 1 for models of several inputs."""
    longer, shorter = (have, wanted) if len(have) > len(wanted) else (wanted, have)
    compared = (wanted, have)
    if name and len(longer) == len(shorter) + 1 and longer[-1] == 1:
        compared = (wanted[: len(shorter)], have[: len(shorter)])
    if len(compared[0]) != len(compared[1]) or any(
        want not in (None, had) for want, had in zip(*compared, strict=True)
    ):
        of_input = f" as input {name!r}" if name else ""
        raise InputError(KEY, f"the model takes examples of shape {wanted}{of_input}, but the data's have {have}")


def _listed(names: Any) -> str:
    return ", ".join(map(repr, names))
