"""Undocumented details of TensorFlow: how it numbers the functions that a trace makes."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def functions_numbered_from(first: int) -> Iterator[None]:
    """Number the functions that are traced inside the block from a first number on.

    By default TensorFlow continues one count of everything in the process. The numbers are part of the names of loops
    and branches, and these are part of the keys of kept programs. Numbers below 2⁴⁰ may be TensorFlow's own.
    """
    from tensorflow.python.framework import ops  # noqa: PLC0415 - TensorFlow takes seconds

    ops.get_default_graph()  # the first trace of a process would create and number it
    before, numbers = ops.uid, itertools.count(first)
    ops.uid = lambda: next(numbers)
    try:
        yield
    finally:
        ops.uid = before
