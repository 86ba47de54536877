"""The settings of early stopping: its rule and numbers."""

from dataclasses import dataclass

from nightune.models.user_code import is_reference


@dataclass(frozen=True)
class StoppingSettings:
    """The rule and its numbers; those that it does not use keep their default."""

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
        """True if the rule is a function in a file of the user's."""
        return is_reference(self.rule)

    @property
    def grows_batches(self) -> bool:
        """True if the rule may act on the batch size before it stops."""
        return self.rule == "combined" and self.action != "rate"
