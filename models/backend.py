"""Bring up Keras and its backend without their greetings."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from pathlib import Path
from typing import Any

from nightune.models.heavy_imports import lasting_imports

_JAX_MEMORY = ("XLA_PYTHON_CLIENT_PREALLOCATE", "XLA_PYTHON_CLIENT_MEM_FRACTION", "XLA_CLIENT_MEM_FRACTION")


@cache
def load_keras(compiled: Path | None = None) -> Any:
    """Import Keras with its backend, once. Takes seconds; what goes wrong raises as usual.

    In the folder `compiled` JAX keeps what it compiles, for the next process: reading back takes a tenth of the time.
    """
    # JAX would take three quarters of a GPU's memory at once; what the user says of it comes first.
    if not any(name in os.environ for name in _JAX_MEMORY):
        os.environ[_JAX_MEMORY[0]] = "false"
    with _native_noise_dropped(), lasting_imports():
        import keras  # noqa: PLC0415 - the point of this function

        # On any backend: Keras would import it with the first seed that it is given, in the first trial.
        with suppress(ImportError) if keras.backend.backend() != "tensorflow" else nullcontext():
            import tensorflow  # noqa: PLC0415 - as Keras

            if keras.backend.backend() == "tensorflow":
                let_memory_grow(tensorflow)
        if compiled is not None and keras.backend.backend() == "jax":
            keep_compiled(compiled)
        keras.ops.convert_to_numpy(keras.ops.zeros(()))  # the devices are looked for at the first operation
    return keras


def let_memory_grow(tensorflow: Any) -> None:
    """Have TensorFlow take a GPU's memory as it needs it, not all of it at once; before it first uses the GPU."""
    if "TF_FORCE_GPU_ALLOW_GROWTH" in os.environ:  # the user has said how
        return
    for gpu in tensorflow.config.list_physical_devices("GPU"):
        with suppress(RuntimeError):  # in use already, by a program that this is a part of
            tensorflow.config.experimental.set_memory_growth(gpu, True)


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


def keep_compiled(folder: Path) -> None:
    """Keep what XLA compiles in a folder, for other processes; everything, however small."""
    import jax  # noqa: PLC0415 - an extra: only where it is the backend

    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    # Else the folder's path is a part of each program's key, and a store that is moved compiles all anew.
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
