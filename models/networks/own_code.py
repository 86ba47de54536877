"""Find out if a model contains code that does not belong to Keras: a `.keras` file does not hold that code."""

import functools
import inspect
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from nightune.models.library_internals.models import SET_BY_COMPILE

_PLAIN = (str, bytes, int, float, complex, np.ndarray, np.generic, keras.Variable)


def has_own_code(model: keras.Model) -> bool:
    """True if anything in the model is not Keras' own: a class, a function, a replaced method, or a Lambda layer.

    Then only the function that built the model can build it again. It is also true of models whose structure Keras
    cannot write.
    """
    seen: dict[int, Any] = {}  # holds the objects, so that no other one gets their number
    waiting: list[Any] = [model]
    while waiting:
        value = waiting.pop()
        if value is None or isinstance(value, _PLAIN) or id(value) in seen:
            continue
        seen[id(value)] = value
        if _is_own(value):
            return True
        waiting += _parts(value)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what `compile` was given
            keras.saving.serialize_keras_object(model)
    except Exception:  # what a structure without a form raises is up to Keras
        return True
    return False


def _is_own(value: Any) -> bool:
    if inspect.isclass(value):
        return not _is_of(value, "keras", "builtins", "numpy")
    if inspect.isroutine(value):
        return not _is_of(value, "keras")
    if isinstance(value, functools.partial | keras.layers.Lambda):
        return True
    if _is_of(type(value), "keras"):
        call = getattr(type(value), "call", None)
        return call is not None and not _is_of(call, "keras")
    return callable(value)


def _parts(value: Any) -> Iterator[Any]:
    """The values inside a container or an object of Keras."""
    if isinstance(value, Mapping):
        yield from list(value.values())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from list(value)
    elif _is_of(type(value), "keras") and not inspect.isroutine(value):
        held = getattr(value, "__dict__", {})
        yield from [part for name, part in list(held.items()) if name not in SET_BY_COMPILE]


def _is_of(value: Any, *packages: str) -> bool:
    module = getattr(value, "__module__", None)
    return module is None or str(module).split(".")[0] in packages
