"""What a study states of heads: the settings of the only one, and the number of outputs that each needs."""

from nightune.models.data.dataset import OutputSize
from nightune.models.errors import InputError
from nightune.models.techniques.losses import HeadSettings, TrainingSettings


def settings_of_one(training: TrainingSettings) -> HeadSettings:
    """Return the settings of the only head; InputError for a table of heads."""
    for key, names in training.named_heads.items():
        problem = f"a table of heads ({', '.join(map(repr, names))}), and the data has one target"
        remedy = "remove it" if key == "training.loss_weights" else "give one value, or return targets by name"
        raise InputError(key, f"{problem}; {remedy}")
    return training.of_one


def output_size(stated: TrainingSettings, task: str, size: OutputSize) -> OutputSize:
    """Return the number of outputs that a model needs, or their shape: one for each quantile, or as the data has.

    Of several heads it is a dictionary by name.
    """
    if isinstance(size, dict):
        return {name: _own_size(stated.of_name(name), name, each) for name, each in size.items()}
    training = settings_of_one(stated)
    if training.quantiles is None:
        return size
    if task != "regression" or size != 1:
        raise InputError("training.quantiles", "quantiles are of one quantity; use another loss, or one target")
    return len(training.quantiles)


def quantity_loss(stated: TrainingSettings, task: str, size: OutputSize) -> str:
    """Return the loss that a study states for quantities in a row, `auto` for none; empty for all other targets."""
    return settings_of_one(stated).loss if task == "regression" and isinstance(size, int) else ""


def _own_size(training: HeadSettings, name: str, size: int | tuple[int, ...]) -> int | tuple[int, ...]:
    if training.quantiles is None:
        return size
    if size != 1:
        raise InputError("training.quantiles", f"quantiles are of one quantity, and head {name!r} has {size} outputs")
    return len(training.quantiles)
