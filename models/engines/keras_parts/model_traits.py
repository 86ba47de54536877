"""Properties of a Keras model that decide how it can be computed: noisy, with convolutions, with dropout."""

from typing import Any

import keras

from nightune.models.library_internals.models import all_layers, random_states


def is_noisy(model: keras.Model) -> bool:
    """True if training draws random numbers: dropout, noise, augmentation."""
    silent = {id(layer.seed_generator.state) for layer in all_layers(model) if _has_idle_generator(layer)}
    return any(id(state) not in silent for state in random_states(model))


def has_convolutions(model: keras.Model) -> bool:
    """True for models that are slow inside loops compiled by XLA for a CPU (openxla/xla#34273)."""
    return any("Conv" in type(layer).__name__ for layer in all_layers(model))


def dropout_layers(model: keras.Model) -> list[Any]:
    """Return all Dropout layers of the model, at any depth."""
    return [layer for layer in all_layers(model) if isinstance(layer, keras.layers.Dropout)]


def _has_idle_generator(layer: Any) -> bool:
    """True for the cells of recurrent layers without dropout, which have a generator and never draw."""
    rates = [getattr(layer, name, None) for name in ("dropout", "recurrent_dropout")]
    return rates == [0.0, 0.0] and hasattr(layer, "seed_generator")
