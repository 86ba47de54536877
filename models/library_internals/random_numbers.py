"""Undocumented names behind Keras' random functions: where layers and initializers find them, and their seeds."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def replacing_random_functions(functions: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
    """Replace functions that layers, initializers and `keras.random` draw with, by name, inside the block."""
    from keras.src import backend  # noqa: PLC0415 - Keras takes seconds

    before = {name: getattr(backend.random, name) for name in functions}
    for name, function in functions.items():
        setattr(backend.random, name, function)
    try:
        yield
    finally:
        for name, function in before.items():
            setattr(backend.random, name, function)


@contextmanager
def drawn_states() -> Iterator[list[Any]]:
    """Yield a list that gets the state of each seed generator that draws inside the block, also Keras' global one."""
    import keras  # noqa: PLC0415 - Keras takes seconds

    generator, states = keras.random.SeedGenerator, []
    before = generator.next

    def draw(self: Any, *given: Any, **options: Any) -> Any:
        states.append(self.state)
        return before(self, *given, **options)

    generator.next = draw
    try:
        yield states
    finally:
        generator.next = before


def draw_seed(seed: Any) -> Any:
    """Return two whole numbers as a tensor: the state of a seed generator, which advances, or a whole number and 0."""
    import keras  # noqa: PLC0415 - Keras takes seconds
    from keras.src import backend  # noqa: PLC0415

    is_drawn = seed is not None and not isinstance(seed, int | keras.random.SeedGenerator)
    return seed if is_drawn else backend.random.draw_seed(seed)
