"""What Keras does not document of models and layers: the layers inside layers, the way back from a tensor, seeds."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def all_layers(model: Any) -> list[Any]:
    """Return the model and every layer inside it, at any depth; the public `layers` ends at the first."""
    return list(model._flatten_layers())


def is_part_of_keras(layer: Any) -> bool:
    """True for a layer of Keras' own; a subclass in a user's file is not."""
    return type(layer).__module__.startswith("keras.src.")


def operation_of(tensor: Any) -> Any:
    """Return the layer or operation that made a symbolic tensor."""
    return tensor._keras_history.operation


def sources_of(tensor: Any) -> list[Any]:
    """Return the tensors that a symbolic tensor was computed from, in the call that made it."""
    operation, node_index, _ = tensor._keras_history
    return list(operation._inbound_nodes[node_index].input_tensors)


def all_sources_of(operation: Any) -> list[Any]:
    """Return the tensors that a layer or operation was called with, in all its calls."""
    return [tensor for node in operation._inbound_nodes for tensor in node.input_tensors]


def random_states(model: Any) -> list[Any]:
    """Return the variables that hold the states of a model's random streams: dropout, noise, augmentation."""
    return [variable for variable in model.variables if variable.name == "seed_generator_state"]


def default_seeds(seed: int, count: int) -> Iterator[int]:
    """Yield the seeds that Keras takes after `set_random_seed(seed)`, without touching Python's global generator."""
    generator = random.Random(seed)
    for _ in range(count):
        yield generator.randint(1, int(1e9))


@contextmanager
def replacing_fixed_seeds(replaced: Callable[[int], int]) -> Iterator[None]:
    """Replace the whole numbers that Keras draws from as seeds, inside the block, by a function of them.

    All initializers and functions of `keras.random` pass their seed to one function; seed generators keep theirs.
    """
    import keras  # noqa: PLC0415 - Keras takes seconds
    from keras.src import backend  # noqa: PLC0415

    draw, begin = backend.random.draw_seed, keras.random.SeedGenerator.__init__

    def draw_seed(seed: Any) -> Any:
        return draw(replaced(seed) if isinstance(seed, int) else seed)

    def begin_generator(self: Any, seed: Any = None, *values: Any, **options: Any) -> None:
        begin(self, replaced(seed) if isinstance(seed, int) else seed, *values, **options)

    backend.random.draw_seed, keras.random.SeedGenerator.__init__ = draw_seed, begin_generator
    try:
        yield
    finally:
        backend.random.draw_seed, keras.random.SeedGenerator.__init__ = draw, begin


def mark_uncompiled(model: Any) -> None:
    """Have a compiled model saved without the settings that it was compiled with."""
    model.compiled = False


def discard_train_function(model: Any) -> None:
    """Have `fit` trace the training step again: backends other than TensorFlow bake values of variables into it."""
    model.train_function = None


def compiles_with_xla(model: Any) -> bool:
    """True if `fit` compiles the steps of a compiled model with XLA, after "auto" is settled."""
    return bool(model.jit_compile)
