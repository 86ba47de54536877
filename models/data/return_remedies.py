"""Say what to return instead of what a function returned, for the usual things that are neither arrays nor a table."""

from collections.abc import Mapping, Sequence, Sized
from typing import Any

INPUT_WORDS = ("x", "inputs", "images", "data", "features")
FOUR_ARRAYS = 4  # of Keras in pairs, and of train_test_split in another order
TARGET_WORDS = ("y", "targets", "target", "labels", "label", "classes")


def remedy_for(result: Any) -> str:
    """Return what to return instead; empty for what is not known here."""
    if result is None:
        return "does the function end in a `return`?"
    if isinstance(result, str):
        return "name the file in source, or read it, such as return pd.read_csv(path)"
    if isinstance(result, Mapping):
        return _of_dictionary(result)
    return _of_list(result) if isinstance(result, list | tuple) and result else ""


def remedy_for_table(inputs: Any) -> str:
    """Return what to return instead of a table of inputs beside its target; empty for anything but a table."""
    if not callable(getattr(inputs, "assign", None)):  # of pandas
        return ""
    names = ("y", "target", *(f"target_{number}" for number in range(len(inputs.columns))))
    free = next(name for name in names if name not in inputs.columns)
    return f'return one table with its target, x.assign({free}=y), with target = "{free}" in [data]: it may hold words'


def _of_list(result: Sequence[Any]) -> str:
    if all(isinstance(each, Mapping) for each in result):
        return "return pd.DataFrame(rows), with a column that [data] target names"
    if all(isinstance(each, tuple | list) and len(each) in (2, 3) for each in result):
        return "if they are examples or batches (x, y), return iter(them)"
    if len(result) == FOUR_ARRAYS and all(_length(each) for each in result):
        return 'name the arrays: return {"x_train": …, "y_train": …, "x_test": …, "y_test": …}'
    return ""


def _of_dictionary(given: Mapping[Any, Any]) -> str:
    inputs, targets = (
        next((each for each in given if str(each).lower() in words), None) for words in (INPUT_WORDS, TARGET_WORDS)
    )
    if inputs is not None and targets is not None:
        return f'return {{"x": held[{inputs!r}], "y": held[{targets!r}]}}'
    lengths = {_length(each) for each in given.values()}
    is_table = len(given) > 1 and len(lengths) == 1 and lengths != {0}
    return "for columns of a table, return pd.DataFrame(them)" if is_table else ""


def _length(given: Any) -> int:
    shape = getattr(given, "shape", None)
    if shape is not None:
        return int(shape[0]) if len(shape) else 0
    return len(given) if isinstance(given, Sized) and not isinstance(given, str | bytes) else 0


def remedy_for_element(element: Any) -> str:
    """Return what to give instead of an element of a loader."""
    if hasattr(element, "columns"):
        return "for parts of a table, return pd.concat(them)"
    if isinstance(element, Mapping) and not all(_length(each) for each in element.values()):
        return "for rows of a table, return pd.DataFrame(them)"
    if hasattr(element, "shape"):
        return "it gives inputs without targets: give (x, y)"
    return "give (x, y) or (x, y, weight), such as dataset.map(lambda row: (row['image'], row['label']))"
