"""Precision: the type that layers compute in. Weights, slots, losses and metrics stay float32.

`mixed_bfloat16` halves the memory of activations and is faster where a device multiplies bfloat16 in hardware
(Micikevicius et al., 2018; Kalamkar et al., 2019). There is no `mixed_float16`: its loss scale leaves out updates when
gradients overflow, so that counts, rates and decay would not be those that were planned and logged.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from models.keys import Key

POLICIES = ("float32", "mixed_bfloat16")


@dataclass(frozen=True)
class PrecisionSettings:
    """The name of Keras' dtype policy."""

    policy: str = "float32"

    @property
    def is_mixed(self) -> bool:
        """True if layers compute in another type than the weights have."""
        return self.policy != "float32"


KEYS: dict[str, Key] = {
    "precision": Key(
        "option",
        PrecisionSettings.policy,
        options=POLICIES,
        meaning="the type that layers compute in; weights, updates, losses and metrics stay float32",
    ),
}


@contextmanager
def computing_in(policy: str) -> Iterator[None]:
    """Give the layers that are made in the block this policy; float32 leaves Keras' own setting as it is."""
    import keras  # noqa: PLC0415 - Keras takes seconds; a study is checked without it

    if policy == "float32":
        yield
        return
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
