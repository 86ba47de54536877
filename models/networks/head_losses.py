"""The losses that a user's function compiled a model of several heads with, and their weights, by head."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from nightune.models.errors import InputError
from nightune.models.library_internals.models import compiled_loss, operation_of
from nightune.models.networks.packed_models import Packing
from nightune.vocabulary import ARCHITECTURE


@dataclass(frozen=True, eq=False)
class CompiledHeads:
    """The compiled loss of each head that has one, and the weights of losses; empty where none were given."""

    losses: Mapping[str, Any]
    weights: Mapping[str, float]

    def lacks(self, name: str) -> bool:
        """True if other heads have a compiled loss, and this one has none: Keras does not train it."""
        return bool(self.losses) and self.losses.get(name) is None

    def attach(self, view: keras.Model, name: str) -> None:
        """Compile a model of one head with the loss that its author compiled for it, if there is one."""
        if self.losses.get(name) is not None:
            view.compile(loss=self.losses[name])


def compiled_heads(packing: Packing) -> CompiledHeads:
    """Return what the author's model was compiled with, by head.

    A dictionary names the keys of the model's outputs or their layers, a list has their order, and one loss is that of
    all heads, as in Keras. InputError for other names, and for lists of another length.
    """
    given, weights = compiled_loss(packing.model)
    losses = {} if given is None else _by_head(given, packing, "losses")
    factors = {} if weights is None else _by_head(weights, packing, "loss_weights")
    for name, factor in factors.items():
        if factor is not None and (isinstance(factor, bool) or not isinstance(factor, int | float)):
            problem = f"the model is compiled with the weight {factor!r} of head {name!r}"
            raise InputError(ARCHITECTURE, f"{problem}; give a number")
    return CompiledHeads(losses, {name: float(factor) for name, factor in factors.items() if factor is not None})


def _by_head(given: Any, packing: Packing, what: str) -> dict[str, Any]:
    """Return the values by the names of the data's heads."""
    aliases = _aliases(packing)
    if isinstance(given, Mapping) and "class_name" not in given:
        unknown = next((name for name in given if name not in aliases), None)
        if unknown is not None:
            known = ", ".join(map(repr, packing.tensors))
            problem = f"the model is compiled with {what} of {unknown!r}, and its heads are {known}"
            raise InputError(ARCHITECTURE, f"{problem}; use their names")
        return {aliases[name]: value for name, value in given.items()}
    if isinstance(given, Sequence) and not isinstance(given, str):
        if len(given) != len(packing.places):
            problem = f"the model is compiled with {len(given)} {what} for {len(packing.places)} heads"
            raise InputError(ARCHITECTURE, f"{problem}; give one for each, or a dictionary by name")
        in_order = keras.tree.pack_sequence_as(_structure(packing), list(given))  # as Keras assigns them
        return {name: in_order[place] for name, place in packing.places.items()}
    return dict.fromkeys(packing.places, given)


def _structure(packing: Packing) -> Any:
    """Return something in the form of what the author's model returns."""
    places = list(packing.places.values())
    return dict.fromkeys(places, 0) if any(isinstance(place, str) for place in places) else [0] * len(places)


def _aliases(packing: Packing) -> dict[str, str]:
    """Return the heads by all their names: those of the data, of the model's dictionary, and of its output layers."""
    named = {name: name for name in packing.tensors}
    layers = {str(operation_of(tensor).name): name for name, tensor in packing.tensors.items()}
    places = {str(place): name for name, place in packing.places.items()}
    return {**layers, **places, **named}
