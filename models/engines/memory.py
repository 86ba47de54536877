"""The size and the peak use of device memory, if the backend reports them."""

import logging
import sys
from dataclasses import dataclass
from typing import Any

import keras
import psutil

from nightune.models.data.placement import available_bytes, gibibytes
from nightune.models.library_internals.devices import jax_memory_statistics, tensorflow_gpu_limits
from nightune.models.training.reported_names import DEVICE_PEAK_MEMORY, PEAK_MEMORY

DATA_SHARE = 0.5  # share of memory for data on the device; models, slots and activations need the rest


@dataclass(frozen=True)
class Room:
    """The memory of a device in bytes, and the words for it in messages."""

    size: int
    owner: str


def device_room() -> Room:
    """Return the memory of the backend's accelerator, or the free memory of the host without one."""
    limit = _accelerator_limit()
    return Room(available_bytes(), "free memory") if limit is None else Room(limit, "memory of the device")


def refusal_of_data(size: int) -> str | None:
    """Return why data of this size in bytes cannot stay on the device; None if it can."""
    room = device_room()
    if size <= DATA_SHARE * room.size:
        return None
    return f"the data, {gibibytes(size)}, is more than half of the {gibibytes(room.size)} of {room.owner}"


def peaks() -> dict[str, float]:
    """Return the peak memory of this process in MiB, and that of the device if it reports one."""
    device = device_peak()
    own = {PEAK_MEMORY: host_peak() / 2**20}
    return own if device is None else {**own, DEVICE_PEAK_MEMORY: device / 2**20}


def host_peak() -> int:
    """Return the peak resident size of this process in bytes; the current size if the system keeps no peak."""
    memory = psutil.Process().memory_info()
    peak = getattr(memory, "peak_wset", None)  # on Windows
    if peak is not None:
        return int(peak)
    import resource  # noqa: PLC0415 - not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return max(int(memory.rss), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def device_peak() -> int | None:
    """Return the peak of the accelerator's allocator in bytes; None if it reports none."""
    if keras.backend.backend() == "jax":
        peak = jax_memory_statistics().get("peak_bytes_in_use")
        return None if peak is None else int(peak)
    tensorflow = _tensorflow_with_gpu()
    return None if tensorflow is None else int(tensorflow.config.experimental.get_memory_info("GPU:0")["peak"])


def _accelerator_limit() -> int | None:
    if keras.backend.backend() == "jax":
        limit = jax_memory_statistics().get("bytes_limit")
        return None if limit is None else int(limit)
    if _tensorflow_with_gpu() is None:
        return None
    return next(iter(tensorflow_gpu_limits()), None)


def _tensorflow_with_gpu() -> Any | None:
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow  # noqa: PLC0415 - only where it is the backend

    return tensorflow if tensorflow.config.list_physical_devices("GPU") else None


MICRO_BATCH_SIZE = "micro_batch_size"  # the curve of the sizes that accumulation uses
logger = logging.getLogger("nightune")
_OUT_OF_MEMORY_TEXTS = ("resource_exhausted", "resource exhausted", "out of memory", "oom when allocating")


def is_out_of_memory(error: BaseException) -> bool:
    """Return True for MemoryError, TensorFlow's ResourceExhaustedError and JAX' RESOURCE_EXHAUSTED."""
    message = str(error).lower()
    has_known_text = any(text in message for text in _OUT_OF_MEMORY_TEXTS)
    return isinstance(error, MemoryError) or has_known_text or _is_tensorflows(error)


def _is_tensorflows(error: BaseException) -> bool:
    return type(error).__name__ == "ResourceExhaustedError"  # by name: TensorFlow may not be installed


def warn_of_smaller_micro_batches(epoch: int, from_size: int, to_size: int) -> None:
    """Log that an epoch restarts with smaller micro-batches."""
    logger.warning("out of memory with %d examples at once; restarting epoch %d with %d", from_size, epoch, to_size)
