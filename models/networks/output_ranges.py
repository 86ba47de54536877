"""The range of a model's outputs, measured on training rows with its own weights and with larger ones."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from nightune.models.library_internals.models import variables_kept
from nightune.models.networks.isolated_random import isolated_random
from nightune.models.serving.input_trees import ArrayTree, row_count

SCALES = (1.0, 3.0, 10.0, 30.0, 100.0)  # of either sign; the last ones saturate bounded outputs
NOISE = 0.3  # added to weights, relative to their scale: biases and weights that start at zero move, too
HUGE = 1e20  # an output of this size has no bound but that of its number format
FREE = 2.0  # beyond the bounds of tanh, elu, selu, gelu and silu
SUM_APART = 1e-2  # of a distribution's sum from 1, in any number format


@dataclass(frozen=True)
class Measured:
    """The lowest and highest output, whether they still grow with the largest weights, and the sum of each row."""

    low: float
    high: float
    grows_below: bool
    grows_above: bool
    is_distribution: bool  # each row sums to 1
    is_log_distribution: bool  # the exponentials of each row do

    @property
    def is_in_unit(self) -> bool:
        """True if all outputs are between 0 and 1."""
        return self.low >= -1e-6 and self.high <= 1.0 + 1e-3

    @property
    def is_free(self) -> bool:
        """True if outputs of both signs pass every bound of an activation, or grow with the weights."""
        return (self.grows_below or self.low < -FREE) and (self.grows_above or self.high > FREE)

    @property
    def bounds(self) -> tuple[float, float]:
        """The bounds that no weights pass; infinite where outputs grow with the weights."""
        low, high = (-np.inf if self.grows_below else self.low), (np.inf if self.grows_above else self.high)
        return (-np.inf if low < -HUGE else low), (np.inf if high > HUGE else high)

    def shown(self) -> str:
        """Return the bounds in words."""
        if self.is_in_unit:
            return "between 0 and 1"
        low, high = self.bounds
        words = [f"never below {low + 0.0:.3g}"] if np.isfinite(low) else []
        words += [f"never above {high + 0.0:.3g}"] if np.isfinite(high) else []
        return " and ".join(words) or "of any size"


def measure_outputs(model: keras.Model, sample: ArrayTree, classes_at: int = 0) -> Measured:
    """Compute the outputs of sample rows in inference mode, with the weights and with scaled and disturbed ones.

    With `classes_at` each position of so many classes is a row.

    The model's variables, and the generators of random numbers, are as before afterwards.
    """
    with isolated_random(), variables_kept(model) as before:
        rows = [_outputs(model, sample, classes_at)]
        for number, scale in enumerate(SCALES):
            found = []
            for signed in (scale, -scale):
                disturb(model, before, signed, number)
                found.append(_outputs(model, sample, classes_at))
            rows.append(np.concatenate(found))
    return _measured(rows)


def disturb(model: keras.Model, before: list[tuple[Any, np.ndarray]], scale: float, seed: int) -> None:
    """Assign disturbed weights times scale, from the values before; what a layer keeps in bounds stays in them."""
    trained, generator = {id(variable) for variable in model.trainable_variables}, np.random.default_rng(seed)
    for variable, value in before:
        if id(variable) in trained and value.dtype.kind == "f":
            variable.assign(disturbed(value, scale, generator))
            if variable.constraint is not None:
                variable.assign(variable.constraint(variable.value))


def disturbed(value: np.ndarray, scale: float, generator: np.random.Generator) -> np.ndarray:
    """Return a weight's values with noise, scaled: zeros move, too."""
    spread = float(np.abs(value).max(initial=0.0)) or 1.0
    noise = NOISE * spread * generator.standard_normal(value.shape)
    return (scale * (value + noise)).astype(value.dtype)


def _outputs(model: keras.Model, sample: ArrayTree, classes_at: int) -> np.ndarray:
    """The outputs of the rows that are finite, (rows, size) float64: large weights may overflow."""
    outputs: Any = keras.ops.convert_to_numpy(model(sample, training=False))
    outputs = np.asarray(outputs, np.float64)
    outputs = outputs.reshape(-1, classes_at) if classes_at else outputs.reshape(row_count(sample), -1)
    finite: np.ndarray = outputs[np.isfinite(outputs).all(axis=1)]
    return finite


def _measured(rows: list[np.ndarray]) -> Measured:
    filled = [each for each in rows if len(each)]
    if not filled:
        return Measured(-np.inf, np.inf, True, True, False, False)
    lows, highs = ([float(pick(each)) for each in filled] for pick in (np.min, np.max))
    everything = np.concatenate(filled)
    logs = everything.max(axis=1) + np.log(np.exp(everything - everything.max(axis=1, keepdims=True)).sum(axis=1))
    return Measured(
        low=min(lows),
        high=max(highs),
        grows_below=_grows([-low for low in lows]),
        grows_above=_grows(highs),
        is_distribution=bool(np.all(np.abs(everything.sum(axis=1) - 1.0) <= SUM_APART)),
        is_log_distribution=bool(np.all(np.abs(logs) <= SUM_APART)),
    )


def _grows(extremes: list[float]) -> bool:
    """True if the extremes still grow between the two largest scales, or no scale saturated them."""
    return len(extremes) < 3 or (extremes[-2] > 0.0 and extremes[-1] > 1.5 * extremes[-2])
