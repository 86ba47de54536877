"""Properties of a Keras model that decide how it can be computed: separable, noisy, with convolutions."""

from typing import Any

import keras

from nightune.models.library_internals.models import all_layers, is_part_of_keras, random_states

# During training, an output of these layers depends on the other examples of the batch.
_COUPLING = (keras.layers.BatchNormalization, keras.layers.SpectralNormalization, keras.layers.Normalization)


def is_separable(model: keras.Model) -> bool:
    """True if a batch's gradient is known to be the sum of its examples' gradients.

    That is known for Keras' own layers without coupling between examples; other layers may do anything with a batch.
    """
    return all(
        is_part_of_keras(layer)
        and not isinstance(layer, _COUPLING)
        and getattr(layer, "activity_regularizer", None) is None
        for layer in all_layers(model)
    )


def predicts_rows_apart(model: keras.Model) -> bool:
    """True if in inference mode an example's outputs are known not to depend on the others: Keras' own layers alone."""
    return all(is_part_of_keras(layer) for layer in all_layers(model))


def is_noisy(model: keras.Model) -> bool:
    """True if training draws random numbers: dropout, noise, augmentation."""
    return bool(random_states(model))


def has_convolutions(model: keras.Model) -> bool:
    """True for models that are slow inside loops compiled by XLA for a CPU (openxla/xla#34273)."""
    return any("Conv" in type(layer).__name__ for layer in all_layers(model))


def dropout_layers(model: keras.Model) -> list[Any]:
    """Return all Dropout layers of the model, at any depth."""
    return [layer for layer in all_layers(model) if isinstance(layer, keras.layers.Dropout)]
