"""Undocumented details of Keras and TensorFlow: modules that they import before anything uses them."""

import sys
from typing import Any

# TensorFlow's interfaces of earlier versions: 250 modules that it imports for their users. With each, the names from
# other modules that Keras calls, and where these are.
EARLIER_INTERFACES: dict[str, dict[str, str]] = {
    "tensorflow._api.v2.compat.v1": {"reset_default_graph": "tensorflow.python.framework.ops"},
    "tensorflow._api.v2.compat.v2": {},
}


def ignore_tensorflow_until_imported() -> None:
    """Let Keras, on another backend, import TensorFlow neither to set a seed nor to save a layer.

    Both ask whether it is installed, to set its seed and to know its objects, and the answer imports it, for seconds.
    Once something else has imported it, both treat it as usual.
    """
    from keras.src.saving import serialization_lib  # noqa: PLC0415 - Keras takes seconds
    from keras.src.utils import rng_utils  # noqa: PLC0415

    for module in (serialization_lib, rng_utils):
        if not isinstance(module.tf, _IfImported):
            module.tf = _IfImported(module.tf)


class _IfImported:
    """Keras' stand-in of TensorFlow, which is not available before something else has imported it."""

    def __init__(self, usual: Any) -> None:
        self.usual = usual

    @property
    def available(self) -> bool:
        """True if it is installed and imported."""
        return sys.modules.get("tensorflow") is not None and bool(self.usual.available)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.usual, name)
