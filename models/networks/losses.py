"""Losses of single examples as Keras computes them: named ones, a user's own, and those that a model was compiled with.

A loss is one function for training, for `val_loss` and for the rows of the promotion gate.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from keras import losses, ops

from nightune.models.error_causes import described
from nightune.models.errors import InputError
from nightune.models.techniques.losses import SIGNED_LOSSES
from nightune.models.user_code import load_loss_function

KEY = "training.loss"
OF_A_ROW = (
    ": take columns of both, such as y_true[:, 0] - y_pred[:, 0], instead of pairs of rows; for survival, write the "
    "likelihood of a row under a distribution, or in intervals of time, instead of a partial likelihood"
)
ROWS_AT_ONCE = 2**16
SAME, ONE_HOT, INDICES = "same", "one-hot", "indices"  # the form of the targets that a loss reads
SHARES_LOSS = "categorical_crossentropy"  # of targets that are shares of classes
OWN_LOSS = "own_loss"  # the name of any function of the user
FOCAL_GAMMA = 2.0  # Lin et al., 2017
Shape = tuple[int, ...]
NEEDS_UNITS = (*SIGNED_LOSSES, "kl_divergence", "mean_squared_logarithmic_error", "mean_absolute_percentage_error")


class ExampleLoss(losses.Loss):
    """A loss as one number per example: the mean over all other axes of what a function of (y_true, y_pred) returns.

    The function gets `y_true` as `fit` would give it: (examples, outputs), or the indices of classes (examples,), all
    as floats. With a `shape` of an example it gets both in this shape.
    """

    def __init__(self, name: str, function: Callable[..., Any], targets: str = SAME, shape: Shape = ()) -> None:
        super().__init__(name=name)
        self._function, self._targets, self._shape = function, targets, shape

    def of_shape(self, shape: Shape) -> "ExampleLoss":
        """Return the same loss for examples of this shape."""
        return ExampleLoss(self.name, self._function, self._targets, shape)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each example, (examples,)."""
        if self._shape:
            y_true, y_pred = (ops.reshape(each, (-1, *self._shape)) for each in (y_true, y_pred))
        if self._targets != SAME:  # class indices, which Keras casts to floats
            y_true = ops.reshape(y_true, (-1,))
        if self._targets == ONE_HOT:
            y_true = ops.one_hot(ops.cast(y_true, "int32"), y_pred.shape[-1], dtype=y_pred.dtype)
        elif self._targets == SAME and len(y_true.shape) < len(y_pred.shape):
            y_true = ops.expand_dims(y_true, -1)
        values = ops.convert_to_tensor(self._function(ops.cast(y_true, y_pred.dtype), y_pred))
        return ops.mean(values, axis=tuple(range(1, len(values.shape)))) if len(values.shape) > 1 else values


class FlatLoss(losses.Loss):
    """A loss of outputs of several axes: that of all numbers of an example in one row."""

    def __init__(self, loss: Any, size: int) -> None:
        super().__init__(name=loss.name)
        self._loss, self._size = loss, size

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each example, (examples,)."""
        return self._loss.call(*(ops.reshape(each, (-1, self._size)) for each in (y_true, y_pred)))


class SmoothedCrossentropy(losses.Loss):
    """Smoothed cross-entropy for class indices; Keras supports smoothing for one-hot targets only."""

    def __init__(self, is_logits: bool, label_smoothing: float) -> None:
        super().__init__(name="smoothed_crossentropy")
        self._is_logits, self._label_smoothing = is_logits, label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each example, (examples,)."""
        classes = ops.cast(ops.reshape(y_true, (-1,)), "int32")  # Keras casts targets to floats
        one_hot = ops.one_hot(classes, y_pred.shape[-1], dtype=y_pred.dtype)
        return losses.categorical_crossentropy(one_hot, y_pred, self._is_logits, self._label_smoothing)


@dataclass(frozen=True, eq=False)
class TrainedLoss:
    """A loss in place of the task's default one, or of a known meaning of outputs.

    `example_loss` is None for the default one. `reads_logits` is None where the loss does not say.
    """

    name: str
    because: str
    example_loss: ExampleLoss | None = None
    reads_logits: bool | None = None
    key: str = KEY
    place: str = ""  # line and file of a user's own function, for messages

    @property
    def is_own(self) -> bool:
        """True if it is a function of the user, who knows how many outputs it reads."""
        return self.example_loss is not None and self.example_loss.name == OWN_LOSS

    @property
    def needs_units(self) -> bool:
        """True if targets that are shifted and scaled make no sense for it."""
        return self.name in NEEDS_UNITS

    @property
    def needs_positive_outputs(self) -> bool:
        """True if it takes the logarithm of outputs."""
        return self.name == "poisson"

    @property
    def reads_any(self) -> bool:
        """True if outputs of classes may be any numbers, of which the largest is the answer."""
        return self.example_loss is not None and self.reads_logits is None and self.name != "kl_divergence"

    def rows(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the loss of each example, (examples,) float64, as in training; InputError if it has another shape."""
        assert self.example_loss is not None
        parts = []
        for start in range(0, len(outputs), ROWS_AT_ONCE):
            span = slice(start, start + ROWS_AT_ONCE)
            y_true, y_pred = (ops.convert_to_tensor(each[span].astype(np.float32)) for each in (targets, outputs))
            values = self.example_loss.call(y_true, y_pred)
            if tuple(values.shape) != (len(y_true),):
                remedy = "return one number per example, such as ops.mean(…, axis=-1), or set loss in [training]"
                problem = f"the loss {self.name} returned shape {tuple(values.shape)}"
                raise InputError(self.key, f"{problem}; {remedy}{self.place}")
            parts.append(np.asarray(ops.convert_to_numpy(values), np.float64))
        return np.concatenate(parts) if parts else np.empty(0)


def named_loss(name: str, kind: str, is_logits: bool, quantiles: Sequence[float]) -> TrainedLoss:
    """Return a loss of Nightune's own names for a kind of head; the task's default one has no `example_loss`."""
    because = f"{KEY} of the study"
    if name in ("crossentropy", "mse"):
        return TrainedLoss(name, because)
    if name == "focal":
        function = _focal(kind, is_logits)
        return TrainedLoss(name, because, ExampleLoss(name, function, ONE_HOT if kind == "classes" else SAME))
    if name == "pinball":
        return TrainedLoss(name, because, ExampleLoss(name, pinball(quantiles)))
    functions = {
        "mae": losses.mean_absolute_error,
        "huber": losses.huber,
        "log_cosh": losses.log_cosh,
        "poisson": losses.poisson,
        "cosine": losses.cosine_similarity,
    }
    return TrainedLoss(name, because, ExampleLoss(name, functions[name]))


def loss_of_shares() -> TrainedLoss:
    """Return the cross-entropy of shares of classes with outputs that sum to 1."""
    example_loss = ExampleLoss(SHARES_LOSS, losses.categorical_crossentropy)
    return TrainedLoss(SHARES_LOSS, f"{KEY} of the study", example_loss, reads_logits=False)


def own_loss(reference: str, kind: str, folder: Path, is_one_hot: bool = False) -> TrainedLoss:
    """Return a user's function of (y_true, y_pred); its errors become InputErrors with file and line.

    It reads classes as the data holds them: one-hot or their indices.
    """
    function = load_loss_function(reference, folder)
    file = (folder / reference.rpartition(":")[0]).resolve()
    called = located(function, reference.rpartition(":")[2], KEY, file.parent)
    loss = ExampleLoss(OWN_LOSS, called, own_form(kind, is_one_hot))
    return TrainedLoss(reference, f"{KEY} of the study", loss, place=place_of(function))


def own_form(kind: str, is_one_hot: bool) -> str:
    if kind != "classes":
        return SAME
    return ONE_HOT if is_one_hot else INDICES


def pinball(quantiles: Sequence[float]) -> Callable[[Any, Any], Any]:
    """Return max(q·e, (q − 1)·e) of the error e = y − ŷ, one column per quantile q (Koenker & Bassett, 1978)."""
    levels = np.array(quantiles, np.float32)

    def loss(y_true: Any, y_pred: Any) -> Any:
        errors = y_true - y_pred
        return ops.maximum(levels * errors, (levels - 1.0) * errors)

    return loss


def _focal(kind: str, is_logits: bool) -> Callable[[Any, Any], Any]:
    """(1 − p)²·(−log p) of the true class's probability p, without weights of classes."""
    if kind == "classes":
        return lambda y_true, y_pred: losses.categorical_focal_crossentropy(
            y_true, y_pred, alpha=1.0, gamma=FOCAL_GAMMA, from_logits=is_logits
        )
    return lambda y_true, y_pred: losses.binary_focal_crossentropy(
        y_true, y_pred, gamma=FOCAL_GAMMA, from_logits=is_logits
    )


def located(function: Callable[..., Any], name: str, key: str, folder: Path) -> Callable[..., Any]:
    def call(y_true: Any, y_pred: Any) -> Any:
        try:
            return function(y_true, y_pred)
        except Exception as error:
            raise InputError(key, f"the loss {name} raised {described(error, folder)}") from error

    return call


def refuse_wrong_values(loss: TrainedLoss, outputs: np.ndarray, targets: np.ndarray) -> None:
    """Refuse a loss that is not one finite number per example, whatever the other examples of the batch are."""
    rows, where = loss.rows(outputs, targets), loss.place
    if np.isnan(rows).any():
        raise InputError(loss.key, f"the loss {loss.name} is NaN for outputs of the untrained model{where}")
    spans = [slice(row, row + 1) for row in range(min(3, len(rows)))]
    alone = np.concatenate([loss.rows(outputs[span], targets[span]) for span in spans])
    if not np.allclose(alone, rows[: len(alone)], rtol=1e-4, atol=1e-5):
        problem = "has another value for an example in another batch; it must read each example on its own"
        remedy = OF_A_ROW if loss.is_own else ""
        raise InputError(loss.key, f"the loss {loss.name} {problem}{where}{remedy}")


def refuse_other_numbers(loss: TrainedLoss, classes: Sequence[Any]) -> None:
    """Refuse a loss that computes with numbers of classes where these are not 0, 1, …, as which training knows them.

    Cross-entropies and hinges of Keras name classes; a squared error, or a user's loss, has other values for −1 and 1.
    """
    computes = loss.example_loss is not None and loss.reads_logits is None
    are_numbers = all(isinstance(each, int | float | np.number) for each in classes)
    if not computes or not are_numbers or list(classes) == list(range(len(classes))):
        return
    shown = f"{classes[0]:g} and {classes[-1]:g}" if len(classes) == 2 else f"{classes[0]:g} to {classes[-1]:g}"
    problem = f"the classes are {shown}, and the loss {loss.name} would get their indices, 0 to {len(classes) - 1}"
    indices = "return the indices, np.unique(y, return_inverse=True)[1]"
    numbers = 'set task = "regression" in [data] to train on the numbers' if len(classes) == 2 else ""
    raise InputError("data.task", f"{problem}; {' or '.join(filter(None, (numbers, indices)))}{loss.place}")


def refuse_other_values(loss: TrainedLoss, values: np.ndarray, disturbed: np.ndarray) -> None:
    """Refuse a loss that has other values once the model's weights are disturbed: it belongs to one build of it."""
    if not np.array_equal(values, disturbed, equal_nan=True):
        remedy = "penalize them by a kernel_regularizer, or by add_loss in a layer"
        raise InputError(loss.key, f"the loss {loss.name} reads weights of the model; {remedy}{loss.place}")


def place_of(function: Any) -> str:
    """The first line of a user's function or class, in brackets; empty if it has no source."""
    try:
        source = inspect.unwrap(function) if inspect.isroutine(function) else type(function)
        return f" (line {inspect.getsourcelines(source)[1]} of {Path(inspect.getfile(source)).name})"
    except (OSError, TypeError, ValueError):
        return ""


def reads_logits(loss: TrainedLoss, size: int = 1) -> bool | None:
    """Return whether a loss of one output for two classes, or of `size` labels, reads logits; None if it does not show.

    Without weights of classes, both classes have the same loss at the output between them: 0 for logits, or one half.
    """
    if loss.reads_logits is not None or loss.example_loss is None:
        return loss.reads_logits
    both = np.repeat([[0.0], [1.0]], size, axis=1)
    apart = {}
    for point in (0.0, 0.5):
        first, second = loss.rows(np.full((2, size), point), both)
        apart[point] = abs(first - second) / max(abs(first), abs(second), 1e-6)
    if min(apart.values()) > 1e-3 or not np.isfinite([*apart.values()]).any():
        return None
    return bool(apart[0.0] < apart[0.5])
