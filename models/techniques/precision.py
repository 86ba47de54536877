"""Precision: in which numbers a model computes. Its weights are float32 in any case (Micikevicius et al., 2018)."""

from dataclasses import dataclass

from nightune.models.techniques.keys import Key

POLICIES = ("float32", "mixed_float16", "mixed_bfloat16")

KEYS: dict[str, Key] = {
    "precision": Key(
        "option",
        "float32",
        options=POLICIES,
        meaning="in which numbers layers compute; weights, their updates and metrics are float32 in any case",
    ),
}


@dataclass(frozen=True)
class PrecisionSettings:
    """Keras' name for how layers compute and keep their weights."""

    policy: str = "float32"

    @property
    def is_mixed(self) -> bool:
        """True if layers compute in fewer bits than their weights have."""
        return self.policy != "float32"

    @property
    def scales_loss(self) -> bool:
        """True if gradients would get lost below float16's smallest number, 6e-8, unless the loss is scaled."""
        return self.policy == "mixed_float16"
