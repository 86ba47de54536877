"""Stacks: the epochs of several trials computed at once, as one program over arrays with an axis more (`vmap`).

Each member keeps a state of its own, and an epoch's calls stack those that still train: what stopped takes no part.
So each has its own snapshots, too, and goes on from them; to the same bits where as many are stacked as were before, as
XLA rounds otherwise in stacks of another size.
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
from nightune.models.engines.compiled.epochs import laid_out, layout, statistics
from nightune.models.engines.compiled.jax_backend import JaxProgram, train_calls
from nightune.models.engines.compiled.pace import Call
from nightune.models.engines.compiled.program import Program
from nightune.models.library_internals.devices import jax_memory_statistics
from nightune.models.training.engine import EpochOutput
from nightune.models.training.plan import EpochPlan
from nightune.settings import LARGEST_STACK as MOST_MEMBERS
from nightune.settings import read_settings

MEMORY_SHARE = 0.5  # of the device's, for the states of all members
STATES_A_MEMBER = 4  # given, stacked, trained and returned

Member = tuple[CompiledState, EpochPlan]


def stack_members() -> int:
    """How many trials to compute at once: 1 on CPUs, where it gains nothing, unless NIGHTUNE_STACK says otherwise."""
    requested = read_settings().stack
    if requested is not None:
        return requested
    return 1 if jax.default_backend() == "cpu" else MOST_MEMBERS


class Stacks:
    """Computes epochs of several trials at a time; the trials of a stack share a program and a layout of batches.

    Stacks that do not fit into the device's memory are halved, and later ones are made no larger.
    """

    def __init__(self, members: int) -> None:
        self._most = members
        self._fitting: WeakKeyDictionary[JaxProgram, int] = WeakKeyDictionary()  # members found to fit
        self.largest = 0  # members computed at once so far

    def run_epochs(self, members: Sequence[Member]) -> list[tuple[CompiledState, EpochOutput] | Exception]:
        """Carry out each member's plan, in the order given; the states given stay good.

        A stack's error is the result of each of its members.
        """
        results: dict[int, tuple[CompiledState, EpochOutput] | Exception] = {}
        groups: dict[Hashable, list[int]] = defaultdict(list)
        for place, (state, plan) in enumerate(members):
            groups[_layout(state, plan)].append(place)
        for places in groups.values():
            try:
                trained: Sequence[Any] = self._run_fitting([members[place] for place in places])
            except Exception as error:
                trained = [error] * len(places)
            results.update(zip(places, trained, strict=True))
        return [results[place] for place in range(len(members))]

    def _run_fitting(self, members: Sequence[Member]) -> list[tuple[CompiledState, EpochOutput]]:
        program = members[0][0].executable
        assert isinstance(program, JaxProgram)
        most = min(self._most, self._fitting.get(program, _most_by_memory(members[0][0].arrays)))
        trained: list[tuple[CompiledState, EpochOutput]] = []
        while len(trained) < len(members):
            some = members[len(trained) : len(trained) + most]
            try:
                trained += _run(program, some)
                self.largest = max(self.largest, len(some))
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error):
                    raise
                most = self._fitting[program] = len(some) // 2
                if most == 0:
                    raise MemoryError(f"one trial does not fit into the device's memory: {error}") from error
        return trained


def _layout(state: CompiledState, plan: EpochPlan) -> Hashable:
    return (id(state.executable), state.cap, layout(state.executable, plan, state.cap))


def _most_by_memory(arrays: State) -> int:
    """How many members' states take their share of the device's memory, as far as the device tells."""
    limit = jax_memory_statistics().get("bytes_limit")
    if limit is None:
        return MOST_MEMBERS
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(arrays))
    return max(1, int(MEMORY_SHARE * limit / max(1, STATES_A_MEMBER * held)))


def _run(compiled: JaxProgram, members: Sequence[Member]) -> list[tuple[CompiledState, EpochOutput]]:
    """Compute one stack. It is filled up to a power of two by its first member, so that few sizes are compiled."""
    started_at = time.perf_counter()
    filled = [*members, *[members[0]] * ((1 << (len(members) - 1).bit_length()) - len(members))]
    laid = [laid_out(compiled, plan, state.cap) for state, plan in filled]
    numbers = np.stack([compiled.program.numbers(state.recipe, plan) for state, plan in filled])
    orders = np.stack([padded_order(plan, parts) for (_, plan), parts in zip(filled, laid, strict=True)])
    states = tuple(state.arrays for state, _ in filled)
    losses: list[Any] = []
    outputs: Any = None
    train = compiled.extra("stack", _compile)
    for parts in zip(*laid, strict=True):
        for call in compiled.pace.calls(max(part.count for part in parts), parts[0] is laid[0][-1], losses):
            updates = _stacked(numbers, orders, parts, call)
            before = np.broadcast_to(np.asarray(call.loss, np.float32), len(parts))
            how = {"shape": parts[0].shape, "is_last": call.is_last}
            moved, loss, outputs = train(states, updates, before, compiled.data, **how)
            states = tuple(State(*arrays) for arrays in moved)
            losses.append(loss)
    total: Any = np.sum([np.asarray(loss) for loss in losses], axis=0, dtype=np.float64)
    outputs = np.array(outputs)
    seconds = (time.perf_counter() - started_at) / len(members)  # each trial's share
    trained = []
    for row, (state, plan) in enumerate(members):
        epoch = outputs[row].reshape(len(outputs[row]), -1)
        found = statistics(compiled, states[row], plan, state.cap)
        is_logits = compiled.program.head.is_logits
        output = EpochOutput(float(total[row]) / plan.examples, epoch, is_logits, seconds, found)
        trained.append((replace(state, arrays=states[row]), output))
    return trained


def _stacked(numbers: Any, orders: Any, parts: Sequence[Part], call: Call) -> Updates:
    bounds, rates = (np.stack([getattr(part, name) for part in parts]) for name in ("bounds", "rates"))
    # A member whose updates are fewer than others' has none left in the end: nothing of it changes then.
    spans = np.array([[min(call.start, part.count), min(call.end, part.count)] for part in parts], np.int32)
    return Updates(numbers, orders, bounds, rates, spans)


def _compile(program: Program) -> Any:
    return jax.jit(partial(_train_stack, program), static_argnames=("shape", "is_last"))


def _train_stack(
    program: Program, states: Any, updates: Updates, before: Any, data: Data, *, shape: Shape, is_last: bool
) -> Any:
    """As `train_calls`, for a tuple of states, and updates with an axis of members first; data has none."""
    one = partial(train_calls, program, shape=shape, is_last=is_last)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    stacked, losses, outputs = jax.vmap(one, in_axes=(0, 0, 0, None))(stacked, updates, before, data)
    members = tuple(tuple(jax.tree.map(lambda leaf, row=row: leaf[row], stacked)) for row in range(len(states)))
    return members, losses, outputs
