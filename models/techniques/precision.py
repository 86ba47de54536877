"""Precision: the number format of computations. Weights are always float32 (Micikevicius et al., 2018)."""

from dataclasses import dataclass

from nightune.models.techniques.keys import Key

POLICIES = ("float32", "mixed_float16", "mixed_bfloat16")

KEYS: dict[str, Key] = {
    "precision": Key(
        "option",
        "float32",
        options=POLICIES,
        meaning="number format in which layers compute; weights, their updates and metrics are always float32",
    ),
}


@dataclass(frozen=True)
class PrecisionSettings:
    """Keras' name of the policy for computations and weights."""

    policy: str = "float32"

    @property
    def is_mixed(self) -> bool:
        """True if layers compute with fewer bits than their weights have."""
        return self.policy != "float32"

    @property
    def scales_loss(self) -> bool:
        """True if the loss is scaled, because gradients below float16's smallest number, 6e-8, would become 0."""
        return self.policy == "mixed_float16"
