"""Freeze layers of a model, by names or patterns, for the first phase of a training, and unfreeze them for the second.

As in Keras' guide to transfer learning: `trainable = False` of a layer holds for all layers inside of it, none of its
weights changes, and batch normalization inside of it computes in inference mode.
"""

from collections import defaultdict
from collections.abc import Sequence
from fnmatch import fnmatchcase

import keras

from nightune.models.errors import InputError
from nightune.models.library_internals.models import all_layers, is_part_of_keras
from nightune.models.networks.packed_models import plain_model
from nightune.models.techniques.losses import FREEZE, TrainingSettings
from nightune.vocabulary import listing, unknown_name


def set_phase(model: keras.Model, training: TrainingSettings, *, is_fine_tuning: bool) -> None:
    """Let a new model train what a phase trains; without `training.freeze` it stays as it is.

    In the first phase the matching layers are frozen. In the second one they are as the model's function made them, or
    trainable if it froze them. InputError for names that match nothing, and for a phase that trains nothing.
    """
    if not training.frozen:
        return
    for layer in _matching(model, training.frozen):
        if not is_fine_tuning:
            layer.trainable = False
        elif not layer.trainable:
            layer.trainable = True
    if not model.trainable_weights:
        problem = f"{list(training.frozen)} freezes all weights of the model, and nothing would be trained"
        raise InputError(FREEZE, f"{problem}; name fewer layers ({listing(_names(model))})")


def try_phases(model: keras.Model, training: TrainingSettings) -> int:
    """Return the number of parameters that are frozen in the first phase; the model changes.

    InputError if the layers that a study names cannot be frozen, or trained later.
    """
    if not training.frozen:
        return 0
    layers = _matching(model, training.frozen)
    if not any(layer.trainable_weights or not layer.trainable for layer in layers):
        problem = f"{list(training.frozen)} matches layers whose weights no training changes; name others"
        raise InputError(FREEZE, f"{problem} ({listing(_names(model))}), or remove the key")
    set_phase(model, training, is_fine_tuning=False)
    if training.second_phase:
        set_phase(model, training, is_fine_tuning=True)
    return sum(layer.count_params() for layer in layers)


def _matching(model: keras.Model, patterns: Sequence[str]) -> list[keras.layers.Layer]:
    """Return the outermost layers that match one of the patterns; InputError for one that matches no weights."""
    names = _names(model)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            bare = [each.name for each in _inside(model) if fnmatchcase(each.name, pattern)]
            problem = f"{pattern!r} matches layers without weights ({', '.join(bare)})" if bare else ""
            raise InputError(FREEZE, problem or unknown_name(pattern, names, "layer"))
    found = {
        id(layer): layer
        for name, layers in names.items()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
        for layer in layers
    }
    inner = {id(each) for layer in found.values() for each in all_layers(layer)[1:]}
    return [layer for layer in found.values() if id(layer) not in inner]


def _names(model: keras.Model) -> dict[str, list[keras.layers.Layer]]:
    """Return the layers with weights by their names; in classes of their author also by those of attributes."""
    names: dict[str, list[keras.layers.Layer]] = defaultdict(list)
    weighted = {id(layer): layer for layer in _inside(model) if layer.weights}
    for layer in weighted.values():
        names[layer.name].append(layer)
    for owner in all_layers(plain_model(model)):
        for attribute, value in [] if is_part_of_keras(owner) else list(vars(owner).items()):
            if id(value) in weighted and attribute != value.name and not attribute.startswith("_"):
                names[attribute].append(value)
    return names


def _inside(model: keras.Model) -> list[keras.layers.Layer]:
    return all_layers(plain_model(model))[1:]
