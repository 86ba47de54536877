"""The heads of a model of several outputs: each is settled by itself, and their losses are added by weight."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import losses
from keras import metrics as keras_metrics

from nightune.models.data.heads import HeadData, of_head
from nightune.models.errors import InputError
from nightune.models.networks import heads
from nightune.models.networks.class_factors import ClassFactors
from nightune.models.networks.compilation_remarks import is_of_loss, remarks_on_compilation
from nightune.models.networks.head_losses import CompiledHeads, compiled_heads
from nightune.models.networks.heads import Head
from nightune.models.networks.named_metrics import Named
from nightune.models.networks.packed_models import Packing, packing_of
from nightune.models.networks.training_rows import TrainingRows
from nightune.models.techniques.losses import AUTO, HeadSettings, TrainingSettings
from nightune.vocabulary import ARCHITECTURE, LOSS_SAID, POSITIONS, unknown_name

JOINT = "heads"  # the kind of a joint head
WEIGHTS_KEY = "training.loss_weights"


@dataclass(frozen=True, eq=False)
class Part:
    """One of several heads: its data, its own head, the columns of its outputs, and the weight of its loss."""

    data: HeadData
    head: Head
    columns: tuple[int, int]
    weight: float
    place: str | int = ""  # in what the author's model returns

    def outputs(self, packed: Any) -> Any:
        """Return the head's outputs (rows, size) of those of all heads."""
        return packed[:, self.columns[0] : self.columns[1]]


@dataclass(frozen=True, eq=False)
class JointHead(Head):
    """Several heads as one: outputs and targets are those of all in one row, the loss is their weighted sum."""

    parts: tuple[Part, ...] = ()
    weights_because: str = ""

    @property
    def loss_name(self) -> str:
        """The losses of the heads in one text."""
        return " + ".join(f"{each.weight:g} {each.head.loss_name}" for each in self.parts)

    @property
    def loss_names(self) -> tuple[str, ...]:
        """The name of the loss of each head."""
        return tuple(each.head.loss_name for each in self.parts)

    @property
    def is_compiled_loss(self) -> bool:
        """True if the study leaves the loss of some head to the model."""
        return any(each.head.is_compiled_loss for each in self.parts)

    @property
    def said(self) -> str:
        """What was settled of each head, and by what."""
        lines = [f"{each.data.name}: {each.head.said}" for each in self.parts]
        weights = ", ".join(f"{each.data.name} {each.weight:g}" for each in self.parts)
        return f"{'; '.join(lines)}{LOSS_SAID}weights {weights} ({self.weights_because})"

    @property
    def description(self) -> dict[str, Any]:
        """What a registered version says of its outputs."""
        described = [
            {**each.data.described, **each.head.description, "place": each.place, "outputs_at": list(each.columns)}
            for each in sorted(self.parts, key=lambda part: part.data.columns)
        ]
        size = max(each.columns[1] for each in self.parts)
        return {"heads": described, "output_size": size, "loss_weights": self.loss_weights}

    @property
    def loss_weights(self) -> dict[str, float]:
        """The weight of each head's loss by name."""
        return {each.data.name: each.weight for each in self.parts}

    @property
    def problem_of_smoothing(self) -> InputError | None:
        """Why labels cannot be smoothed: no head has any, or the loss of one is another than crossentropy."""
        known = [each for each in self.parts if each.head.kind != "quantities"]
        if not known:
            return InputError("penalty.label_smoothing", "no head has classes to spread a target over; remove it")
        for each in known:
            if (problem := each.head.problem_of_smoothing) is not None:
                return InputError(problem.key, f"head {each.data.name!r}: {of_head(problem.message, each.data.name)}")
        return None

    @property
    def weighs_classes(self) -> bool:
        """True: a row has a class in each of several heads."""
        return True

    def make_loss(self, label_smoothing: Any = 0.0, classes: ClassFactors | None = None) -> Any:
        """Return the weighted sum of the heads' losses, of which those of classes are smoothed, and weighed by class.

        `classes` are the weights of the classes of all heads that have some, in the order of the data's heads.
        """
        if label_smoothing and self.problem_of_smoothing:
            raise self.problem_of_smoothing
        factors = {} if classes is None else self._factors(classes)
        none = 0.0
        made = [
            each.head.make_loss(
                none if each.head.kind == "quantities" else label_smoothing, factors.get(each.data.name)
            )
            for each in self.parts
        ]
        return _JointLoss(self.parts, made, factors)

    def make_metric(self, name: str, classes: ClassFactors | None = None) -> Any:
        """Return the loss as a metric: its mean over the examples of an epoch."""
        return keras_metrics.MeanMetricWrapper(self.make_loss(classes=classes).call, name=name)

    def _factors(self, classes: ClassFactors) -> dict[str, ClassFactors]:
        """Return the weights of the classes of each head that has some."""
        found, first = {}, 0
        for each in sorted(self.parts, key=lambda part: part.data.columns):
            if each.data.has_weighable_classes:
                found[each.data.name] = classes.beginning_at(first)
                first += len(each.data.classes or ())
        return found

    def targets(self, targets: np.ndarray) -> np.ndarray:
        """Return the targets of all heads as they are, float32."""
        return np.ascontiguousarray(targets, np.float32)

    def metrics(
        self,
        task: str,
        outputs: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray | None = None,
        named: Named = heads.NONE_NAMED,
    ) -> dict[str, float]:
        """Return `loss`, the weighted sum, and the metrics of each head with its name in front.

        If an output of any head is not finite, all are NaN.
        """
        found: dict[str, float] = {}
        for each in self.parts:
            own = each.outputs(outputs), each.data.targets(targets), each.data.row_weights(targets, weights)
            values = each.head.metrics(each.data.task, *own, named.of_head(each.data.name))
            found |= {f"{each.data.name}_{metric}": value for metric, value in values.items()}
        total = sum(each.weight * found[f"{each.data.name}_loss"] for each in self.parts if each.weight)
        found = {"loss": float(total), **found}
        return found if np.isfinite(outputs).all() else dict.fromkeys(found, float("nan"))

    def points(self, outputs: np.ndarray) -> np.ndarray:
        """Return the outputs: those of heads differ in meaning."""
        return outputs

    def part(self, name: str) -> Part:
        """Return the head of a name."""
        return next(each for each in self.parts if each.data.name == name)


class _JointLoss(losses.Loss):
    """Σ weight · loss of each head, of columns of targets and outputs."""

    def __init__(self, parts: Sequence[Part], made: Sequence[Any], factors: Mapping[str, ClassFactors]) -> None:
        super().__init__(name="joint_loss")
        self._parts, self._made, self._factors = tuple(parts), tuple(made), factors

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each example, (examples,)."""
        total: Any = 0.0
        for part, loss in zip(self._parts, self._made, strict=True):
            if part.weight == 0.0:
                continue
            targets = y_true[:, part.data.columns[0] : part.data.columns[1]]
            outputs = part.outputs(y_pred)
            if part.head.kind == "classes":
                targets = keras.ops.cast(targets[:, 0], "int32")
            elif part.head.kind == POSITIONS:
                outputs = keras.ops.reshape(outputs, (-1, *part.head.shape))
            each = loss.call(targets, outputs)
            factors = self._factors.get(part.data.name)
            if factors is not None and part.head.kind != POSITIONS:  # whose loss multiplies those of its positions
                each = each * factors.of(keras.ops.cast(keras.ops.reshape(targets, (-1,)), "int32"))
            if part.data.has_weights:
                each = each * y_true[:, part.data.described["weight_column"]]
            total = total + part.weight * each
        return total


def read_head(
    model: keras.Model,
    rows: TrainingRows,
    training: TrainingSettings | HeadSettings = heads.PLAIN,
    folder: Path = Path(),
) -> Head:
    """Settle the head of a built model, or all heads of a packed one; InputError if no loss fits.

    `folder` is the study's, for the files of the user. The model is as before afterwards.
    """
    packing = packing_of(model)
    if packing is None:
        return heads.read_head(model, rows, training, folder)
    assert isinstance(training, TrainingSettings)
    names = tuple(packing.tensors)
    _refuse_unknown_heads(training, names)
    given = compiled_heads(packing)
    weights, because = _weights(training, given, names)
    parts: list[Part] = []
    for name in names:
        head = _read_part(packing, name, rows, training, given, folder)
        start = parts[-1].columns[1] if parts else 0
        size = int(np.prod([int(length or 0) for length in head_shape(packing, name, rows)]))
        parts.append(Part(rows.heads[name][0], head, (start, start + size), weights[name], packing.places[name]))
    remarks = tuple(f"head {each.data.name!r}: {line}" for each in parts for line in each.head.remarks)
    values = tuple(f"{each.data.name} {value}" for each in parts for value in each.head.values)
    remarks = (*remarks, *_untrained(parts, training, given), *remarks_on_compilation(packing.model))
    return JointHead(JOINT, False, remarks=remarks, values=values, parts=tuple(parts), weights_because=because)


def head_shape(packing: Packing, name: str, rows: TrainingRows) -> tuple[int, ...]:
    """Return the shape of an example's outputs of a head, of axes of any length that for a few rows."""
    shape = packing.shapes[name]
    if None in shape:
        shape = tuple(packing.view(name)(rows.two, training=False).shape)[1:]
    return tuple(int(length or 0) for length in shape)


def _read_part(
    packing: Packing, name: str, rows: TrainingRows, training: TrainingSettings, given: CompiledHeads, folder: Path
) -> Head:
    view = packing.view(name)
    given.attach(view, name)
    own = replace(rows.heads[name][1], inputs=rows.inputs)
    try:
        head = heads.read_head(view, own, training.of_name(name), folder)
    except InputError as error:
        raise InputError(error.key, f"head {name!r}: {of_head(error.message, name)}") from error
    if head.parameters:
        remedy = "return one array as the target, from which the loss takes its columns"
        raise InputError("training.outputs", f"head {name!r}: parameters of a loss are those of one target; {remedy}")
    return replace(head, remarks=tuple(each for each in head.remarks if is_of_loss(each)))


def _untrained(parts: Sequence[Part], training: TrainingSettings, given: CompiledHeads) -> Iterator[str]:
    """Say which heads are not trained, and which ones are, though the model is compiled without a loss for them."""
    stated = training.loss_weights if isinstance(training.loss_weights, Mapping) else {}
    for each in parts:
        name = each.data.name
        lacks = given.lacks(name) and training.of_name(name).loss == AUTO and name not in stated
        if each.weight == 0.0 and name not in stated:
            because = "without a loss for it" if lacks else "with the weight 0 for it"
            yield f"head {name!r} is not trained: the model is compiled {because}; set loss_weights"
        elif lacks:
            yield f"head {name!r} is trained, since loss_weights is set: the model is compiled without a loss for it"


def _refuse_unknown_heads(training: TrainingSettings, names: Sequence[str]) -> None:
    for key, stated in training.named_heads.items():
        for name in stated:
            if name not in names:
                raise InputError(key, unknown_name(name, names, "head"))
    quantiles = training.quantiles
    for name in quantiles if isinstance(quantiles, Mapping) else ():
        if training.of_name(name).loss != "pinball":
            raise InputError("training.quantiles", f"head {name!r} has quantiles, and its loss is not pinball")


def _weights(training: TrainingSettings, given: CompiledHeads, names: Sequence[str]) -> tuple[dict[str, float], str]:
    """Return the weight of each head's loss, and what settled them: the study, the compilation, or 1 each.

    A table of the study weighs heads that it does not name by 1. InputError for negative ones, or 0 for all.
    """
    if isinstance(training.loss_weights, Mapping):
        stated = {name: float(training.loss_weights.get(name, 1.0)) for name in names}
        if not any(stated.values()):
            raise InputError(WEIGHTS_KEY, "every head has the weight 0: nothing is trained; give one a weight above 0")
        return stated, f"{WEIGHTS_KEY} of the study"
    untrained = [name for name in names if given.lacks(name) and training.of_name(name).loss == AUTO]
    weights = {name: 0.0 if name in untrained else float(given.weights.get(name, 1.0)) for name in names}
    negative = next((name for name in names if not 0.0 <= weights[name] < math.inf), None)
    if negative is not None:
        problem = f"the model is compiled with the loss weight {weights[negative]} of {negative!r}"
        raise InputError(ARCHITECTURE, f"{problem} (allowed: finite numbers from 0)")
    if not any(weights.values()):
        raise InputError(ARCHITECTURE, "the model is compiled with the loss weight 0 of each head: nothing is trained")
    return weights, "compiled by the model's function" if given.weights or untrained else "1 each"
