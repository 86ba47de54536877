"""Epochs of one trial in a compiled program: plans laid out in blocks, and computed in calls of about a second."""

import itertools
import time
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from nightune.models.engines.compiled.arrays import State, Updates
from nightune.models.engines.compiled.batch_layout import Part, capped_parts, largest_block, padded_order
from nightune.models.engines.compiled.compiled_program import CompiledProgram, ManyEpochs
from nightune.models.engines.memory import MICRO_BATCH_SIZE
from nightune.models.recipe.recipe import Recipe
from nightune.models.training.plan import EpochPlan


def run_epoch(
    compiled: CompiledProgram, state: State, recipe: Recipe, plan: EpochPlan, cap: int = 0
) -> tuple[State, float, np.ndarray]:
    """Train and validate one epoch; return the running loss and the outputs, (validation examples, size).

    At most `cap` examples are computed at a time; 0: as the program likes.
    """
    numbers, parts = compiled.program.numbers(recipe, plan), laid_out(compiled, plan, cap)
    order, outputs = padded_order(plan, parts), None
    losses: list[Any] = []
    for part in parts:
        for call in compiled.pace.calls(part.count, part is parts[-1], losses):
            span = np.array([call.start, call.end, call.is_last], np.int32)
            updates = Updates(numbers, order, part.bounds, part.rates, span)
            state, loss, outputs = compiled.train(state, updates, call.loss, part.shape)
            losses.append(loss)
    outputs = np.array(outputs)
    total = float(np.sum([np.asarray(loss) for loss in losses], dtype=np.float64))
    return state, total / plan.examples, outputs.reshape(len(outputs), -1)


def run_epochs(
    compiled: CompiledProgram, state: State, recipe: Recipe, plans: Sequence[EpochPlan]
) -> tuple[State, list[tuple[float, np.ndarray, list[np.ndarray]]]]:
    """Train and validate several epochs of one layout; return for each what `run_epoch` returns, and the weights."""
    started_at = time.perf_counter()
    assert isinstance(compiled, ManyEpochs)
    numbers = [compiled.program.numbers(recipe, plan) for plan in plans]
    state, losses, outputs, weights = compiled.train_epochs(state, numbers, plans)
    compiled.pace.measure(sum(plan.updates for plan in plans), started_at)
    means = [float(loss) / plan.examples for loss, plan in zip(losses, plans, strict=True)]
    values = [epoch.reshape(len(epoch), -1) for epoch in outputs]
    return state, list(zip(means, values, weights, strict=True))


def epochs_at_once(compiled: CompiledProgram, state: State, plan: EpochPlan) -> int:
    """How many epochs like this one take about a second."""
    if compiled.program.has_statistics or not isinstance(compiled, ManyEpochs):
        return 1
    most = compiled.epochs_at_once(state, plan)
    return max(1, min(most, compiled.pace.updates_a_call // plan.updates))


def alike(compiled: CompiledProgram, plans: Sequence[EpochPlan]) -> list[EpochPlan]:
    """The first plans, as far as they have one layout."""
    layouts = [layout(compiled, plan) for plan in plans]
    return list(itertools.compress(plans, itertools.takewhile(bool, (each == layouts[0] for each in layouts))))


def layout(compiled: CompiledProgram, plan: EpochPlan, cap: int = 0) -> Hashable:
    """What plans must have in common to be computed in one call."""
    return (plan.examples, *((part.shape, len(part.bounds)) for part in laid_out(compiled, plan, cap)))


def laid_out(compiled: CompiledProgram, plan: EpochPlan, cap: int = 0) -> tuple[Part, ...]:
    """Lay out a plan, with at most so many examples computed at a time; 0: as the program likes."""
    return capped_parts(plan, cap) if cap else compiled.parts(plan)


def block(compiled: CompiledProgram, plan: EpochPlan, cap: int) -> int:
    """How many examples of a plan are computed at a time."""
    return largest_block(plan, laid_out(compiled, plan, cap))


def statistics(compiled: CompiledProgram, state: State, plan: EpochPlan, cap: int = 0) -> dict[str, float]:
    """The curves after an epoch that was computed with at most so many examples at a time."""
    smaller = {MICRO_BATCH_SIZE: float(block(compiled, plan, cap))} if cap else {}
    return {**compiled.program.statistics(state), **smaller}
