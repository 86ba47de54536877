"""A program of one shape of graph with its functions, as a backend compiled them."""

import itertools
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from nightune.models.engines.compiled.batch_layout import Part, capped_parts, largest_block, padded_order
from nightune.models.engines.compiled.initial_weights import InitialWeights
from nightune.models.engines.compiled.program import Program, State
from nightune.models.engines.memory import MICRO_BATCH_SIZE
from nightune.models.recipe.recipe import Recipe
from nightune.models.training.plan import EpochPlan
from nightune.models.training.seeds import Seeds, seed_dropout

FIRST_CALL_UPDATES = 256
CALL_SECONDS = 1.0
Data = tuple[Any, Any, Any]  # training inputs and targets, validation inputs


class Functions(Protocol):
    """A program compiled by a backend. States may be used up: only the state returned is good afterwards."""

    def tags(self, recipe: Recipe) -> Mapping[str, str]:
        """Say how the recipe's trials are computed."""

    def put(self, arrays: State) -> State:
        """Return copies on the device."""

    def parts(self, plan: EpochPlan) -> tuple[Part, ...]:
        """Lay out a plan."""

    def train(
        self, state: State, numbers: np.ndarray, order: Any, part: Part, call: "Call"
    ) -> tuple[State, Any, Any | None]:
        """Make some of a part's updates; return the sum of the part's losses so far, and after the last the outputs."""


@runtime_checkable
class ManyEpochs(Protocol):
    """Functions that compute several epochs in one call, where a backend gains by it."""

    def epochs_at_once(self, state: State, plan: EpochPlan) -> int:
        """How many epochs of this layout `train_epochs` takes at most; 1: it is not to be called."""

    def train_epochs(
        self, state: State, numbers: Sequence[np.ndarray], plans: Sequence[EpochPlan]
    ) -> tuple[State, np.ndarray, np.ndarray, list[list[np.ndarray]]]:
        """Carry out plans of one layout; return each one's sum of losses, its outputs and its weights."""


@dataclass(frozen=True)
class Call:
    """From which update of a part to which one call goes; the epoch's last one validates, too."""

    start: int
    end: int
    is_last: bool
    loss: Any  # float32, the sum of the losses of the part's examples before


class CompiledProgram:
    """A program with its functions compiled."""

    def __init__(self, program: Program, initial: InitialWeights, functions: Functions) -> None:
        self._program, self._initial, self.functions = program, initial, functions
        self._updates_a_call = FIRST_CALL_UPDATES
        self.is_logits = program.head.is_logits
        self.is_separable = program.is_separable

    def put(self, arrays: State) -> State:
        """Return copies of a state's arrays on the device."""
        return self.functions.put(arrays)

    def block(self, plan: EpochPlan, cap: int) -> int:
        """How many examples of a plan are computed at a time."""
        return largest_block(plan, self.parts(plan, cap))

    def parts(self, plan: EpochPlan, cap: int = 0) -> tuple[Part, ...]:
        """Lay out a plan, with at most so many examples computed at a time; 0: as the program likes."""
        return capped_parts(plan, cap) if cap else self.functions.parts(plan)

    def start(self, recipe: Recipe, seeds: Seeds) -> State:
        """Return a trial's first state."""
        seed_dropout(self._program.model, seeds.dropout)
        return self.functions.put(self._program.initial_state(self._initial.draw(seeds.weights), recipe))

    def weights(self, state: State) -> list[Any]:
        """Return the weights of the model that is measured and kept, in its order."""
        return self._program.weights(state)

    def statistics(self, state: State, plan: EpochPlan, cap: int = 0) -> dict[str, float]:
        """The curves after an epoch that was computed with at most so many examples at a time."""
        smaller = {MICRO_BATCH_SIZE: float(self.block(plan, cap))} if cap else {}
        return {**self._program.statistics(state), **smaller}

    def numbers(self, recipe: Recipe, plan: EpochPlan) -> np.ndarray:
        """Return what is data and stays the same within an epoch, as one vector."""
        return self._program.numbers(recipe, plan)

    def run(self, state: State, recipe: Recipe, plan: EpochPlan, cap: int = 0) -> tuple[State, float, np.ndarray]:
        """Train and validate one epoch; return the running loss and the outputs, (validation examples, size)."""
        numbers = self.numbers(recipe, plan)
        parts = self.parts(plan, cap)
        order, outputs = padded_order(plan, parts), None
        losses: list[Any] = []
        for part in parts:
            for call in self.calls(part.count, part is parts[-1], losses):
                state, loss, outputs = self.functions.train(state, numbers, order, part, call)
                losses.append(loss)
        outputs = np.array(outputs)
        total = float(np.sum([np.asarray(loss) for loss in losses], dtype=np.float64))
        return state, total / plan.examples, outputs.reshape(len(outputs), -1)

    def epochs_at_once(self, state: State, plan: EpochPlan) -> int:
        """How many epochs like this one take about a second."""
        if self._program.has_statistics or not isinstance(self.functions, ManyEpochs):
            return 1
        most = self.functions.epochs_at_once(state, plan)
        return max(1, min(most, self._updates_a_call // plan.updates))

    def alike(self, plans: Sequence[EpochPlan]) -> list[EpochPlan]:
        """The first plans, as far as they have one layout."""
        layouts = [self.layout(plan) for plan in plans]
        return [
            plan
            for plan, _ in itertools.takewhile(lambda pair: pair[1] == layouts[0], zip(plans, layouts, strict=True))
        ]

    def layout(self, plan: EpochPlan, cap: int = 0) -> Hashable:
        """What plans must have in common to be computed in one call."""
        return (plan.examples, *((part.shape, len(part.bounds)) for part in self.parts(plan, cap)))

    def run_epochs(
        self, state: State, recipe: Recipe, plans: Sequence[EpochPlan]
    ) -> tuple[State, list[tuple[float, np.ndarray, list[np.ndarray]]]]:
        """Train and validate several epochs of one layout; return for each what `run` returns, and the weights."""
        started_at = time.perf_counter()
        assert isinstance(self.functions, ManyEpochs)
        numbers = [self.numbers(recipe, plan) for plan in plans]
        state, losses, outputs, weights = self.functions.train_epochs(state, numbers, plans)
        pace = sum(plan.updates for plan in plans) / max(time.perf_counter() - started_at, 1e-6)
        self._updates_a_call = max(1, int(pace * CALL_SECONDS))
        means = [float(loss) / plan.examples for loss, plan in zip(losses, plans, strict=True)]
        values = [epoch.reshape(len(epoch), -1) for epoch in outputs]
        return state, list(zip(means, values, weights, strict=True))

    def calls(self, count: int, is_last_part: bool, losses: list[Any]) -> Iterator[Call]:
        """Cut a part into calls of about a second: an interrupt is heard between two calls only.

        Each adds to the losses of the one before: how fast the device happens to be changes no bit of the sum.
        """
        start, loss = 0, np.float32(0.0)
        while start < count:
            started_at = time.perf_counter()
            end = min(count, start + self._updates_a_call)
            yield Call(start, end, is_last_part and end == count, loss)
            if end < count:  # else the device may go on with the validation at once
                loss = np.asarray(losses.pop())
                pace = (end - start) / max(time.perf_counter() - started_at, 1e-6)
                self._updates_a_call = max(1, int(pace * CALL_SECONDS))
            start = end
