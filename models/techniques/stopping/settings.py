"""The settings of early stopping."""

from dataclasses import dataclass

from nightune.models.user_code import is_reference


@dataclass(frozen=True)
class StoppingSettings:
    """The rule and its settings; unused ones keep their defaults."""

    rule: str = "patience"
    patience: int = 10
    min_delta: float = 0.0
    start_epoch: int = 1
    action: str = "rate"
    max_actions: int = 2
    cooldown: int = 0
    rate_factor: float = 0.5
    batch_factor: float = 2.0
    batch_maximum: int = 512
    limit: float | None = None
    limit_of: str = "value"
    target: float | None = None
    loss_factor: float = 10.0
    successive: int = 3
    alpha: float = 5.0
    strip: int = 5
    warmup_trials: int = 5
    chance: float = 0.05
    noise_factor: float = 1.0
    noise_window: int = 10

    @property
    def is_users_own(self) -> bool:
        """True if the rule is a function in a user's file."""
        return is_reference(self.rule)

    @property
    def grows_batches(self) -> bool:
        """True if the rule may grow the batch before it stops."""
        return self.rule == "combined" and self.action != "rate"
