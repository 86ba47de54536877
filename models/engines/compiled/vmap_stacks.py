"""Compute epochs of several trials at once as a stack: one program over arrays with an additional axis (`vmap`).

Each member has its own state, and each epoch stacks the trials that still train. A member therefore has its own
snapshots and resumes from them; bit-equal only in a stack of the same size, because XLA rounds differently in others.
"""

import time
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import jax
import jax.numpy as jnp
import numpy as np

from nightune.models.engines.compiled.arrays import Data, State, Updates
from nightune.models.engines.compiled.batch_layout import Part, Shape, padded_order
from nightune.models.engines.compiled.engine import CompiledState
from nightune.models.engines.compiled.epochs import lay_out, layout_key, statistics
from nightune.models.engines.compiled.jax_backend import JaxProgram
from nightune.models.engines.compiled.jax_functions import train_calls
from nightune.models.engines.compiled.pace import Call
from nightune.models.engines.compiled.program import Program
from nightune.models.library_internals.devices import jax_memory_statistics
from nightune.models.training.engine import EpochOutput
from nightune.models.training.plan import EpochPlan
from nightune.settings import MAXIMUM_STACK as MAXIMUM_MEMBERS
from nightune.settings import read_settings

MEMORY_SHARE = 0.5  # of the device's memory, for the states of all members
STATES_PER_MEMBER = 4  # argument, stacked, trained and returned

Member = tuple[CompiledState, EpochPlan]


def stack_members() -> int:
    """Return how many trials to compute at once: NIGHTUNE_STACK, or 1 on CPUs, where stacks are not faster."""
    requested = read_settings().stack
    if requested is not None:
        return requested
    return 1 if jax.default_backend() == "cpu" else MAXIMUM_MEMBERS


class Stacks:
    """Computes epochs of several trials at once; the trials of a stack share a program and a layout of batches.

    A stack that does not fit into the device's memory is halved, and later stacks are not larger.
    """

    def __init__(self, members: int) -> None:
        self._maximum = members
        self._reduced: WeakKeyDictionary[JaxProgram, int] = WeakKeyDictionary()  # maximum after running out of memory
        self.largest = 0  # maximum number of members computed at once so far

    def run_epochs(self, members: Sequence[Member]) -> list[tuple[CompiledState, EpochOutput] | Exception]:
        """Execute each member's plan; return the results in order. The given states stay valid.

        An error of a stack is the result of each of its members.
        """
        results: dict[int, tuple[CompiledState, EpochOutput] | Exception] = {}
        groups: dict[Hashable, list[int]] = defaultdict(list)
        for index, (state, plan) in enumerate(members):
            groups[_group_key(state, plan)].append(index)
        for indices in groups.values():
            try:
                trained: Sequence[Any] = self._run_in_stacks([members[index] for index in indices])
            except Exception as error:
                trained = [error] * len(indices)
            results.update(zip(indices, trained, strict=True))
        return [results[index] for index in range(len(members))]

    def _run_in_stacks(self, members: Sequence[Member]) -> list[tuple[CompiledState, EpochOutput]]:
        program = members[0][0].executable
        assert isinstance(program, JaxProgram)
        maximum = min(self._maximum, self._reduced.get(program, _maximum_by_memory(members[0][0].arrays)))
        trained: list[tuple[CompiledState, EpochOutput]] = []
        while len(trained) < len(members):
            stack = members[len(trained) : len(trained) + maximum]
            try:
                trained += _run(program, stack)
                self.largest = max(self.largest, len(stack))
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error):
                    raise
                maximum = self._reduced[program] = len(stack) // 2
                if maximum == 0:
                    raise MemoryError(f"one trial does not fit into the device's memory: {error}") from error
        return trained


def _group_key(state: CompiledState, plan: EpochPlan) -> Hashable:
    rule = int(state.executable.program.rule_index(state.recipe))  # a switch by member would compute all rules
    return (id(state.executable), rule, state.cap, layout_key(state.executable, plan, state.cap))


def _maximum_by_memory(arrays: State) -> int:
    """Return how many members' states fit into their share of the device's memory, if its size is known."""
    limit = jax_memory_statistics().get("bytes_limit")
    if limit is None:
        return MAXIMUM_MEMBERS
    state_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(arrays))
    return max(1, int(MEMORY_SHARE * limit / max(1, STATES_PER_MEMBER * state_bytes)))


def _run(compiled: JaxProgram, members: Sequence[Member]) -> list[tuple[CompiledState, EpochOutput]]:
    """Compute one stack, padded to a power of two with its first member, so that few sizes are compiled."""
    started_at = time.perf_counter()
    padded = [*members, *[members[0]] * ((1 << (len(members) - 1).bit_length()) - len(members))]
    layouts = [lay_out(compiled, plan, state.cap) for state, plan in padded]
    hyperparameters = np.stack([compiled.program.hyperparameters(state.recipe, plan) for state, plan in padded])
    orders = np.stack([padded_order(plan, parts) for (_, plan), parts in zip(padded, layouts, strict=True)])
    states = tuple(state.arrays for state, _ in padded)
    losses: list[Any] = []
    outputs: Any = None
    train = compiled.extra("stack", _compile)
    for parts in zip(*layouts, strict=True):
        for call in compiled.pace.calls(max(part.count for part in parts), parts[0] is layouts[0][-1], losses):
            rule = compiled.program.rule_index(members[0][0].recipe)
            updates = _stacked(hyperparameters, orders, parts, call, rule)
            before = np.broadcast_to(np.asarray(call.loss, np.float32), len(parts))
            static = {"shape": parts[0].shape, "is_last": call.is_last}
            function = ("stack", parts[0].shape, call.is_last, updates.order.shape, updates.bounds.shape)
            with compiled.first_calls.measured(function):
                moved, loss, outputs = train(states, updates, before, compiled.data, **static)
            states = tuple(State(*arrays) for arrays in moved)
            losses.append(loss)
    total: Any = np.sum([np.asarray(loss) for loss in losses], axis=0, dtype=np.float64)
    outputs = np.array(outputs)
    seconds = (time.perf_counter() - started_at) / len(members)  # each trial's share
    trained = []
    for row, (state, plan) in enumerate(members):
        epoch = outputs[row].reshape(len(outputs[row]), -1)
        curves = statistics(compiled, states[row], plan, state.cap)
        output = EpochOutput(float(total[row]) / plan.examples, epoch, compiled.program.head, seconds, curves)
        trained.append((replace(state, arrays=states[row]), output))
    return trained


def _stacked(hyperparameters: Any, orders: Any, parts: Sequence[Part], call: Call, rule: np.int32) -> Updates:
    bounds, rates = (np.stack([getattr(part, name) for part in parts]) for name in ("bounds", "rates"))
    # A member with fewer updates than others has an empty span in the last calls, and does not change.
    spans = np.array([[min(call.start, part.count), min(call.end, part.count)] for part in parts], np.int32)
    return Updates(hyperparameters, orders, bounds, rates, spans, rule)


def _compile(program: Program) -> Any:
    return jax.jit(partial(_train_stack, program), static_argnames=("shape", "is_last"))


def _train_stack(
    program: Program, states: Any, updates: Updates, before: Any, data: Data, *, shape: Shape, is_last: bool
) -> Any:
    """Apply `train_calls` to a tuple of states, and to updates whose first axis is the member; all share the data."""
    one = partial(train_calls, program, shape=shape, is_last=is_last)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    axes = Updates(*[0] * len(updates))._replace(rule=None)  # all members have one rule
    stacked, losses, outputs = jax.vmap(one, in_axes=(0, axes, 0, None))(stacked, updates, before, data)
    members = tuple(tuple(jax.tree.map(lambda leaf, row=row: leaf[row], stacked)) for row in range(len(states)))
    return members, losses, outputs
