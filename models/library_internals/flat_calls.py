"""Undocumented details of TensorFlow: a traced function is called with its tensors in one row."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

Call = Callable[[Sequence[Any]], Any]


def flat_call(function: Any, arguments: Sequence[Any], tensors: Sequence[Any]) -> Call | None:
    """Return a call of the trace of these arguments by their tensors; None if TensorFlow has another order of them.

    A call by arguments takes them apart, describes each tensor and looks for the trace, which costs more than the
    call itself. Later calls must give tensors of the same shapes and types: nothing is checked, and nothing is traced.
    """
    traced = function.get_concrete_function(*arguments)
    kind = traced.function_type
    expected = kind.unpack_inputs(kind.bind(*arguments))
    if len(expected) != len(tensors) or any(one is not other for one, other in zip(expected, tensors, strict=True)):
        return None
    return partial(_call, traced)


def _call(traced: Any, tensors: Sequence[Any]) -> Any:
    return traced._call_flat(list(tensors), traced.captured_inputs)
