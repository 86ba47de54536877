"""What a comparison of engines depends on beside recipes and data: Nightune's code, devices and settings."""

import hashlib
import os
from functools import cache
from pathlib import Path
from typing import Any

import keras

from nightune import vocabulary
from nightune.models.program_cache import FLAG, processor_count, processor_kind

CODE = Path(__file__).parents[1]  # all of `models`
SAMPLERS = Path(__file__).parents[2] / "tuning"  # draws the recipes that are compared
_PREFIXES = ("KERAS_", "TF_", "XLA_", "JAX_", "CUDA_", "NVIDIA_", "OMP_", "MKL_", "DNNL_")
_WITHOUT_EFFECT = ("TF_CPP_", "JAX_COMPILATION_CACHE_")  # on what is computed


def check_setting() -> dict[str, Any]:
    """Return Nightune's code as a digest, processors, devices, Keras' settings and the variables of the backends."""
    config = keras.config
    return {
        "nightune": _code_digest(),
        "processor": processor_kind(),
        "processors": processor_count(),
        "devices": _devices(),
        "keras": [config.backend(), config.floatx(), config.epsilon(), config.image_data_format()],
        "policy": config.dtype_policy().name,
        "variables": {
            name: _without_own_folder(value)
            for name, value in sorted(os.environ.items())
            if name.startswith(_PREFIXES) and not name.startswith(_WITHOUT_EFFECT)
        },
    }


@cache
def _code_digest() -> str:
    digest = hashlib.sha256()
    files = [file for folder in (CODE, SAMPLERS) for file in sorted(folder.rglob("*.py"))]
    for file in [*files, Path(vocabulary.__file__)]:
        digest.update(f"{file.name} ".encode() + file.read_bytes())
    return digest.hexdigest()


def _devices() -> list[str]:
    """Return the devices, with their models where the backend names them."""
    if keras.backend.backend() == "jax":
        import jax  # noqa: PLC0415 - only where it is the backend

        return [f"{device.platform} {device.device_kind}" for device in jax.devices()]
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf  # noqa: PLC0415 - as above

        details = tf.config.experimental.get_device_details
        return [f"{gpu.name} {sorted(details(gpu).items())}" for gpu in tf.config.list_physical_devices("GPU")]
    return [str(device) for device in keras.distribution.list_devices()]


def _without_own_folder(flags: str) -> str:
    return " ".join(flag for flag in flags.split() if not flag.startswith(FLAG))
