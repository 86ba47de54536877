"""Measurements for adaptive penalties: losses in inference mode on fixed examples, and their slope along the decay."""

from collections.abc import Callable, Iterable

import keras
import numpy as np

from nightune.models.data.dataset import Dataset
from nightune.models.networks.heads import Head
from nightune.models.serving.input_trees import ArrayTree
from nightune.models.techniques.penalties.adaptation import HELD_OUT_LOSS, HYPERGRADIENT, NEEDED, TRAIN_LOSS, divide
from nightune.models.techniques.penalties.penalties import PenaltySettings

ZERO_SHARE = "zero_share"  # of the kernels' weights, after a proximal penalty

_STEP = 1e-2  # relative, to either side: balances the third-order error against the rounding of float32

Predict = Callable[[keras.Model, ArrayTree], np.ndarray]


def share_of_zeros(kernels: Iterable[np.ndarray]) -> float:
    """Return the share of exact zeros in the kernels, from 0 to 1."""
    zeros, count = 0, 0
    for kernel in kernels:
        zeros, count = zeros + int(np.sum(kernel == 0.0)), count + kernel.size
    return zeros / max(1, count)


class Measurements:
    """Measures one trial's model after each epoch, as its penalty requires."""

    def __init__(
        self, settings: PenaltySettings, model: keras.Model, kernels: list[keras.Variable], dataset: Dataset
    ) -> None:
        self._model, self.kernels, self._task = model, kernels, dataset.task
        self._names = NEEDED[settings.adaptation]
        self._counts_zeros = settings.kind == "l1_proximal"
        division = divide(settings, len(dataset.train))
        self._parts = {
            name: dataset.train.part(indices)
            for name, indices in ((TRAIN_LOSS, division.sample), (HELD_OUT_LOSS, division.held_out))
            if name in self._names
        }
        self.needs_weights_before = HYPERGRADIENT in self._names

    def measure(self, predict: Predict, head: Head, before: list[np.ndarray]) -> dict[str, float]:
        """Return the statistics by name; `before` holds the kernels before the last update, if they are needed."""

        def loss(name: str) -> float:
            part = self._parts[name]
            return head.metrics(self._task, predict(self._model, part.inputs), part.targets, part.weights)["loss"]

        statistics = {name: loss(name) for name in self._parts}
        if self.needs_weights_before:
            statistics[HYPERGRADIENT] = self._slope(lambda: loss(HELD_OUT_LOSS), before)
        if self._counts_zeros:
            statistics[ZERO_SHARE] = share_of_zeros(np.asarray(kernel) for kernel in self.kernels)
        return statistics

    def _slope(self, loss: Callable[[], float], direction: list[np.ndarray]) -> float:
        """Return ∇L · direction at the current kernels by a central difference, which is the same on every backend."""
        current = [np.array(kernel) for kernel in self.kernels]
        ends = []
        for step in (_STEP, -_STEP):
            for kernel, value, along in zip(self.kernels, current, direction, strict=True):
                kernel.assign(value + step * along)
            ends.append(loss())
        for kernel, value in zip(self.kernels, current, strict=True):
            kernel.assign(value)
        return (ends[0] - ends[1]) / (2.0 * _STEP)
