"""What TensorFlow and JAX do not document of devices: how much memory they have."""

from typing import Any


def tensorflow_gpu_limits() -> list[int]:
    """Return how many bytes TensorFlow may take of each GPU; listing the devices is the only way to learn it."""
    from tensorflow.python.client import device_lib  # noqa: PLC0415 - only where TensorFlow has a GPU

    return [int(device.memory_limit) for device in device_lib.list_local_devices() if device.device_type == "GPU"]


def jax_memory_statistics() -> dict[str, Any]:
    """Return the numbers of the first device's allocator; empty for CPUs, which have none."""
    import jax  # noqa: PLC0415 - an extra: only where it is the backend

    return dict(jax.devices()[0].memory_stats() or {})
