"""Run the epochs of one trial in a compiled program: lay out plans in blocks, compute them in calls of a second."""

import itertools
import time
from collections.abc import Hashable, Sequence
from functools import cache
from typing import Any, cast

import numpy as np

from nightune.models.engines.compiled.arrays import State, Updates
from nightune.models.engines.compiled.batch_layout import (
    Part,
    capped_parts,
    maximum_block_size,
    order_length,
    padded_order,
)
from nightune.models.engines.compiled.compiled_program import CompiledProgram, ManyEpochs
from nightune.models.engines.memory import MICRO_BATCH_SIZE
from nightune.models.recipe.recipe import Recipe
from nightune.models.training.plan import EpochPlan


def run_epoch(
    compiled: CompiledProgram, state: State, recipe: Recipe, plan: EpochPlan, cap: int = 0
) -> tuple[State, float, np.ndarray]:
    """Train and validate one epoch; return the state, the mean loss and the outputs (validation examples, size).

    `cap` is the maximum block size in examples; 0: the program decides.
    """
    hyperparameters, parts = compiled.program.hyperparameters(recipe, plan), lay_out(compiled, plan, cap)
    order, outputs = padded_order(plan, parts), None
    losses: list[Any] = []
    for part in parts:
        for call in compiled.pace.calls(part.count, part is parts[-1], losses):
            span = np.array([call.start, call.end, call.is_last], np.int32)
            rule = compiled.program.rule_index(recipe)
            updates = Updates(hyperparameters, order, part.bounds, part.rates, span, rule)
            state, loss, outputs = compiled.train(state, updates, call.loss, part.shape)
            losses.append(loss)
    outputs = np.array(outputs)
    total = float(np.sum([np.asarray(loss) for loss in losses], dtype=np.float64))
    return state, total / plan.examples, outputs.reshape(len(outputs), -1)


def would_compile(compiled: CompiledProgram, plan: EpochPlan) -> bool:
    """Return whether `compile_ahead` would begin the function of a plan's first call."""
    parts = lay_out(compiled, plan)
    return compiled.would_compile(parts[0].shape, order_length(plan, parts), len(parts[0].bounds))


def compile_ahead(compiled: CompiledProgram, state: State, recipe: Recipe, plan: EpochPlan) -> None:
    """Trace the function of a plan's first call, and compile it beside what follows."""
    hyperparameters, parts = compiled.program.hyperparameters(recipe, plan), lay_out(compiled, plan)
    part, span = parts[0], np.zeros(3, np.int32)
    rule = compiled.program.rule_index(recipe)
    updates = Updates(hyperparameters, padded_order(plan, parts), part.bounds, part.rates, span, rule)
    compiled.compile_ahead(state, updates, np.float32(0.0), part.shape)


def run_epochs(
    compiled: CompiledProgram, state: State, recipe: Recipe, plans: Sequence[EpochPlan]
) -> tuple[State, list[tuple[float, np.ndarray, list[np.ndarray]]]]:
    """Train and validate several epochs of one layout; return the state, and each epoch's loss, outputs and weights."""
    started_at = time.perf_counter()
    assert isinstance(compiled, ManyEpochs)
    hyperparameters = [compiled.program.hyperparameters(recipe, plan) for plan in plans]
    rule = compiled.program.rule_index(recipe)
    state, losses, outputs, weights = compiled.train_epochs(state, hyperparameters, rule, plans)
    compiled.pace.measure(sum(plan.updates for plan in plans), started_at)
    means = [float(loss) / plan.examples for loss, plan in zip(losses, plans, strict=True)]
    values = [epoch.reshape(len(epoch), -1) for epoch in outputs]
    return state, list(zip(means, values, weights, strict=True))


def epochs_at_once(compiled: CompiledProgram, state: State, plan: EpochPlan) -> int:
    """Return how many epochs like this one take about a second."""
    if compiled.program.has_statistics or not _computes_many_epochs(type(compiled)):
        return 1
    maximum = cast(ManyEpochs, compiled).epochs_at_once(state, plan)
    return max(1, min(maximum, compiled.pace.updates_per_call // plan.updates))


@cache
def _computes_many_epochs(kind: type) -> bool:
    return issubclass(kind, ManyEpochs)  # asked once: Python compares the names of all methods


def same_layout_prefix(compiled: CompiledProgram, plans: Sequence[EpochPlan]) -> list[EpochPlan]:
    """Return the longest prefix of the plans that has one layout."""
    if len(plans) == 1:
        return [*plans]
    layouts = [layout_key(compiled, plan) for plan in plans]
    return list(itertools.compress(plans, itertools.takewhile(bool, (each == layouts[0] for each in layouts))))


def layout_key(compiled: CompiledProgram, plan: EpochPlan, cap: int = 0) -> Hashable:
    """Return the properties of a layout that must be equal for plans to be computed in one call."""
    return (plan.examples, *((part.shape, len(part.bounds)) for part in lay_out(compiled, plan, cap)))


def lay_out(compiled: CompiledProgram, plan: EpochPlan, cap: int = 0) -> tuple[Part, ...]:
    """Lay out a plan in blocks of at most `cap` examples; 0: the program decides."""
    return capped_parts(plan, cap) if cap else compiled.parts(plan)


def block_size(compiled: CompiledProgram, plan: EpochPlan, cap: int) -> int:
    """Return the maximum number of examples of a plan that are computed at once."""
    return maximum_block_size(plan, lay_out(compiled, plan, cap))


def statistics(compiled: CompiledProgram, state: State, plan: EpochPlan, cap: int = 0) -> dict[str, float]:
    """Return the statistics after an epoch, by curve, including the micro-batch size if the block size is limited."""
    micro_batch = {MICRO_BATCH_SIZE: float(block_size(compiled, plan, cap))} if cap else {}
    return {**compiled.program.statistics(state), **micro_batch}
