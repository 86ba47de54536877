"""The loss that a user's function compiled its model with, as a loss of single examples."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
from keras import losses

from nightune.models.errors import InputError
from nightune.models.library_internals.models import compiled_loss, is_defined_by_keras, is_part_of_keras
from nightune.models.networks.losses import (
    INDICES,
    ONE_HOT,
    OWN_LOSS,
    SAME,
    SHARES_LOSS,
    ExampleLoss,
    TrainedLoss,
    located,
    own_form,
    place_of,
)
from nightune.vocabulary import ARCHITECTURE, POSITIONS

_MEANS = ("sum_over_batch_size", "mean", "mean_with_sample_weight")
_COMPILED = "compiled by the model's function"
CROSSENTROPIES = ("categorical_crossentropy", "sparse_categorical_crossentropy")
_SHORT = {
    "mean_squared_error": "mse",
    "mean_absolute_error": "mae",
    "cosine_similarity": "cosine",
}
_OF_QUANTITIES = (
    "mean_squared_error",
    "mean_absolute_error",
    "mean_squared_logarithmic_error",
    "mean_absolute_percentage_error",
    "huber",
    "log_cosh",
    "poisson",
)


def compiled(
    model: keras.Model, kind: str, folder: Path, is_one_hot: bool = False, has_shares: bool = False
) -> TrainedLoss | None:
    """Return the loss that a model was compiled with, None if there is none; InputError if it cannot be used.

    With `has_shares` quantities are shares of classes, which may have a cross-entropy.
    """
    given, weights = _given(model)
    if given is None:
        return None
    if weights is not None:
        raise InputError(ARCHITECTURE, "the model is compiled with loss_weights, which one output has not; remove them")
    if isinstance(given, str) and given.lower() in ("crossentropy", "ce"):
        of_classes = kind in ("classes", POSITIONS)
        given = "sparse_categorical_crossentropy" if of_classes else "binary_crossentropy"
    loss = losses.get(given)
    if isinstance(loss, losses.Loss) and loss.reduction not in _MEANS:
        remedy = "training takes the mean over examples; remove it"
        raise InputError(ARCHITECTURE, f"the model is compiled with a loss of reduction {loss.reduction!r}: {remedy}")
    if isinstance(loss, losses.Loss) and type(loss).__call__ is not losses.Loss.__call__:
        problem = f"the model is compiled with {type(loss).__name__}, whose __call__ training does not use"
        raise InputError(ARCHITECTURE, f"{problem}; compute the loss of each example in call")
    name = keras_name(loss)
    if kind == POSITIONS:
        return _of_positions(loss, name)
    if has_shares and name == SHARES_LOSS:
        return _of_shares(loss)
    return _of_keras(loss, name, kind, is_one_hot) if name else _of_a_user(loss, kind, folder, is_one_hot)


def has_own_loss(model: keras.Model) -> bool:
    """Return whether a model was compiled with one loss, and this is a user's."""
    given, _ = _given(model)
    is_one = not isinstance(given, list | tuple | str) and (not isinstance(given, dict) or "class_name" in given)
    return given is not None and is_one and not keras_name(losses.get(given))


def _given(model: keras.Model) -> tuple[Any, Any]:
    """Return the loss that a model was compiled with, also one in a list or a dictionary, and the weights of losses."""
    given, weights = compiled_loss(model)
    while isinstance(given, list | tuple | dict) and len(given) == 1 and "class_name" not in given:
        (given,) = given.values() if isinstance(given, dict) else given
    return given, weights


def _of_positions(loss: Any, name: str) -> TrainedLoss:
    """Take the cross-entropy of a class at each position; InputError for others, and for settings of their own."""
    config = loss.get_config() if isinstance(loss, losses.Loss) else {}
    shown = name or getattr(loss, "__name__", type(loss).__name__)
    if config.get("ignore_class") is not None:
        ignored = config["ignore_class"]
        problem = f"the model is compiled with ignore_class = {ignored}, whose loss divides by the other positions"
        remedy = f"leave it out, and set ignore_class = {ignored} in [data]: the loss divides by all positions"
        raise InputError(ARCHITECTURE, f"{problem} of a batch; {remedy}")
    if name not in CROSSENTROPIES or config.get("label_smoothing") or config.get("axis", -1) != -1:
        settings = " with settings of its own" if name in CROSSENTROPIES else ""
        problem = f"the model is compiled with {shown}{settings}, and the data has a class at each position"
        remedy = "compile sparse_categorical_crossentropy, and smooth labels by penalty.label_smoothing"
        raise InputError(ARCHITECTURE, f'{problem}; {remedy}, or give labels, task = "multilabel"')
    return TrainedLoss("crossentropy", _COMPILED, reads_logits=_reads_logits(name, config), key=ARCHITECTURE)


def _of_shares(loss: Any) -> TrainedLoss:
    if isinstance(loss, losses.Loss) and loss.get_config().get("from_logits"):
        remedy = "end in a softmax, and compile it without from_logits, so that a version answers with shares"
        problem = f"the model is compiled with the {SHARES_LOSS} of logits, and targets are shares"
        raise InputError(ARCHITECTURE, f"{problem}; {remedy}")
    function = loss.call if isinstance(loss, losses.Loss) else loss
    return TrainedLoss(SHARES_LOSS, _COMPILED, ExampleLoss(SHARES_LOSS, function), False, ARCHITECTURE)


def _of_a_user(loss: Any, kind: str, folder: Path, is_one_hot: bool) -> TrainedLoss:
    shown = getattr(loss, "__name__", type(loss).__name__)
    function = located(loss.call if isinstance(loss, losses.Loss) else loss, shown, ARCHITECTURE, folder)
    own = ExampleLoss(OWN_LOSS, function, own_form(kind, is_one_hot))
    return TrainedLoss(shown, _COMPILED, own, key=ARCHITECTURE, place=place_of(loss))


def _of_keras(loss: Any, name: str, kind: str, is_one_hot: bool) -> TrainedLoss:
    config = loss.get_config() if isinstance(loss, losses.Loss) else {}
    reads_logits = _reads_logits(name, config)
    if _is_default(name, config, kind):
        default = "mse" if kind == "quantities" else "crossentropy"
        return TrainedLoss(default, _COMPILED, reads_logits=reads_logits, key=ARCHITECTURE)
    _refuse_other_task(name, config, kind, is_one_hot)
    function = loss.call if isinstance(loss, losses.Loss) else loss
    if kind == "classes" and name.startswith("binary_"):
        function = _of_probabilities(function)
    form = SAME if kind != "classes" else (INDICES if name.startswith("sparse_") else ONE_HOT)
    example_loss = ExampleLoss(name, function, form)
    return TrainedLoss(_SHORT.get(name, name), _COMPILED, example_loss, reads_logits, ARCHITECTURE)


def _refuse_other_task(name: str, config: dict[str, Any], kind: str, is_one_hot: bool) -> None:
    if kind != "classes" and "categorical" in name:
        raise _of_classes(name, kind)
    if kind == "classes" and not is_one_hot and name in _OF_QUANTITIES:
        remedy = 'for a quantity set task = "regression" in [data]; for classes compile a cross-entropy'
        problem = f"the model is compiled with {name}, a loss of quantities, and the task has classes; {remedy}"
        raise InputError("data.task", problem)
    if config.get("ignore_class") is not None:
        remedy = "leave out the rows of this class, or compile the loss without it"
        raise InputError(ARCHITECTURE, f"the model is compiled with an ignore_class, which training has not; {remedy}")


def _of_probabilities(function: Callable[..., Any]) -> Callable[..., Any]:
    """Pass a new tensor: on TensorFlow Keras reads the logits of a softmax as those of sigmoids (3.15)."""
    return lambda y_true, y_pred: function(y_true, y_pred + 0.0)


def _of_classes(name: str, kind: str) -> InputError:
    """The error for a compiled loss of one class per row where the task or the outputs are others."""
    said = f"the model is compiled with {name}, a loss of one class per row"
    if kind == "two classes":
        remedy = "end in one output for each class, or compile binary_crossentropy"
        return InputError(ARCHITECTURE, f"{said} over several outputs, and has one output; {remedy}")
    what, remedy = {
        "quantities": ("the task is regression", 'set task = "classification" in [data] or compile another loss'),
        "labels": ("the task is multilabel", 'set task = "multiclass" in [data] or compile binary_crossentropy'),
    }[kind]
    return InputError("data.task", f"{said}; {what}: {remedy}")


def keras_name(loss: Any) -> str:
    """Return the function's name of one of Keras' own losses; empty for a user's, also in Keras' wrapper."""
    if isinstance(loss, losses.Loss):
        if not is_part_of_keras(loss):
            return ""
        loss = getattr(loss, "fn", None) or type(loss)
    return str(loss.__name__) if is_defined_by_keras(loss) else ""


def _reads_logits(name: str, config: dict[str, Any]) -> bool | None:
    """Whether one of Keras' losses reads logits: as configured, hinges do, overlaps do not, others are unknown."""
    if "crossentropy" in name:
        return bool(config.get("from_logits", False))
    if name in ("dice", "tversky"):
        return False
    return True if "hinge" in name else None


def _is_default(name: str, config: dict[str, Any], kind: str) -> bool:
    """True if the loss computes what the task's default one does."""
    known = {
        "quantities": ("mean_squared_error",),
        "two classes": ("binary_crossentropy",),
        "labels": ("binary_crossentropy",),
        "classes": ("categorical_crossentropy", "sparse_categorical_crossentropy"),
    }
    is_plain = not config.get("label_smoothing") and config.get("ignore_class") is None
    return name in known[kind] and is_plain and config.get("axis", -1) == -1
