"""The training loss and the meaning of a model's outputs, where a study states them.

Without these keys both follow from the model: the loss that its function compiled, or that of the task.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from nightune.models.techniques.keys import Key

AUTO = "auto"  # from the model; a trial's params do not contain it
OUTPUTS = ("logits", "probabilities", "quantities")
CLASS_LOSSES = ("crossentropy", "focal")
QUANTITY_LOSSES = ("mse", "mae", "huber", "log_cosh", "poisson", "pinball", "cosine")
SIGNED_LOSSES = ("poisson", "cosine")  # their values can be below 0

KEYS: dict[str, Key] = {
    "training.outputs": Key(
        "option",
        AUTO,
        options=(AUTO, *OUTPUTS),
        is_silent=True,
        meaning="meaning of the model's outputs; auto: settled by its graph, a measurement and the compiled loss",
    ),
    "training.loss": Key(
        "option",
        AUTO,
        options=(AUTO, *CLASS_LOSSES, *QUANTITY_LOSSES),
        is_open=True,
        is_silent=True,
        meaning="loss of an example; auto: the loss that the model's function compiled, or that of the task",
    ),
    "training.quantiles": Key(
        "numbers",
        None,
        low=0.0,
        high=1.0,
        is_open_low=True,
        is_open_high=True,
        when={"training.loss": ("pinball",)},
        meaning="quantiles of one target, in ascending order: the model has one output for each",
    ),
}


@dataclass(frozen=True)
class TrainingSettings:
    """What a study states of the training: the meaning of outputs, the loss, and the quantiles of `pinball`."""

    outputs: str = AUTO
    loss: str = AUTO
    quantiles: Sequence[float] | None = None
