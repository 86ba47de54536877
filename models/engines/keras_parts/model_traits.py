"""Traits of a Keras model that decide how it can be computed: separable, noisy, with convolutions."""

from typing import Any

import keras

# In these an example's output, in training, depends on the other examples of its batch.
_COUPLING = (keras.layers.BatchNormalization, keras.layers.SpectralNormalization, keras.layers.Normalization)


def is_separable(model: keras.Model) -> bool:
    """True if a batch's gradient is the sum of its examples', as far as that is known: Keras' own layers, uncoupled.

    Of other layers it is not known what they make of a batch.
    """
    layers = model._flatten_layers()  # Keras has no public walk to the layers inside layers
    return all(
        type(layer).__module__.startswith("keras.src.")
        and not isinstance(layer, _COUPLING)
        and getattr(layer, "activity_regularizer", None) is None
        for layer in layers
    )


def is_noisy(model: keras.Model) -> bool:
    """True if random numbers are drawn in training: dropout, noise, augmentation."""
    return any(variable.name == "seed_generator_state" for variable in model.variables)


def has_convolutions(model: keras.Model) -> bool:
    """True for models that XLA on a CPU computes slowly inside loops (openxla/xla#34273)."""
    return any("Conv" in type(layer).__name__ for layer in model._flatten_layers())


def dropout_layers(model: keras.Model) -> list[Any]:
    return [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Dropout)]
