"""Refuse losses of a regression that do not suit its targets or the model's outputs."""

import keras

from nightune.models.errors import InputError
from nightune.models.networks.losses import SHARES_LOSS, TrainedLoss
from nightune.models.networks.output_ranges import measure_outputs
from nightune.models.networks.output_walk import walk
from nightune.models.networks.training_rows import TrainingRows
from nightune.models.serving.input_trees import ArrayTree
from nightune.models.techniques.losses import CLASS_LOSSES, QUANTITY_LOSSES


def refuse_unsuited(loss: TrainedLoss, model: keras.Model, rows: TrainingRows) -> None:
    """Refuse a loss that does not suit the targets: classes' losses, one direction, other units, negative counts."""
    if loss.name in CLASS_LOSSES:
        known = f"known for regression: {', '.join(QUANTITY_LOSSES)}, or path/to/file.py:function"
        raise InputError(loss.key, f"the loss {loss.name} is for classes, but the task is regression ({known})")
    if loss.name == "cosine" and rows.output_size == 1:
        raise InputError(loss.key, "the loss cosine compares directions, and one quantity has none; use mse or mae")
    if loss.name == SHARES_LOSS and not measure_outputs(model, rows.inputs).is_distribution:
        remedy = "end in a softmax, in a function of your own instead of a built-in architecture"
        raise InputError(loss.key, f"the loss {loss.name} of shares needs outputs that sum to 1; {remedy}")
    if loss.needs_units and rows.is_scaled:
        raise InputError("data.scale_target", f"true, but the loss {loss.name} needs targets as they are; remove it")
    if loss.needs_positive_outputs:
        least = rows.target_range[0] if rows.target_range else 0.0
        if least < 0.0:
            raise InputError(loss.key, f"the loss {loss.name} is for counts, and a target is {least:g}; use mse or mae")
        _refuse_negative(model, rows.inputs, loss)


def _refuse_negative(model: keras.Model, sample: ArrayTree, loss: TrainedLoss) -> None:
    """Refuse outputs below 0 for a loss that takes their logarithm."""
    is_linear = walk(model).activation == "linear"
    if is_linear or measure_outputs(model, sample).low < -1e-6:
        problem = f"the loss {loss.name} takes the logarithm of outputs, and the model's can be below 0"
        raise InputError(loss.key, f'{problem}; end in activation="exponential" or "softplus"')
