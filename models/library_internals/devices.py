"""Undocumented names of TensorFlow and JAX: the memory of devices."""

from typing import Any


def tensorflow_gpu_limits() -> list[int]:
    """Return how many bytes of each GPU TensorFlow may allocate; only the list of devices contains them."""
    from tensorflow.python.client import device_lib  # noqa: PLC0415 - only where TensorFlow has a GPU

    return [int(device.memory_limit) for device in device_lib.list_local_devices() if device.device_type == "GPU"]


def jax_memory_statistics() -> dict[str, Any]:
    """Return the allocator statistics of the first device; empty for CPUs, which have none."""
    import jax  # noqa: PLC0415 - an extra: only where it is the backend

    return dict(jax.devices()[0].memory_stats() or {})
