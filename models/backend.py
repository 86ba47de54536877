"""Bring up Keras and its backend without their greetings."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any


@cache
def load_keras(compiled: Path | None = None) -> Any:
    """Import Keras with its backend, once. Takes seconds; what goes wrong raises as usual.

    In the folder `compiled` JAX keeps what it compiles, for the next process: reading back takes a tenth of the time.
    """
    with _native_noise_dropped():
        import keras  # noqa: PLC0415 - the point of this function

        if compiled is not None and keras.backend.backend() == "jax":
            from models.training.engine_jax import keep_compiled  # noqa: PLC0415 - only where JAX is the backend

            keep_compiled(compiled)
        keras.ops.convert_to_numpy(keras.ops.zeros(()))  # the devices are looked for at the first operation
    return keras


def devices() -> tuple[str, list[str]]:
    """Keras' backend, and the devices that it computes on."""
    keras = load_keras()
    return str(keras.backend.backend()), [str(device) for device in keras.distribution.list_devices()]


@contextmanager
def _native_noise_dropped() -> Iterator[None]:
    """Drop what native code writes to standard error: TensorFlow greets from C++, whatever its log level is.

    A fault here is an exception, and shows as such.
    """
    try:
        descriptor = sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):  # a stream without a file, in notebooks and tests
        yield
        return
    kept = os.dup(descriptor)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, descriptor)
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(nowhere)
        os.close(kept)
