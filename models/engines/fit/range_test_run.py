"""Run the learning rate range test on a started state, and restore the state afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import keras
import numpy as np
import numpy.typing as npt

from nightune.models.data.dataset import Dataset
from nightune.models.engines.fit.engine import FitEngine
from nightune.models.engines.fit.fitted_epoch import FitState
from nightune.models.recipe.recipe import Recipe
from nightune.models.techniques.learning_rates.range_test import Array, RangeTest, is_over, read_range_test
from nightune.models.techniques.penalties.penalties import PenaltySettings
from nightune.models.techniques.weight_decays.weight_decays import WeightDecaySettings
from nightune.models.training.plan import EpochPlan

_VALIDATED = 8  # examples; an engine validates in each call, and the test ignores the result


def probed_recipe(recipe: Recipe) -> Recipe:
    """Return the recipe without weight decay and penalty, which depend on the rate and would distort the result."""
    return replace(recipe, weight_decay=WeightDecaySettings(), penalty=PenaltySettings())


def probed_dataset(dataset: Dataset) -> Dataset:
    """Return the data with the whole training split and the smallest validation split that an engine needs."""
    return replace(dataset, validation=dataset.validation.part(slice(_VALIDATED)))


def run_range_test(
    engine: FitEngine, state: FitState, rates: Array, batches: Iterator[npt.NDArray[np.int32]]
) -> RangeTest:
    """Make one update with each rate until the loss explodes; restore weights, slots and random state.

    The loss of an update is its batch's loss before the update, in training mode and without penalties.
    """
    losses: list[float] = []
    with unchanged(state):
        for place, rate in enumerate(rates):
            plan = _one_update(place + 1, next(batches), float(rate))
            state, output = engine.run_epoch(state, plan)
            losses.append(output.loss)
            if is_over(losses):
                break
    return read_range_test(rates, losses)


def shuffled_batches(examples: int, size: int, seed: int) -> Iterator[npt.NDArray[np.int32]]:
    """Yield batches of one size forever, in the order of a training's epochs without their smaller last batches."""
    size, epoch = min(size, examples), 0
    while True:
        epoch += 1
        order = np.random.default_rng([seed, epoch]).permutation(examples).astype(np.int32)
        for start in range(0, examples - size + 1, size):
            yield order[start : start + size]


@contextmanager
def unchanged(state: FitState) -> Iterator[None]:
    """Restore every variable of the model and of its optimizer bit for bit: weights, slots, counters, seeds."""
    variables = [*state.model.variables, *state.model.optimizer.variables]
    before = [np.array(keras.ops.convert_to_numpy(variable.value)) for variable in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)


def _one_update(number: int, batch: npt.NDArray[np.int32], rate: float) -> EpochPlan:
    return EpochPlan(
        epoch=number,
        order=batch,
        batch_sizes=np.array([len(batch)], np.int32),
        learning_rates=np.array([rate], np.float32),
        shrinks=np.zeros(1, np.float32),
        weight_decay=0.0,
        l1=0.0,
        l2=0.0,
        penalty=0.0,
    )
