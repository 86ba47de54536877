"""Refuse models whose own code or compiled loss would use weights of rows otherwise than Keras, or not the loss."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import losses, ops

from nightune.models.error_causes import described
from nightune.models.errors import InputError
from nightune.models.library_internals.models import compiled_loss, variables_kept
from nightune.models.networks.heads import Head
from nightune.models.networks.isolated_random import isolated_random
from nightune.models.networks.losses import ExampleLoss
from nightune.models.networks.own_methods import TRAINING, own_methods
from nightune.models.networks.training_rows import TrainingRows
from nightune.models.serving.input_trees import rows_of
from nightune.vocabulary import ARCHITECTURE, HEADS, POSITIONS

ROWS = 8
REMEDY = "unpack (x, y, sample_weight) and pass sample_weight to compute_loss, or train without weights"


def refuse_ignored_weights(model: keras.Model, head: Head, rows: TrainingRows, folder: Path = Path()) -> None:
    """Raise InputError for a model that ignores weights of rows, or divides by their sum; its weights stay as they are.

    A model's own step is made twice from the same state, with all weights 0 and 1: the results must differ. It is not
    made for weights that are a part of the loss.
    """
    given, _ = compiled_loss(model)
    compiled = [each for each in keras.tree.flatten(given) if isinstance(each, losses.Loss)]
    if head.is_compiled_loss and any(each.reduction == "mean_with_sample_weight" for each in compiled):
        problem = "the model is compiled with a loss that divides by the sum of a batch's weights"
        raise InputError(ARCHITECTURE, f"{problem}; weights of rows need the reduction sum_over_batch_size")
    are_in_loss = rows.task in (HEADS, POSITIONS) and not rows.have_own_weights
    if not own_methods(model, TRAINING) or rows.targets is None or are_in_loss:
        return
    try:
        without, ones = (_stepped(model, head, rows, weight) for weight in (0.0, 1.0))
    except Exception as error:  # of the user's code: anything
        problem = f"the model's own training step raised {described(error, folder)} with weights of rows"
        raise InputError(ARCHITECTURE, f"{problem}; {REMEDY}") from error
    if all(np.array_equal(one, other) for one, other in zip(without, ones, strict=True)):
        raise InputError(ARCHITECTURE, f"the model's own training step ignores the weights of rows; {REMEDY}")


def ignores_loss(model: keras.Model, head: Head, rows: TrainingRows) -> bool:
    """Return whether a model's own step has the same result with a loss of 0; the model's weights stay as they are."""
    assert head.loss is not None
    nothing = ExampleLoss(head.loss.name, lambda _, y_pred: 0.0 * ops.sum(y_pred, axis=-1))
    without = replace(head, loss=replace(head.loss, example_loss=nothing))
    weight = 1.0 if rows.are_weighted else None
    first, second = (_stepped(model, each, rows, weight) for each in (head, without))
    return all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


def _stepped(model: keras.Model, head: Head, rows: TrainingRows, weight: float | None) -> list[np.ndarray]:
    """Return the trainable weights after a step with this weight of each row, or none, and restore all variables."""
    assert rows.targets is not None
    model.compile(
        keras.optimizers.SGD(1.0), loss=head.make_loss(), metrics=[], jit_compile=False, auto_scale_loss=False
    )
    model.run_eagerly = True
    inputs, targets = rows_of(rows.inputs, slice(ROWS)), head.targets(rows.targets[:ROWS])
    arguments: dict[str, Any] = {} if weight is None else {"sample_weight": np.full(len(targets), weight, np.float32)}
    with isolated_random(), variables_kept(model):
        keras.utils.set_random_seed(0)  # both steps draw the same noise
        model.train_on_batch(inputs, targets, **arguments)
        return [np.array(variable) for variable in model.trainable_variables]
