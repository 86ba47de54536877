"""The meaning of a model's outputs (logits, probabilities or quantities), and the loss for it."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, losses, metrics, ops

from nightune.models.errors import InputError
from nightune.models.library_internals.models import operation_of, sources_of
from nightune.vocabulary import ARCHITECTURE

BINARY = ("two classes", "labels")  # each output has a binary cross-entropy of its own


@dataclass(frozen=True)
class Head:
    """The comparison of outputs with targets.

    `kind` is "quantities", "classes", "two classes" (one output) or "labels" (one output for each, several may hold).
    """

    kind: str
    is_logits: bool

    def make_loss(self, label_smoothing: float = 0.0) -> Any:
        """Return Keras' loss: the mean over the examples of a batch.

        The share `label_smoothing` of each target is spread evenly over the classes (Szegedy et al., 2016); a label is
        two classes of its own.
        """
        if self.kind == "quantities":
            return losses.MeanSquaredError()
        if self.kind in BINARY:
            return losses.BinaryCrossentropy(from_logits=self.is_logits, label_smoothing=label_smoothing)
        if label_smoothing:
            return _SmoothedCrossentropy(self.is_logits, label_smoothing)
        return losses.SparseCategoricalCrossentropy(from_logits=self.is_logits)

    def make_metric(self, name: str) -> Any:
        """Return the loss as a metric: its mean over the examples of an epoch."""
        if self.kind == "quantities":
            return metrics.MeanSquaredError(name=name)
        kind = metrics.BinaryCrossentropy if self.kind in BINARY else metrics.SparseCategoricalCrossentropy
        return kind(from_logits=self.is_logits, name=name)

    def targets(self, targets: np.ndarray) -> np.ndarray:
        """Return the targets in the outputs' shape, or as class indices, so that Keras infers nothing."""
        if self.kind == "classes":
            return targets.astype(np.int32)
        return targets.astype(np.float32).reshape(len(targets), -1)


class _SmoothedCrossentropy(losses.Loss):
    """Smoothed cross-entropy for class indices; Keras supports smoothing for one-hot targets only."""

    def __init__(self, is_logits: bool, label_smoothing: float) -> None:
        super().__init__(name="smoothed_crossentropy")
        self._is_logits, self._label_smoothing = is_logits, label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        classes = ops.cast(ops.reshape(y_true, (-1,)), "int32")  # Keras casts targets to floats
        one_hot = ops.one_hot(classes, y_pred.shape[-1], dtype=y_pred.dtype)
        return losses.categorical_crossentropy(one_hot, y_pred, self._is_logits, self._label_smoothing)


def read_head(model: keras.Model, task: str, output_size: int, sample: np.ndarray) -> Head:
    """Determine the head of a built model; InputError if no loss fits. Two classes may have one output or two.

    `sample` is a few inputs, for models whose own code computes the outputs.
    """
    size = output_shape(model, sample)[-1]
    assert size is not None  # ensured by build_model
    if task == "regression":
        if size != output_size:
            raise _refusal(f"has {size} outputs for {output_size} quantities")
        return Head("quantities", is_logits=False)
    activation = final_activation(model)
    if task == "multilabel":
        return _label_head(size, output_size, activation)
    if size == 1:
        if activation == "softmax":
            raise _refusal("ends in a softmax over one output, which is always 1; use sigmoid or no activation")
        return Head("two classes", is_logits=activation != "sigmoid")
    if activation == "sigmoid":
        raise _refusal(f"ends in a sigmoid over {size} outputs, which do not form a distribution; use softmax")
    return Head("classes", is_logits=activation != "softmax" and not _is_distribution(model, sample))


def _label_head(size: int, labels: int, activation: str) -> Head:
    if size != labels:
        raise _refusal(f"has {size} outputs for {labels} labels")
    if activation == "softmax":
        raise _refusal(
            f"ends in a softmax over {labels} labels, which allows one label per row; use sigmoid or no activation, or "
            'for targets with exactly one label per row set task = "multiclass" in [data]'
        )
    return Head("labels", is_logits=activation != "sigmoid")


def has_graph(model: keras.Model) -> bool:
    """True if the model is a graph of layers; False if its own code computes the outputs."""
    return bool(getattr(model, "outputs", None))


def output_shape(model: keras.Model, sample: np.ndarray) -> tuple[int | None, ...]:
    """Return the shape of the outputs, examples first; builds a model without a graph."""
    shape = model.output_shape if has_graph(model) else model(sample).shape
    return tuple(shape)


def final_activation(model: keras.Model) -> str:
    """Return the name of the last activation before the outputs; "linear" if there is none.

    For a model without a graph it is that of the last layer.
    """
    if has_graph(model):
        return _activation_before(model.outputs[0])
    return next((name for name in map(_activation, reversed(model.layers)) if name), "linear")


# These return their values unchanged, possibly in another shape.
_CARRIERS = (layers.Reshape, layers.Flatten, layers.Identity, layers.InputLayer)


def _activation_before(tensor: Any) -> str:
    name = _activation(operation_of(tensor))
    if name is not None:
        return name
    sources = sources_of(tensor)
    return _activation_before(sources[0]) if sources else "linear"


def _activation(operation: Any) -> str | None:
    """The activation of one layer or operation, or None if it returns its inputs unchanged."""
    if isinstance(operation, keras.Model):
        return final_activation(operation)
    if isinstance(operation, layers.Activation):
        name = _name_of(operation.activation)
        return None if name == "linear" else name  # a linear one only sets the data type
    if isinstance(operation, _CARRIERS):
        return None
    if hasattr(operation, "activation"):
        return _name_of(operation.activation)
    kind = type(operation).__name__.lower()  # layers.Softmax, and operations such as ops.softmax
    return kind if kind in ("softmax", "sigmoid") else "linear"


def _name_of(activation: Any) -> str:
    return str(getattr(activation, "__name__", "linear"))


def _is_distribution(model: keras.Model, sample: np.ndarray) -> bool:
    """True if the model's own code returns probabilities: outputs that sum to 1 are not logits."""
    if has_graph(model):
        return False
    outputs = np.asarray(model.predict_on_batch(sample), dtype=np.float64)
    return bool(np.all(outputs >= 0.0) and np.allclose(outputs.sum(axis=1), 1.0, atol=1e-4))


def _refusal(message: str) -> InputError:
    return InputError(ARCHITECTURE, f"the model {message}")
