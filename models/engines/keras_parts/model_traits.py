"""Traits of a Keras model that decide how it can be computed: separable, noisy, with convolutions."""

from typing import Any

import keras

from nightune.models.library_internals.models import all_layers, is_part_of_keras, random_states

# In these an example's output, in training, depends on the other examples of its batch.
_COUPLING = (keras.layers.BatchNormalization, keras.layers.SpectralNormalization, keras.layers.Normalization)


def is_separable(model: keras.Model) -> bool:
    """True if a batch's gradient is the sum of its examples', as far as that is known: Keras' own layers, uncoupled.

    Of other layers it is not known what they make of a batch.
    """
    return all(
        is_part_of_keras(layer)
        and not isinstance(layer, _COUPLING)
        and getattr(layer, "activity_regularizer", None) is None
        for layer in all_layers(model)
    )


def is_noisy(model: keras.Model) -> bool:
    """True if random numbers are drawn in training: dropout, noise, augmentation."""
    return bool(random_states(model))


def has_convolutions(model: keras.Model) -> bool:
    """True for models that XLA on a CPU computes slowly inside loops (openxla/xla#34273)."""
    return any("Conv" in type(layer).__name__ for layer in all_layers(model))


def dropout_layers(model: keras.Model) -> list[Any]:
    return [layer for layer in all_layers(model) if isinstance(layer, keras.layers.Dropout)]
