"""Python's random generator for one thread alone, while a model is built.

Keras takes its seeds from the generator of the module `random`, which all threads share: one that draws meanwhile (a
connection's ping, a wait before another try) would shift them, and the model would begin with other weights.
"""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def drawing_alone() -> Iterator[None]:
    """Let what the block draws from the module `random` depend on its generator's state at the start alone.

    Other threads draw from the shared generator as ever. It ends in the state that the block's own draws led to. Not
    for several threads at a time.
    """
    lone, thread = random.Random(), threading.get_ident()
    lone.setstate(random.getstate())
    shared = {name: value for name, value in vars(random).items() if _is_drawn_from(value)}

    def chosen(name: str) -> Callable[..., Any]:
        own, others = getattr(lone, name), shared[name]

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
        random.setstate(lone.getstate())


def _is_drawn_from(value: Any) -> bool:
    return isinstance(getattr(value, "__self__", None), random.Random)
