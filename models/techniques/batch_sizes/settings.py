"""The settings of the batch size."""

from dataclasses import dataclass

MEASURED = ("gns", "cabs", "divebatch")  # policies that follow measurements of the gradients


@dataclass(frozen=True)
class BatchSizeSettings:
    """The policy and its settings. Inactive for gd, whose updates use all examples."""

    policy: str = "fixed"
    size: int = 32
    minimum: int = 16
    ratio: int = 0
    maximum: int = 512
    law: str = "uniform"
    factor: float = 2.0
    patience: int = 5
    min_delta: float = 0.0
    cooldown: int = 0
    step_count: int = 2
    step_first: float = 0.5
    step_gap: float = 0.5
    interval: int = 20
    rate_factor: float = 0.75
    noise_multiple: float = 1.0
    noise_decay: float = 0.9
    remainder: str = "keep"
    micro_size: int = 0

    @property
    def is_measured(self) -> bool:
        """True if the sizes follow measurements of the gradients."""
        return self.policy in MEASURED

    @property
    def largest(self) -> int:
        """The maximum size of an update, given enough examples."""
        if self.policy == "fixed":
            return self.size
        return self.minimum * self.ratio if self.policy == "random" and self.ratio else self.maximum
