"""Running out of memory, as the backends tell it."""

_SAYINGS = ("resource_exhausted", "resource exhausted", "out of memory", "oom when allocating")


def is_out_of_memory(error: BaseException) -> bool:
    """True for Python's own error, TensorFlow's ResourceExhaustedError and JAX' RESOURCE_EXHAUSTED."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or any(saying in said for saying in _SAYINGS) or _is_tensorflows(error)


def _is_tensorflows(error: BaseException) -> bool:
    return type(error).__name__ == "ResourceExhaustedError"  # by name: TensorFlow need not be there
