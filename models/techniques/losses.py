"""The training loss, the meaning of a model's outputs and the weights of classes, where a study states them.

Without these keys the first two follow from the model: the loss that its function compiled, or that of the task.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nightune.models.techniques.keys import NO_NAMES, Key
from nightune.vocabulary import CHANGES, GIVEN

AUTO = "auto"  # from the model; a trial's params do not contain it
PARAMETERS = "parameters"  # numbers that only a loss of the user reads
HAS_PARAMETERS = "has_parameters"  # in the description of a version
OUTPUTS = ("logits", "probabilities", "quantities", PARAMETERS)
CLASS_LOSSES = ("crossentropy", "focal")
QUANTITY_LOSSES = ("mse", "mae", "huber", "log_cosh", "poisson", "pinball", "cosine")
SIGNED_LOSSES = ("poisson", "cosine")  # their values can be below 0
PINBALL = "pinball"
FREEZE = "training.freeze"
NO_CHANGES = "none"
NO_WEIGHTS, BALANCED, SQUARE_ROOTS = "none", "balanced", "sqrt"

# What to do about a model with more outputs than a target of one column.
MORE_OUTPUTS = (
    'for quantiles of one target set loss = "pinball" and quantiles = [0.1, …] in [training]; for parameters of a '
    'distribution set loss = "path/to/file.py:function" in [training], a function of (y_true, y_pred) of your own'
)

# One of the three words, or the weight of each named class; of several heads also a table of these by name.
ClassWeight = str | Mapping[str, Any]

KEYS: dict[str, Key] = {
    "training.outputs": Key(
        "option",
        AUTO,
        options=(AUTO, *OUTPUTS),
        is_by_head=True,
        is_silent=True,
        meaning="meaning of the model's outputs; auto: settled by its graph, a measurement and the compiled loss",
    ),
    "training.loss": Key(
        "option",
        AUTO,
        options=(AUTO, *CLASS_LOSSES, *QUANTITY_LOSSES),
        is_by_head=True,
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
        is_by_head=True,
        when={"training.loss": ("pinball",)},
        meaning="quantiles of one target, in ascending order: the model has one output for each",
    ),
    "training.class_weight": Key(
        "class_weight",
        NO_WEIGHTS,
        low=0.0,
        options=(NO_WEIGHTS, BALANCED, SQUARE_ROOTS),
        is_silent=True,
        is_kept_if_given=True,
        meaning="weights of classes in the training loss, also as a table: `{ no = 1, yes = 5 }`; of heads by name",
    ),
    "training.loss_weights": Key(
        "head_weights",
        AUTO,
        low=0.0,
        options=(AUTO,),
        is_silent=True,
        meaning="factors of the losses of several heads, by name; auto: those that the function compiled, or 1",
    ),
    FREEZE: Key(
        "names",
        NO_NAMES,
        is_silent=True,
        is_kept_if_given=True,
        meaning="layers whose weights do not change in the first phase, by names or patterns; `none`: one phase",
    ),
    "training.unfreeze_at": Key(
        "integer",
        0,
        low=0,
        when={FREEZE: GIVEN},
        meaning="first epoch of the second phase, counted from 1, in which these layers are trained, too; 0: never",
    ),
    "training.fine_tuning_fraction": Key(
        "float",
        0.1,
        low=0.0,
        high=1.0,
        is_open_low=True,
        when={FREEZE: GIVEN},
        meaning="learning rate of the second phase, as a share of the rate that the schedule gives",
    ),
    CHANGES: Key(
        "changes",
        NO_CHANGES,
        options=(NO_CHANGES,),
        is_silent=True,
        meaning="values from an epoch on, such as `{ 5 = { learning_rate.peak = 0.001 } }`; `none`: they never change",
    ),
}


@dataclass(frozen=True)
class TrainingSettings:
    """What a study states of the training: the meaning of outputs, the loss, its quantiles, and weights of classes.

    Of several heads the first three may be tables by name, and `loss_weights` are the factors of their losses. Layers
    that match `freeze` are not trained before the epoch `unfreeze_at`, 0 for never. `changes` are params by the epoch,
    as a text, from which on they have these values.
    """

    outputs: str | Mapping[str, str] = AUTO
    loss: str | Mapping[str, str] = AUTO
    quantiles: Sequence[float] | Mapping[str, Sequence[float]] | None = None
    class_weight: ClassWeight = NO_WEIGHTS
    loss_weights: str | Mapping[str, float] = AUTO
    freeze: str | Sequence[str] = NO_NAMES
    unfreeze_at: int = 0
    fine_tuning_fraction: float = 0.1
    changes: str | Mapping[str, Mapping[str, float]] = NO_CHANGES

    @property
    def change_epochs(self) -> tuple[int, ...]:
        """The epochs in which a change begins, counted from 1, ascending."""
        return () if isinstance(self.changes, str) else tuple(sorted(map(int, self.changes)))

    def changes_until(self, epoch: int) -> str | dict[str, Mapping[str, float]]:
        """Return the changes that have begun by an epoch; "none" if there are none."""
        if isinstance(self.changes, str):
            return self.changes
        begun = {text: values for text, values in self.changes.items() if int(text) <= epoch}
        return begun or NO_CHANGES

    @property
    def frozen(self) -> tuple[str, ...]:
        """The names and patterns of the layers that are frozen in the first phase; empty for a training of one."""
        if isinstance(self.freeze, str):
            return () if self.freeze == NO_NAMES else (self.freeze,)
        return tuple(self.freeze)

    @property
    def second_phase(self) -> int:
        """The first epoch of the second phase, counted from 1; 0 if there is none."""
        return self.unfreeze_at if self.frozen else 0

    @property
    def has_class_weights(self) -> bool:
        """True if the rows of some classes weigh more than those of others."""
        return self.class_weight != NO_WEIGHTS

    @property
    def of_head(self) -> "TrainingSettings":
        """The settings that decide on the head and its loss: all but the weights of classes, phases and changes."""
        one_phase = replace(self, freeze=NO_NAMES, unfreeze_at=0, fine_tuning_fraction=0.1)
        return replace(one_phase, class_weight=NO_WEIGHTS, changes=NO_CHANGES)

    @property
    def of_build(self) -> "TrainingSettings":
        """The settings that decide whether a model can be trained: those of the head, and which layers are frozen."""
        return replace(self.of_head, freeze=self.freeze, unfreeze_at=min(self.unfreeze_at, 1))

    @property
    def losses(self) -> tuple[str, ...]:
        """The losses that the study states, each once."""
        return tuple(dict.fromkeys(self.loss.values())) if isinstance(self.loss, Mapping) else (self.loss,)

    @property
    def named_heads(self) -> dict[str, tuple[str, ...]]:
        """The names of heads in each table, by its key."""
        given = {name: getattr(self, name) for name in ("loss", "outputs", "quantiles", "loss_weights")}
        return {f"training.{name}": tuple(table) for name, table in given.items() if isinstance(table, Mapping)}

    def of_name(self, name: str) -> "HeadSettings":
        """Return the settings of one of several heads: those under its name in a table, or those of all heads.

        Without a table, the quantiles belong to the heads whose loss is `pinball`.
        """
        loss, outputs, quantiles = self.loss, self.outputs, self.quantiles
        own = str(loss.get(name, AUTO)) if isinstance(loss, Mapping) else loss
        levels = quantiles.get(name) if isinstance(quantiles, Mapping) else quantiles
        stated = str(outputs.get(name, AUTO)) if isinstance(outputs, Mapping) else outputs
        return HeadSettings(stated, own, levels if own == PINBALL else None)

    @property
    def of_one(self) -> "HeadSettings":
        """The settings of the only head; the study has no tables of heads."""
        assert not self.named_heads
        return HeadSettings(str(self.outputs), str(self.loss), self.quantiles)  # type: ignore[arg-type] # no table


@dataclass(frozen=True)
class HeadSettings:
    """What a study states of one head: the meaning of its outputs, its loss, and the quantiles of the loss."""

    outputs: str = AUTO
    loss: str = AUTO
    quantiles: Sequence[float] | None = None
