"""Undocumented names of TensorFlow and JAX: the memory and the threads of devices."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

TENSORFLOW_THREADS, JAX_THREADS = "TF_NUM_INTRAOP_THREADS", "NPROC"


def tensorflow_gpu_limits() -> list[int]:
    """Return how many bytes of each GPU TensorFlow may allocate; only the list of devices contains them."""
    from tensorflow.python.client import device_lib  # noqa: PLC0415 - only where TensorFlow has a GPU

    return [int(device.memory_limit) for device in device_lib.list_local_devices() if device.device_type == "GPU"]


def jax_memory_statistics() -> dict[str, Any]:
    """Return the allocator statistics of the first device; empty for CPUs, which have none."""
    import jax  # noqa: PLC0415 - an extra: only where it is the backend

    return dict(jax.devices()[0].memory_stats() or {})


@contextmanager
def tensorflow_threads(count: int) -> Iterator[None]:
    """Let TensorFlow, whose devices are initialized in the block, divide operations between so many threads at most.

    A number that the user has set takes precedence.
    """
    import tensorflow  # noqa: PLC0415 - only where it is the backend

    threading = tensorflow.config.threading
    if TENSORFLOW_THREADS not in os.environ and not threading.get_intra_op_parallelism_threads():
        with suppress(RuntimeError):  # the devices are initialized
            threading.set_intra_op_parallelism_threads(count)
    yield


@contextmanager
def jax_threads(count: int) -> Iterator[None]:
    """Let JAX, whose devices are initialized in the block, divide operations on a CPU between so many threads at most.

    Its client reads their number from an environment variable; one that the user has set takes precedence.
    """
    if JAX_THREADS in os.environ:
        yield
        return
    os.environ[JAX_THREADS] = str(count)
    try:
        yield
    finally:
        del os.environ[JAX_THREADS]
