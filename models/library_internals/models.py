"""Undocumented names of Keras' models and layers: nested layers, the origin of a tensor, seeds."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

# Attributes of a model that `compile` sets.
SET_BY_COMPILE = ("loss", "optimizer", "_compile_loss", "_compile_metrics", "_compile_config", "_loss_tracker")


def all_layers(model: Any) -> list[Any]:
    """Return the model and every layer inside it, at any depth; the public `layers` returns the first level only."""
    return list(model._flatten_layers())


def operations_of(model: Any) -> list[Any]:
    """Return the layers and other operations in the graphs of a model and of the models inside it."""
    return [each for layer in all_layers(model) for each in getattr(layer, "operations", ())]


def is_part_of_keras(layer: Any) -> bool:
    """Return True for Keras' own layers, False for a user's subclass of one."""
    return is_defined_by_keras(type(layer))


def is_defined_by_keras(value: Any) -> bool:
    """Return True for Keras' own classes and functions."""
    return str(getattr(value, "__module__", "")).startswith("keras.src.")


def operation_of(tensor: Any) -> Any:
    """Return the layer or operation that produced a symbolic tensor."""
    return tensor._keras_history.operation


def sources_of(tensor: Any) -> list[Any]:
    """Return the input tensors of the call that produced a symbolic tensor."""
    operation, node_index, _ = tensor._keras_history
    return list(operation._inbound_nodes[node_index].input_tensors)


def all_sources_of(operation: Any) -> list[Any]:
    """Return the input tensors of all calls of a layer or operation."""
    return [tensor for node in operation._inbound_nodes for tensor in node.input_tensors]


def random_states(model: Any) -> list[Any]:
    """Return the state variables of a model's random streams: dropout, noise, augmentation."""
    return [variable for variable in model.variables if variable.name == "seed_generator_state"]


def default_seeds(seed: int, count: int) -> Iterator[int]:
    """Yield the seeds that Keras draws after `set_random_seed(seed)`, without using Python's global generator."""
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


@contextmanager
def variables_kept(model: Any) -> Iterator[list[tuple[Any, np.ndarray]]]:
    """Yield a model's variables with their values, and assign these again at the end of the block."""
    before = [(variable, np.array(variable)) for variable in model.variables]
    try:
        yield before
    finally:
        for variable, value in before:
            variable.assign(value)


def has_mask(tensor: Any) -> bool:
    """Return whether a layer has attached a mask to a tensor, by which Keras' losses weigh its steps."""
    from keras.src.backend.common.masking import get_keras_mask  # noqa: PLC0415 - Keras takes seconds

    return get_keras_mask(tensor) is not None


@contextmanager
def random_states_kept(model: Any) -> Iterator[None]:
    """Keep a model's random streams at their places: recurrent layers draw masks for predictions, which use none."""
    before = [(variable, np.array(variable)) for variable in random_states(model)]
    try:
        yield
    finally:
        for variable, value in before:
            variable.assign(value)


def is_compiled(model: Any) -> bool:
    """Return whether a model's `compile` was called, with whatever arguments."""
    return bool(model.compiled)


def take_in_order(model: Any) -> None:
    """Make a graph of layers that takes a dictionary of inputs take a list of them, in the order of `inputs`."""
    model._inputs_struct = list(model.inputs)


def return_tensor(model: Any) -> None:
    """Make a graph of layers that returns a dictionary or a list of one output return this output."""
    model._outputs_struct = model.outputs[0]


def mark_uncompiled(model: Any) -> None:
    """Exclude the arguments of `compile` from the saved model."""
    model.compiled = False


def compiled_loss(model: Any) -> tuple[Any, Any]:
    """Return the loss and the weights of losses that a model was compiled with, as given; None for each that is not."""
    compiled = getattr(model, "_compile_loss", None)
    if compiled is not None:
        return compiled._user_loss, compiled._user_loss_weights
    config = getattr(getattr(model, "_compile_config", None), "config", {})  # of a compilation without a loss
    return None, config.get("loss_weights")


def compiled_metrics(model: Any) -> list[Any]:
    """Return the metrics that a model was compiled with, as given, in one list."""
    compiled = getattr(model, "_compile_metrics", None)
    return [] if compiled is None else _flat([compiled._user_metrics, compiled._user_weighted_metrics])


def _flat(given: Any) -> list[Any]:
    if isinstance(given, dict | list | tuple):
        parts = given.values() if isinstance(given, dict) else given
        return [metric for each in parts for metric in _flat(each)]
    return [] if given is None else [given]


def discard_train_function(model: Any) -> None:
    """Make `fit` trace the training step again: backends other than TensorFlow treat variables' values as constants."""
    model.train_function = None


def compiles_with_xla(model: Any) -> bool:
    """Return True if `fit` compiles a model's steps with XLA, after "auto" is resolved."""
    return bool(model.jit_compile)
