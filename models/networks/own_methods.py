"""Methods of a model's own in place of Keras': those that train it, and those that no trial can follow."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from nightune.models.errors import InputError
from nightune.models.library_internals.models import all_layers, compiled_loss, is_compiled
from nightune.vocabulary import ARCHITECTURE

TRAINING = ("train_step", "compute_loss", "make_train_function")  # `fit` calls them
_PREDICTION = ("predict", "predict_step", "predict_on_batch")
_COMPILED_WITH = ("optimizer", "loss", "metrics", "run_eagerly", "jit_compile", "auto_scale_loss")
_PLAIN_COMPILE = "def compile(self, *arguments, **options), which passes them to super().compile"


def own_methods(model: keras.Model, names: tuple[str, ...]) -> list[str]:
    """Return which of the methods are not Keras' own, but of the model's class or of the model itself."""
    return [
        name
        for name in names
        if name in vars(model) or getattr(type(model), name, None) is not getattr(keras.Model, name)
    ]


def refuse_unused_methods(model: keras.Model) -> None:
    """Raise InputError for methods and states whose work a trial would leave out, with what to write instead."""
    stateful = [layer.name for layer in all_layers(model) if getattr(layer, "stateful", False)]
    if stateful:
        problem = f"the layer {stateful[0]} carries its state from batch to batch, but batches are of shuffled examples"
        raise InputError(ARCHITECTURE, f"{problem}; build it without stateful=True")
    if own_methods(model, ("compute_metrics",)):
        remedy = "remove it: [objective] decides what is measured"
        raise InputError(ARCHITECTURE, f"the model has a compute_metrics of its own, which trials do not use; {remedy}")
    for name in own_methods(model, ("fit", *_PREDICTION)):
        remedy = "compute what is predicted in call" if name in _PREDICTION else "train one batch in train_step(data)"
        raise InputError(ARCHITECTURE, f"the model has a {name} of its own, which trials do not call; {remedy}")
    if own_methods(model, ("compile",)):
        _refuse_compile(model, inspect.signature(type(model).compile))


def refuse_replacing_compile(model: keras.Model, optimizer: Any, loss: Any) -> None:
    """Raise InputError for a model that was just compiled with these, and whose compile passed on others."""
    if model.optimizer is not optimizer or compiled_loss(model)[0] is not loss:
        problem = "the model's compile replaces the study's optimizer or the settled loss"
        raise InputError(ARCHITECTURE, f"{problem}; write {_PLAIN_COMPILE} as they are")


def remarks_on_methods(model: keras.Model, loss: str) -> Iterator[str]:
    """Yield what a model's own methods do not decide."""
    own = own_methods(model, (*TRAINING, "test_step"))
    if own:
        yield f"val_loss is the loss {loss} of the model's outputs; its own {' and '.join(own)} does not compute it"


def _refuse_compile(model: keras.Model, signature: inspect.Signature) -> None:
    """A trial compiles with what Keras' own method takes: the study's optimizer, and the settled loss."""
    known, parameters = inspect.signature(keras.Model.compile).parameters, signature.parameters
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    more = [name for name, each in parameters.items() if each.kind in named and name not in known]
    if more:
        remedy = "take the study's only optimizer as self.optimizer, and everything else in __init__"
        problem = f"the model's compile takes {', '.join(more)}, which a trial does not give; {remedy}"
        raise InputError(ARCHITECTURE, problem)
    if "loss" in parameters and is_compiled(model) and compiled_loss(model)[0] is None:
        problem = "the model's compile does not pass its loss to super().compile, so that trials do not know it"
        raise InputError(ARCHITECTURE, f"{problem}; write {_PLAIN_COMPILE}, and read self.compute_loss")
    takes_any = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
    lacking = [] if takes_any else [name for name in _COMPILED_WITH if name not in parameters]
    if lacking:
        problem = f"the model's compile does not take {', '.join(lacking)}; write {_PLAIN_COMPILE}"
        raise InputError(ARCHITECTURE, problem)


def reported_loss(history: Mapping[str, list[Any]], name: str, last: Mapping[str, Any]) -> float:
    """Return the loss of an epoch of `fit`: the metric of this name, or what a model's own step returns as its loss.

    `last` is what the step of the last batch returned; empty for Keras' own step. Keras reports the 0 of its tracker
    for a step that returns only a `loss` and updates no metric: then the loss of the last batch is returned. InputError
    if the step returns no loss, or several values without this name.
    """
    values = {key: value[0] for key, value in history.items() if value}
    names = [key for key in (name, "loss", "total_loss") if key in values] or (list(values) if len(values) == 1 else [])
    found = values[names[0]] if names else None
    if names and found == 0.0 and names[0] in last:
        found = np.asarray(keras.ops.convert_to_numpy(last[names[0]]))
    try:
        return float(found)  # type: ignore[arg-type] # None and arrays of several numbers are refused
    except (TypeError, ValueError) as error:
        problem = f"the model's train_step returns {', '.join(values) or 'nothing'}, without one number named 'loss'"
        raise InputError(ARCHITECTURE, f"{problem}; return {{'loss': loss}}, the mean over the batch") from error
