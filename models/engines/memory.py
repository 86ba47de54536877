"""What a device's memory allows and has taken, as far as the backend tells it."""

import logging
import sys
from dataclasses import dataclass
from typing import Any

import keras
import psutil

from nightune.models.data.placement import available_bytes, gibibytes
from nightune.models.training.reported_names import DEVICE_PEAK_MEMORY, PEAK_MEMORY

DATA_SHARE = 0.5  # of the room, for data that stays on the device: models, slots and activations need the rest


@dataclass(frozen=True)
class Room:
    """How many bytes a device has for data and models, and which device that is, in words."""

    size: int
    owner: str


def device_room() -> Room:
    """Return the memory of the accelerator that the backend computes on; on a CPU, what is free now."""
    limit = _accelerator_limit()
    return Room(available_bytes(), "free memory") if limit is None else Room(limit, "memory of the device")


def refusal_of_data(size: int) -> str | None:
    """Say why so many bytes of data cannot stay on the device; None where they can."""
    room = device_room()
    if size <= DATA_SHARE * room.size:
        return None
    return f"the data, {gibibytes(size)}, is more than half of the {gibibytes(room.size)} of {room.owner}"


def peaks() -> dict[str, float]:
    """The most memory that this process has taken so far, in MiB: its own, and of the device where that tells."""
    device = device_peak()
    own = {PEAK_MEMORY: host_peak() / 2**20}
    return own if device is None else {**own, DEVICE_PEAK_MEMORY: device / 2**20}


def host_peak() -> int:
    """The largest resident size of this process so far, in bytes; where the system keeps none, the present one."""
    memory = psutil.Process().memory_info()
    if hasattr(memory, "peak_wset"):  # Windows
        return int(memory.peak_wset)
    import resource  # noqa: PLC0415 - not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return max(int(memory.rss), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def device_peak() -> int | None:
    """The most bytes that the accelerator's allocator has held in this process; None where none tells."""
    if keras.backend.backend() == "jax":
        peak = (_jax_statistics() or {}).get("peak_bytes_in_use")
        return None if peak is None else int(peak)
    tensorflow = _tensorflow_with_gpu()
    return None if tensorflow is None else int(tensorflow.config.experimental.get_memory_info("GPU:0")["peak"])


def _accelerator_limit() -> int | None:
    if keras.backend.backend() == "jax":
        limit = (_jax_statistics() or {}).get("bytes_limit")
        return None if limit is None else int(limit)
    if _tensorflow_with_gpu() is None:
        return None
    # No public function tells how much a device has; this one lists all devices with their limits.
    from tensorflow.python.client import device_lib  # noqa: PLC0415 - only where TensorFlow has a GPU

    limits = [device.memory_limit for device in device_lib.list_local_devices() if device.device_type == "GPU"]
    return int(limits[0]) if limits else None


def _jax_statistics() -> dict[str, Any] | None:
    """The first device's numbers; CPUs have none."""
    import jax  # noqa: PLC0415 - only where it is the backend

    statistics: dict[str, Any] | None = jax.devices()[0].memory_stats()
    return statistics


def _tensorflow_with_gpu() -> Any | None:
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow  # noqa: PLC0415 - only where it is the backend

    return tensorflow if tensorflow.config.list_physical_devices("GPU") else None


MICRO_BATCH_SIZE = "micro_batch_size"  # the curve that tells of accumulation
logger = logging.getLogger("nightune")
_SAYINGS = ("resource_exhausted", "resource exhausted", "out of memory", "oom when allocating")


def is_out_of_memory(error: BaseException) -> bool:
    """True for Python's own error, TensorFlow's ResourceExhaustedError and JAX' RESOURCE_EXHAUSTED."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or any(saying in said for saying in _SAYINGS) or _is_tensorflows(error)


def _is_tensorflows(error: BaseException) -> bool:
    return type(error).__name__ == "ResourceExhaustedError"  # by name: TensorFlow need not be there


def warn_of_smaller_micro_batches(epoch: int, from_size: int, to_size: int) -> None:
    """Say that an epoch starts over."""
    logger.warning("out of memory with %d examples at once; epoch %d again with %d", from_size, epoch, to_size)
