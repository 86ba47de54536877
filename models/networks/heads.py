"""The meaning of a model's outputs (logits, probabilities or quantities), and the loss for it.

Witnesses must agree: the study, a walk of the graph, a measurement where the walk does not know, and a compiled loss.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import losses, ops
from keras import metrics as keras_metrics

from nightune.models.errors import InputError
from nightune.models.library_internals.models import variables_kept
from nightune.models.networks import own_outputs
from nightune.models.networks.class_factors import ClassFactors
from nightune.models.networks.compilation_remarks import UNUSED_LOSS, remarks_on_compilation
from nightune.models.networks.compiled_losses import compiled
from nightune.models.networks.head_settings import settings_of_one
from nightune.models.networks.losses import (
    SHARES_LOSS,
    FlatLoss,
    SmoothedCrossentropy,
    TrainedLoss,
    loss_of_shares,
    named_loss,
    own_loss,
    refuse_other_numbers,
    refuse_other_values,
    refuse_wrong_values,
)
from nightune.models.networks.metrics import metrics, points
from nightune.models.networks.metrics_by_weight import mean_by_weight, metrics_by_weight
from nightune.models.networks.named_metrics import Named
from nightune.models.networks.output_ranges import disturb
from nightune.models.networks.output_shapes import refuse_class_at_each_position, settled_shape
from nightune.models.networks.output_walk import LOGITS, PROBABILITIES
from nightune.models.networks.positions import PositionsLoss, metrics_of_positions, refuse_unsuited_positions
from nightune.models.networks.training_rows import TrainingRows
from nightune.models.networks.unsuited_losses import refuse_unsuited
from nightune.models.networks.witnesses import KEY, refuse_unreachable, settle_meaning
from nightune.models.techniques.losses import (
    AUTO,
    CLASS_LOSSES,
    PARAMETERS,
    QUANTITY_LOSSES,
    HeadSettings,
    TrainingSettings,
)
from nightune.models.user_code import is_reference
from nightune.vocabulary import ARCHITECTURE, DEFAULT_LOSS, LOSS_SAID, POSITIONS

BINARY = ("two classes", "labels")  # each output has a binary cross-entropy of its own
PLAIN = HeadSettings()
NONE_NAMED = Named()


@dataclass(frozen=True, eq=False)
class Head:
    """The comparison of outputs with targets.

    `kind` is "quantities", "classes", "two classes" (one output), "labels" (one output for each, several may hold) or
    "positions" (a class at each).
    `loss` is None for the default of the kind: squared error or cross-entropy. `because` says how outputs were read.
    With `is_one_hot` a user's own loss of classes reads them one-hot, as the data holds them. `shape` is that of an
    example's outputs if they have several axes. `parameters` are not empty where only a loss of the user reads outputs:
    their means before training.
    """

    kind: str
    is_logits: bool
    loss: TrainedLoss | None = None
    quantiles: tuple[float, ...] = ()
    because: str = ""
    remarks: tuple[str, ...] = ()
    is_one_hot: bool = False
    values: tuple[str, ...] = ()  # of a loss other than the default, at fixed outputs: equal for equal losses
    shape: tuple[int, ...] = ()
    parameters: tuple[float, ...] = ()

    @property
    def meaning(self) -> str:
        """The meaning of outputs in one word."""
        if self.parameters:
            return PARAMETERS
        return "quantities" if self.kind == "quantities" else (LOGITS if self.is_logits else PROBABILITIES)

    @property
    def loss_name(self) -> str:
        """The name of the loss."""
        return self.loss.name if self.loss else ("mse" if self.kind == "quantities" else "crossentropy")

    @property
    def loss_names(self) -> tuple[str, ...]:
        """The name of the loss, of several heads that of each."""
        return (self.loss_name,)

    @property
    def is_compiled_loss(self) -> bool:
        """True if the study leaves the loss to the model; a compiled default loss is used, too."""
        return self.loss is None or self.loss.key == ARCHITECTURE

    @property
    def said(self) -> str:
        """What was settled, and by what."""
        loss = f"{LOSS_SAID}{self.loss_name} ({self.loss.because if self.loss else DEFAULT_LOSS})"
        levels = f" for the quantiles {', '.join(f'{level:g}' for level in self.quantiles)}" if self.quantiles else ""
        return f"outputs are {self.meaning} ({self.because}){loss}{levels}"

    @property
    def description(self) -> dict[str, Any]:
        """What a registered version says of its outputs."""
        levels = list(self.quantiles)
        quantiles = {"quantiles": levels, "output_size": len(levels)} if levels else {}
        loss = {"loss": self.loss_name} if self.loss and self.loss.example_loss else {}
        parameters = own_outputs.described_parameters(len(self.parameters))
        return {"is_logits": self.is_logits, **loss, **quantiles, **parameters}

    @property
    def problem_of_smoothing(self) -> InputError | None:
        """Why labels cannot be smoothed; None if they can."""
        if self.loss is None or self.loss.example_loss is None:
            return None
        problem = f"smooths the targets of crossentropy, and the loss is {self.loss.name} ({self.loss.because})"
        remedy = "smooth the shares in the source" if self.loss.name == SHARES_LOSS else 'set loss = "crossentropy"'
        return InputError("penalty.label_smoothing", f"{problem}; remove it, or {remedy}")

    @property
    def weighs_classes(self) -> bool:
        """True if weights of classes are a part of the loss; else they are weights of rows."""
        return self.kind == POSITIONS

    def make_loss(self, label_smoothing: float = 0.0, classes: ClassFactors | None = None) -> Any:
        """Return Keras' loss: the mean over the examples of a batch. `classes` are weights that it multiplies by.

        The share `label_smoothing` of each target is spread evenly over the classes (Szegedy et al., 2016); a label is
        two classes of its own.
        """
        if self.kind == POSITIONS:
            return PositionsLoss(self.is_logits, label_smoothing, classes)
        if self.loss and self.loss.example_loss:
            if label_smoothing and self.problem_of_smoothing:
                raise self.problem_of_smoothing
            return self.loss.example_loss
        if self.kind == "quantities":
            return self._of_rows(losses.MeanSquaredError())
        if self.kind in BINARY:
            smoothed = losses.BinaryCrossentropy(from_logits=self.is_logits, label_smoothing=label_smoothing)
            return self._of_rows(smoothed)
        if label_smoothing:
            return SmoothedCrossentropy(self.is_logits, label_smoothing)
        return losses.SparseCategoricalCrossentropy(from_logits=self.is_logits)

    def make_metric(self, name: str, classes: ClassFactors | None = None) -> Any:
        """Return the loss as a metric: its mean over the examples of an epoch."""
        if self.shape or (self.loss and self.loss.example_loss):
            return keras_metrics.MeanMetricWrapper(self.make_loss(classes=classes).call, name=name)
        if self.kind == "quantities":
            return keras_metrics.MeanSquaredError(name=name)
        is_binary = self.kind in BINARY
        kind = keras_metrics.BinaryCrossentropy if is_binary else keras_metrics.SparseCategoricalCrossentropy
        return kind(from_logits=self.is_logits, name=name)

    def targets(self, targets: np.ndarray) -> np.ndarray:
        """Return the targets in the outputs' shape, or as class indices, so that Keras infers nothing."""
        if self.kind == POSITIONS:
            return targets.astype(np.int32).reshape(len(targets), *self.shape[:-1])
        if self.kind == "classes":
            return targets.astype(np.int32)
        return targets.astype(np.float32).reshape(len(targets), *(self.shape or (-1,)))

    def _of_rows(self, loss: Any) -> Any:
        """Return a loss of outputs of any shape."""
        return FlatLoss(loss, int(np.prod(self.shape))) if self.shape else loss

    def metrics(
        self,
        task: str,
        outputs: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray | None = None,
        named: Named = NONE_NAMED,
    ) -> dict[str, float]:
        """Return the task's metrics and the named ones; `loss` is the mean training loss, not smoothed or penalized.

        Of quantiles, the one nearest to the median is compared with the targets in all metrics but `loss` and the named
        pinball losses. With `weights` of rows, (examples,), means are by their sum. Parameters have no metric but the
        loss and a user's own.
        """
        outputs = outputs.reshape(len(outputs), -1)
        if self.kind == POSITIONS:
            return metrics_of_positions(outputs, targets, self.is_logits, weights, named)
        predicted, values = self.points(outputs), dict[str, float]()
        if weights is None and not self.parameters:
            values = metrics(task, predicted, targets, self.is_logits)
        elif weights is not None and not self.parameters:
            values = metrics_by_weight(task, predicted, targets, self.is_logits, weights)
        if self.loss and self.loss.example_loss:
            is_finite = bool(np.isfinite(outputs).all())
            rows = self.loss.rows(outputs, self.targets(targets)) if is_finite else np.full(len(outputs), np.nan)
            values["loss"] = mean_by_weight(rows, weights)
        of_level = partial(points, outputs, self.quantiles) if self.quantiles else None
        return values | named.values(task, predicted, targets, self.is_logits, weights, of_level)

    def points(self, outputs: np.ndarray) -> np.ndarray:
        """Return the outputs that are point predictions: all, or of quantiles the one nearest to the median."""
        return points(outputs, self.quantiles)


def read_head(
    model: keras.Model, rows: TrainingRows, stated: TrainingSettings | HeadSettings = PLAIN, folder: Path = Path()
) -> Head:
    """Settle the head of a built model; InputError if no loss fits. Two classes may have one output or two.

    `folder` is the study's, for the files of the user. The model is as before afterwards.
    """
    training = settings_of_one(stated) if isinstance(stated, TrainingSettings) else stated
    shape = settled_shape(model, rows)
    size = int(np.prod(shape))
    kind = _kind(rows.task, size)
    given = compiled(model, kind, folder, rows.is_one_hot, rows.has_shares)
    refuse_class_at_each_position(model, rows, kind, shape)
    head = (_quantities if kind == "quantities" else _classes)(model, rows, training, given, folder)
    if len(shape) > 1:
        head = replace(head, shape=shape, loss=_shaped(head.loss, shape))
    if head.loss and head.loss.example_loss and rows.targets is not None:
        outputs = np.asarray(ops.convert_to_numpy(model(rows.inputs, training=False)), np.float32)
        outputs, targets = outputs.reshape(len(outputs), -1), head.targets(rows.targets)
        refuse_wrong_values(head.loss, outputs, targets)
        fixed = np.random.default_rng(0).uniform(0.1, 0.9, outputs.shape)
        values = head.loss.rows(fixed, targets)
        with variables_kept(model) as before:
            disturb(model, before, 1.0, seed=0)
            refuse_other_values(head.loss, values, head.loss.rows(fixed, targets))
        head = replace(head, values=tuple(f"{value:.4g}" for value in values))
    return replace(head, remarks=tuple(_remarks(model, head, given, rows)))


def _shaped(loss: TrainedLoss | None, shape: tuple[int, ...]) -> TrainedLoss | None:
    """Return a loss whose function reads outputs of this shape."""
    if loss is None or loss.example_loss is None:
        return loss
    return replace(loss, example_loss=loss.example_loss.of_shape(shape))


def _kind(task: str, size: int) -> str:
    by_task = {"regression": "quantities", "multilabel": "labels", POSITIONS: POSITIONS}
    return by_task.get(task, "two classes" if size == 1 else "classes")


def _quantities(
    model: keras.Model, rows: TrainingRows, training: HeadSettings, given: TrainedLoss | None, folder: Path
) -> Head:
    """The head of a regression: outputs that can reach the targets, with a loss that suits their scale."""
    size = int(np.prod(settled_shape(model, rows)))
    wanted = len(training.quantiles) if training.quantiles else rows.output_count
    is_of_shares = rows.has_shares and training.loss == "crossentropy"
    loss = loss_of_shares() if is_of_shares else _stated_loss(training, "quantities", False, folder) or given
    if training.outputs == PARAMETERS or (size != wanted and training.outputs == AUTO and loss and loss.is_own):
        because = own_outputs.why_parameters(loss, rows, training.outputs, size)
        return Head("quantities", False, loss, because=because, parameters=own_outputs.typical_outputs(model, rows))
    if size != wanted:
        raise _refusal(own_outputs.other_number(size, wanted, training, loss))
    if training.outputs not in (AUTO, "quantities"):
        raise InputError(KEY, f"{training.outputs!r}, but outputs of a regression are quantities; remove the key")
    if loss:
        refuse_unsuited(loss, model, rows)
    because = refuse_unreachable(model, rows.inputs, rows.target_range, rows.is_scaled, training.outputs)
    return Head("quantities", False, loss, tuple(training.quantiles or ()), because)


def _classes(
    model: keras.Model, rows: TrainingRows, training: HeadSettings, given: TrainedLoss | None, folder: Path
) -> Head:
    """The head of a classification: logits or probabilities, one output for two classes or one per class or label."""
    shape = settled_shape(model, rows)
    size = shape[-1] if rows.task == POSITIONS else int(np.prod(shape))
    kind = _kind(rows.task, size)
    if kind == POSITIONS:
        refuse_unsuited_positions(model, rows, training)
    if kind == "labels" and size != rows.output_count:
        raise _refusal(f"has {size} outputs for {rows.output_count} labels")
    if training.loss in QUANTITY_LOSSES:
        known = f"known for classes: {', '.join(CLASS_LOSSES)}, or path/to/file.py:function"
        remedy = 'for a quantity set task = "regression" in [data]'
        raise InputError("training.loss", f"{training.loss!r} is for quantities ({known}); {remedy}")
    own = own_loss(training.loss, kind, folder, rows.is_one_hot) if is_reference(training.loss) else None
    witness = given if training.loss == AUTO else own
    if witness and kind != "labels" and not rows.is_one_hot:
        refuse_other_numbers(witness, rows.classes)
    meaning = settle_meaning(model, kind, size, rows.inputs, training.outputs, witness)
    loss = own or _stated_loss(training, kind, meaning.is_logits, folder) or given
    return Head(kind, meaning.is_logits, loss, because=meaning.because, is_one_hot=rows.is_one_hot)


def _stated_loss(training: HeadSettings, kind: str, is_logits: bool, folder: Path) -> TrainedLoss | None:
    if training.loss == AUTO:
        return None
    if is_reference(training.loss):
        return own_loss(training.loss, kind, folder)
    return named_loss(training.loss, kind, is_logits, training.quantiles or ())


def _remarks(model: keras.Model, head: Head, given: TrainedLoss | None, rows: TrainingRows) -> Iterator[str]:
    """What of a compilation is not used, and what outputs may be instead."""
    if given is not None and (head.loss is None or head.loss.key != given.key):
        yield f"{UNUSED_LOSS} {given.name} is not used: training.loss is {head.loss_name}"
    yield from remarks_on_compilation(model)
    yield from own_outputs.remarks_on_quantities(head.loss, rows) if head.meaning == "quantities" else ()


def _refusal(message: str) -> InputError:
    return InputError(ARCHITECTURE, f"the model {message}")
