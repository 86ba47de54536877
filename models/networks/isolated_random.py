"""Isolate Python's random generator for one thread while a model is built.

Keras draws its seeds from the generator of the module `random`, which all threads share. Draws of other threads at the
same time (a ping of a connection, a random delay before a retry) would change the initial weights of the model.
"""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def isolated_random() -> Iterator[None]:
    """Make the block's draws from the module `random` independent of other threads.

    Other threads use the shared generator. At the end, it is set to the state after the block's own draws. Only one
    thread at a time may use this.
    """
    isolated, thread = random.Random(), threading.get_ident()
    isolated.setstate(random.getstate())
    shared = {name: value for name, value in vars(random).items() if _is_drawn_from(value)}

    def chosen(name: str) -> Callable[..., Any]:
        own, others = getattr(isolated, name), shared[name]

        def draw(*values: Any, **options: Any) -> Any:
            return (own if threading.get_ident() == thread else others)(*values, **options)

        return draw

    for name in shared:
        setattr(random, name, chosen(name))
    try:
        yield
    finally:
        for name, value in shared.items():
            setattr(random, name, value)
        random.setstate(isolated.getstate())


def _is_drawn_from(value: Any) -> bool:
    return isinstance(getattr(value, "__self__", None), random.Random)
