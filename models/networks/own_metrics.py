"""A metric of the user: a function in a file, given in a study as `path/to/file.py:function`."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nightune.models.data.dataset import Dataset, Examples
from nightune.models.data.positions import outputs_at
from nightune.models.error_causes import cause_of, users_line
from nightune.models.errors import InputError
from nightune.models.serving.predictor import in_units
from nightune.models.serving.probabilities import class_probabilities, label_probabilities
from nightune.models.user_code import find_reference, folder_on_path, load_function
from nightune.vocabulary import POSITIONS, Direction

KEY = "objective.metric"
WEIGHTS_NAMES = ("weights", "sample_weight")
MOST_NUMBERS = 10_000_000  # of answers at positions that a check or the baseline holds at once


@dataclass(frozen=True, eq=False)
class OwnMetric:
    """A function of (y_true, y_pred[, weights]) that returns one number; weights may be called sample_weight.

    For classes `y_true` is (rows,) int64 from 0, and `y_pred` are probabilities: (rows,) of the second of two classes,
    or (rows, classes). Several labels are (rows, labels), 0 or 1 and probabilities; quantities are float64 in the units
    of the data, (rows,) or (rows, quantities). Both of several axes have the shape of the targets. Of a class at each
    position `y_true` is (rows, axis, ...), -1 for none, and `y_pred` (rows, axis, ..., classes). `weights` are
    (rows,) float64 above 0: 1 where rows have no weights, and in the gate also how often a row is in a resample. A
    function without them gets a row so often.
    """

    name: str
    direction: Direction
    file: Path
    function: Callable[..., Any]
    weights_name: str = ""  # of its argument; empty if it takes none
    head: str = ""  # of several heads the one that it measures
    key: str = KEY  # that names it

    @classmethod
    def load(cls, reference: str, folder: Path, direction: Direction, head: str = "", key: str = KEY) -> "OwnMetric":
        """Load the function that a key names; InputError if it cannot be loaded, or takes other arguments."""
        function = load_function(reference, folder, key)
        file, name = find_reference(reference, folder, key)
        return cls(name, direction, file, function, _weights_name(function, reference, key), head, key)

    def value(self, targets: np.ndarray, answers: np.ndarray, weights: np.ndarray | None) -> float:
        """Return the metric; NaN if no row has a weight. InputError with file and line if the function fails."""
        rows = np.arange(len(targets)) if weights is None else np.flatnonzero(weights > 0)
        if not len(rows):
            return float("nan")
        given = np.ones(len(rows)) if weights is None else weights[rows].astype(np.float64)
        if not self.weights_name:
            rows = np.repeat(rows, np.rint(given).astype(np.int64))
        arguments = targets[rows], answers[rows]  # copies: the function may change them
        keywords = {self.weights_name: given} if self.weights_name else {}
        try:
            with folder_on_path(self.file.parent):
                returned = self.function(*arguments, **keywords)
        except (Exception, SystemExit) as error:
            line = users_line(error, self.file.parent)
            where = f" ({line})" if line else ""
            raise InputError(self.key, f"{self.name}() of {self.file.name} raised {cause_of(error)}{where}") from error
        return self._number(returned)

    def loss(self, targets: np.ndarray, answers: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """Return the loss as a function of weights (resamples, rows): 1 minus the metric where it is maximized.

        NaN where the function fails for a part of the rows: it may need some of each class.
        """

        def of_weights(weights: np.ndarray) -> np.ndarray:
            values = np.array([self._value_of_part(targets, answers, each) for each in weights])
            return values if self.direction == "minimize" else 1.0 - values

        return of_weights

    def _value_of_part(self, targets: np.ndarray, answers: np.ndarray, weights: np.ndarray) -> float:
        try:
            return self.value(targets, answers, weights)
        except InputError:
            if (weights > 0).all():
                raise
            return float("nan")

    def _number(self, returned: Any) -> float:
        try:
            value = np.asarray(returned)
        except (TypeError, ValueError):
            value = np.asarray(None)
        if value.shape == () and (np.issubdtype(value.dtype, np.integer) or np.issubdtype(value.dtype, np.floating)):
            return float(value)
        of_shape = f" of shape {value.shape}" if value.shape else ""
        kind = f"{type(returned).__name__}{of_shape}"
        place = _place(self.function)
        raise InputError(
            self.key, f"{self.name}() of {self.file.name} returned a {kind} (needed: one number, such as a mean){place}"
        )


def answers_of(
    task: str, outputs: np.ndarray, targets: np.ndarray, is_logits: bool, description: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Convert a model's targets and finite outputs (rows, size) to the arguments of a user's metric."""
    outputs = outputs.astype(np.float64).reshape(len(outputs), -1)
    if task == "regression":
        pair = [in_units(each.reshape(len(each), -1), dict(description)) for each in (targets, outputs)]
        return plain(pair[0], description), plain(pair[1], description)
    if task == "multilabel":
        labels, probabilities = targets.astype(np.int64).reshape(outputs.shape), label_probabilities(outputs, is_logits)
        return in_shape(labels, description), in_shape(probabilities, description)
    if task == POSITIONS:
        each = class_probabilities(outputs.reshape(targets.size, -1), is_logits)
        return at_axes(targets.astype(np.int64), each, description)
    probabilities = class_probabilities(outputs, is_logits)
    return targets.astype(np.int64).reshape(-1), of_second(probabilities)


def at_axes(
    classes: np.ndarray, probabilities: np.ndarray, description: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Return classes (rows, positions) and probabilities (rows * positions, classes) in the shape of the outputs."""
    count = probabilities.shape[-1]
    shape = outputs_at(tuple(description.get("target_shape", classes.shape[1:])), count)
    return classes.reshape(-1, *shape[:-1]), probabilities.reshape(-1, *shape)


def some_rows(dataset: Dataset, examples: Examples) -> Examples:
    """Return the examples; of a class at each position evenly as many rows as leave their answers small enough.

    These are rows with a weight above 0.
    """
    most = max(MOST_NUMBERS // dataset.output_count, 1) if dataset.task == POSITIONS else len(examples)
    if len(examples) <= most:
        return examples
    weighing = np.arange(len(examples)) if examples.weights is None else np.flatnonzero(examples.weights)
    return examples.part(weighing[np.linspace(0, len(weighing) - 1, min(most, len(weighing))).astype(int)])


def plain(quantities: np.ndarray, description: Mapping[str, Any]) -> np.ndarray:
    """Return one quantity as (rows,), several as they are or in the shape of the data's targets."""
    is_one = quantities.shape[1] == 1 and "target_shape" not in description
    return quantities[:, 0] if is_one else in_shape(quantities, description)


def in_shape(values: np.ndarray, description: Mapping[str, Any]) -> np.ndarray:
    """Return values (rows, size) in the shape of the data's targets, if these have several axes."""
    return values.reshape(len(values), *description.get("target_shape", values.shape[1:]))


def of_second(probabilities: np.ndarray) -> np.ndarray:
    """Return the probabilities of the second of two classes, (rows,), those of more as they are."""
    return probabilities[:, 1] if probabilities.shape[1] == 2 else probabilities


def _weights_name(function: Callable[..., Any], reference: str, key: str) -> str:
    """Return the argument that takes weights, empty if none does; InputError unless it takes (y_true, y_pred)."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # no readable signature: its first call shows
        return ""
    name = next((name for name in WEIGHTS_NAMES if name in signature.parameters), "")
    try:
        signature.bind(None, None, **({name: None} if name else {}))
    except TypeError as error:
        message = f"{reference} must take (y_true, y_pred) or (y_true, y_pred, weights): {error}"
        raise InputError(key, message) from error
    return name


def _place(function: Any) -> str:
    try:
        return f" (line {inspect.getsourcelines(function)[1]})"
    except (OSError, TypeError):
        return ""
