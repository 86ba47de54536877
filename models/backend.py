"""Import Keras and its backend, without the output of their start."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cache
from pathlib import Path
from typing import Any

from nightune.models.heavy_imports import lasting_imports, without_modules
from nightune.models.library_internals.devices import jax_threads, tensorflow_threads
from nightune.models.library_internals.lazy_modules import EARLIER_INTERFACES, ignore_tensorflow_until_imported
from nightune.models.postponed_imports import postponed_modules
from nightune.models.program_cache import keep_programs
from nightune.models.quiet_imports import backend_is_ready, import_backends_quietly, output_logged
from nightune.settings import read_settings

_JAX_MEMORY = ("XLA_PYTHON_CLIENT_PREALLOCATE", "XLA_PYTHON_CLIENT_MEM_FRACTION", "XLA_CLIENT_MEM_FRACTION")
# TensorFlow's converter of JAX functions and Keras' galleries of images import them if they are installed, which takes
# half a second. In a process that has loaded Keras here, these two say that they are not.
_NOT_NEEDED = ("jax", "matplotlib")

_limits: list[int] = []  # at most one, of threads


@cache
def load_keras(compiled: Path | None = None) -> Any:
    """Import Keras with its backend, and initialize the devices, once. Takes seconds; errors are raised as usual.

    JAX and TensorFlow keep compiled programs in the folder `compiled` for later processes.
    """
    keras = import_keras(compiled)
    with output_logged(), _threads_limited(keras.backend.backend()):
        keras.ops.convert_to_numpy(keras.ops.zeros(()))  # the first operation initializes the devices
    backend_is_ready()
    return keras


@cache
def import_keras(compiled: Path | None = None) -> Any:
    """Import Keras with its backend, once, as `load_keras`, but initialize no device: that takes milliseconds."""
    # By default JAX allocates three quarters of a GPU's memory; settings of the user take precedence.
    if not any(name in os.environ for name in _JAX_MEMORY):
        os.environ[_JAX_MEMORY[0]] = "false"
    if compiled is not None and read_settings().keras_backend == "tensorflow":
        keep_programs(compiled)  # before TensorFlow reads its flags
    import_backends_quietly()
    with output_logged(), lasting_imports(), _without_what_training_does_not_need():
        import keras  # noqa: PLC0415 - the point of this function

        if keras.backend.backend() == "tensorflow":
            import tensorflow  # noqa: PLC0415 - as Keras

            enable_memory_growth(tensorflow)
        else:
            ignore_tensorflow_until_imported()
        if compiled is not None and keras.backend.backend() == "jax":
            keep_compiled(compiled)
    return keras


def limit_threads(count: int | None) -> None:
    """Let `load_keras` start so many threads for the parts of an operation on processors; None: as the backend does.

    A number that the user has set takes precedence. No effect in a process whose devices are initialized.
    """
    _limits[:] = [] if count is None else [count]


def _threads_limited(backend: str) -> AbstractContextManager[None]:
    """Limit the threads of a backend whose devices are initialized in the block."""
    if not _limits:
        return nullcontext()
    return tensorflow_threads(_limits[0]) if backend == "tensorflow" else jax_threads(_limits[0])


@cache
def import_tensorflow_if_installed() -> None:
    """Import TensorFlow on any backend, so that Keras sets its seed, too: for a user's code, which may draw with it."""
    load_keras()
    with output_logged(), lasting_imports(), _without_what_training_does_not_need(), suppress(ImportError):
        import tensorflow  # noqa: F401, PLC0415 - as Keras


def enable_memory_growth(tensorflow: Any) -> None:
    """Let TensorFlow allocate GPU memory on demand instead of all at once; call before the GPU is first used."""
    if "TF_FORCE_GPU_ALLOW_GROWTH" in os.environ:  # set by the user
        return
    for gpu in tensorflow.config.list_physical_devices("GPU"):
        with suppress(RuntimeError):  # already in use by the calling program
            tensorflow.config.experimental.set_memory_growth(gpu, True)


def devices() -> tuple[str, list[str]]:
    """Return Keras' backend and its devices."""
    keras = load_keras()
    return str(keras.backend.backend()), [str(device) for device in keras.distribution.list_devices()]


def keep_compiled(folder: Path) -> None:
    """Cache all programs that XLA compiles in a folder, for other processes, without a minimum size."""
    import jax  # noqa: PLC0415 - an extra: only where it is the backend

    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    # Otherwise the path of the folder is part of each key, and a moved store recompiles everything.
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")


@contextmanager
def _without_what_training_does_not_need() -> Iterator[None]:
    absent = (name for name in _NOT_NEEDED if name != "jax" or not _may_use_jax())
    with without_modules(*absent), postponed_modules(EARLIER_INTERFACES):
        yield


def _may_use_jax() -> bool:
    """True if Keras' backend may be JAX: where the variable is not set, a file of Keras can name it."""
    if "KERAS_BACKEND" in os.environ:
        return os.environ["KERAS_BACKEND"] == "jax"
    for folder in (os.environ.get("KERAS_HOME", "~/.keras"), "/tmp/.keras"):  # the latter without a home
        with suppress(OSError, RuntimeError):
            if "jax" in Path(folder, "keras.json").expanduser().read_text(encoding="utf-8"):
                return True
    return False
