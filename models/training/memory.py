"""Running out of memory, as the backends tell it, and what engines say when they go on with fewer examples at once."""

import logging

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
