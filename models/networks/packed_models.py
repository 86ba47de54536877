"""A model of several heads as one whose outputs are those of all heads, in one row for each example.

Engines, checks and metrics see one array of outputs, as they see one array of targets. Only Keras' own layers are
added, without weights, so that the weights of both models are the same, in the same order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

from nightune.models.errors import InputError
from nightune.models.library_internals.models import all_layers, has_mask, is_part_of_keras
from nightune.models.networks.output_walk import has_graph
from nightune.models.networks.own_methods import TRAINING, own_methods
from nightune.models.serving.input_trees import ArrayTree, ShapeTree, is_several, named_arrays, zeros
from nightune.vocabulary import ARCHITECTURE as KEY

Shape = tuple[int | None, ...]
_ATTRIBUTE = "nightune_packing"


@dataclass(frozen=True, eq=False)
class Packing:
    """The heads of a packed model in the order of its outputs: the author's model, and the outputs of each head.

    `places` are the keys of the heads in what the author's model returns: names, or places in a list.
    """

    model: keras.Model
    inputs: Any
    tensors: Mapping[str, Any]
    places: Mapping[str, str | int]

    @property
    def shapes(self) -> dict[str, Shape]:
        """The shape of an example's outputs of each head."""
        return {name: tuple(tensor.shape[1:]) for name, tensor in self.tensors.items()}

    def view(self, name: str) -> keras.Model:
        """Return a model of one head, which shares the weights."""
        return keras.Model(self.inputs, self.tensors[name])


def packing_of(model: Any) -> Packing | None:
    """Return the heads of a packed model; None for a model of one output."""
    found: Packing | None = getattr(model, _ATTRIBUTE, None)
    return found


def plain_model(model: Any) -> Any:
    """Return the author's model of a packed one, with the same weights; any other as it is."""
    packing = packing_of(model)
    return model if packing is None else packing.model


def described_outputs(model: Any, description: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of a version whose outputs are logits, of a model that is not settled yet."""
    packing = packing_of(model)
    if packing is None:
        return {**description, "is_logits": True}
    heads: list[dict[str, Any]] = []
    start, known_heads = 0, {each["name"]: each for each in description["heads"]}
    for each in (known_heads[name] for name in packing.tensors):
        shape = packing.shapes[each["name"]]
        size = int(each["output_size"]) if None in shape else int(np.prod(np.asarray(shape, np.int64)))
        place, columns = packing.places[each["name"]], [start, start + size]
        heads.append({**each, "is_logits": True, "place": place, "outputs_at": columns})
        start += size
    return {**description, "heads": heads, "output_size": start}


def pack(
    model: keras.Model, names: Sequence[str], input_shape: ShapeTree, training_inputs: ArrayTree | None = None
) -> keras.Model:
    """Return the model with all its outputs in one row, in its own order of them; InputError if it has others.

    Names are those of the dictionary that the model returns, or of the outputs of a list. A list is taken in order for
    targets that have no names but their places. A model of its author's class takes the types of the training inputs.
    """
    own = own_methods(model, (*TRAINING, "test_step", "compile"))
    if own:
        remedy = "remove it, and set loss and loss_weights in [training], or return one target"
        raise InputError(KEY, f"the model has {own[0]} of its own, and several heads are trained without it; {remedy}")
    _refuse_masks(model, model.output if has_graph(model) else model(zeros(input_shape)))
    is_plain = has_graph(model) and is_part_of_keras(model)
    packed = _packed(model, names, model.input, model.output) if is_plain else None
    if packed is None or not _has_same_variables(packed, model):
        inputs = _inputs(input_shape, training_inputs)
        packed = _packed(model, names, inputs, model(inputs))
    if not _has_same_variables(packed, model):
        raise InputError(KEY, "the model's variables are in another order once it is called; return a functional model")
    return packed


def held_outputs(model: keras.Model, outputs: Any) -> dict[str, tuple[str | int, Any]]:
    """Return the outputs by name, each with its key or place in what the model returns."""
    if isinstance(outputs, dict):
        return {str(name): (name, each) for name, each in outputs.items()}
    if isinstance(outputs, list | tuple):
        known = list(getattr(model, "output_names", ())) if has_graph(model) else []
        named = known if len(set(known)) == len(outputs) else [str(place) for place in range(len(outputs))]
        return {name: (place, each) for place, (name, each) in enumerate(zip(named, outputs, strict=True))}
    return {"": ("", outputs)}


def _packed(model: keras.Model, names: Sequence[str], inputs: Any, outputs: Any) -> keras.Model:
    held = _fitting(held_outputs(model, outputs), names, isinstance(outputs, list | tuple))
    # In the model's own order, in which Keras lists its layers: those of the packed model are then listed alike.
    order = [id(each) for each in keras.tree.flatten(outputs)]
    tensors = dict(
        sorted(((name, each) for name, (_, each) in held.items()), key=lambda pair: order.index(id(pair[1])))
    )
    dtype = keras.config.dtype_policy().variable_dtype  # a loss of mixed precision is computed in that of the weights
    used = {layer.name for layer in all_layers(model)}
    flat = [
        layers.Flatten(dtype=dtype, name=_free(f"head_{place}", used))(each)
        for place, each in enumerate(tensors.values())
    ]
    joined = layers.Concatenate(dtype=dtype, name=_free("heads", used))(flat)
    packed = keras.Model(inputs, joined, name=model.name)
    places = {name: place for name, (place, _) in held.items()}
    setattr(packed, _ATTRIBUTE, Packing(model, inputs, tensors, places))
    return packed


def _fitting(
    held: Mapping[str, tuple[str | int, Any]], names: Sequence[str], is_list: bool
) -> dict[str, tuple[str | int, Any]]:
    """Return the outputs in the order of the data's heads; InputError with both lists for other names."""
    are_places = list(names) == [str(place) for place in range(len(names))]
    if are_places and is_list and len(held) == len(names):
        return dict(zip(names, held.values(), strict=True))
    if set(held) != set(names):
        has = f"the outputs {', '.join(map(repr, held))}" if list(held) != [""] else "one output"
        both = f"the model has {has}, and the data the targets {', '.join(map(repr, names))}"
        example = ", ".join(f"{name!r}: …" for name in names)
        remedy = f"return a dictionary of outputs by the names of the targets, keras.Model(inputs, {{{example}}})"
        if list(held) == [""]:
            remedy += ", or for a loss of your own that reads all targets return these as one array or list of columns"
        raise InputError(KEY, f"{both}; {remedy}")
    wrong = next((name for name in names if not hasattr(held[name][1], "shape")), None)
    if wrong is not None:
        raise InputError(KEY, f"the model's output {wrong!r} is several itself; return one tensor for each target")
    return {name: held[name] for name in names}


def _refuse_masks(model: keras.Model, outputs: Any) -> None:
    """Refuse heads whose steps have a mask: Keras' losses leave masked steps out, and packed outputs have none."""
    masked = next((name for name, (_, each) in held_outputs(model, outputs).items() if has_mask(each)), None)
    if masked is not None:
        problem = f"head {masked!r} has a mask of its steps, which the losses of several heads do not read"
        remedy = "end in keras.ops.multiply(outputs, 1.0) to train all steps; leave steps out by ignore_class in [data]"
        remedy += " of a class at each position, or in a loss of your own"
        raise InputError(KEY, f"{problem}; {remedy}")


def _inputs(shape: ShapeTree, training_inputs: ArrayTree | None) -> Any:
    given = zeros(shape) if training_inputs is None else training_inputs
    types = {name: str(array.dtype) for name, array in named_arrays(given)}
    made = {name: keras.Input(each, name=name or None, dtype=types[name]) for name, each in named_arrays(shape)}
    if not is_several(shape):
        return made[""]
    return made if isinstance(shape, dict) else list(made.values())


def _free(name: str, used: set[str]) -> str:
    while name in used:
        name = f"{name}_"
    return name


def _has_same_variables(packed: keras.Model, model: keras.Model) -> bool:
    pairs = ((packed.variables, model.variables), (packed.weights, model.weights))
    return all([id(each) for each in one] == [id(each) for each in other] for one, other in pairs)
