"""Undocumented names of TensorFlow and JAX: the memory and the threads of devices."""

import os
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import metadata, util
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

    A number that the user has set takes precedence. No effect beside a GPU.
    """
    import tensorflow  # noqa: PLC0415 - only where it is the backend

    threading = tensorflow.config.threading
    is_free = TENSORFLOW_THREADS not in os.environ and not threading.get_intra_op_parallelism_threads()
    if is_free and not tensorflow.config.list_physical_devices("GPU"):
        with suppress(RuntimeError):  # the devices are initialized
            threading.set_intra_op_parallelism_threads(count)
    yield


@contextmanager
def jax_threads(count: int) -> Iterator[None]:
    """Let JAX, whose devices are initialized in the block, divide operations on a CPU between so many threads at most.

    Its client reads their number from an environment variable; one that the user has set takes precedence. No effect
    where JAX may use another device, whose client reads the variable, too.
    """
    if JAX_THREADS in os.environ or may_use_jax_plugin():
        yield
        return
    os.environ[JAX_THREADS] = str(count)
    try:
        yield
    finally:
        del os.environ[JAX_THREADS]


def may_use_jax_plugin() -> bool:
    """Return whether JAX may use another device than processors: a plugin is installed, and no setting leaves it out.

    JAX finds plugins as modules of a package without code, and by their entry points.
    """
    import jax  # noqa: PLC0415 - an extra: only where it is the backend

    if jax.config.jax_platforms == "cpu":  # type: ignore[attr-defined]
        return False
    package = util.find_spec("jax_plugins")
    folders = [] if package is None else package.submodule_search_locations
    return any(pkgutil.iter_modules(folders)) or bool(metadata.entry_points(group="jax_plugins"))
