"""The compiled engine on JAX: the updates of several epochs in one call of one compiled function."""

import copy
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from nightune.models.backend import keep_compiled
from nightune.models.data.dataset import Dataset
from nightune.models.engines.compiled.ahead import Ahead
from nightune.models.engines.compiled.arrays import Data, State, Updates
from nightune.models.engines.compiled.batch_layout import (
    Part,
    Shape,
    accumulated_parts,
    bucketed_parts,
    exact_parts,
    fitted_parts,
    masked_parts,
    order_length,
    padded_order,
)
from nightune.models.engines.compiled.engine import CompiledEngine
from nightune.models.engines.compiled.first_calls import FirstCalls
from nightune.models.engines.compiled.jax_functions import predict, step, train_epochs
from nightune.models.engines.compiled.pace import Pace
from nightune.models.engines.compiled.program import Program
from nightune.models.engines.compiled.programs import CACHED_PROGRAMS
from nightune.models.recipe.recipe import Recipe
from nightune.models.training import reported_names
from nightune.models.training.plan import EpochPlan

MAXIMUM_EPOCHS = 32  # in one call
CALL_BYTES = 2**25  # of the arguments and results of a call that grow with its epochs
BYTES_PER_EXAMPLE = 20  # of an epoch's order and updates


def make_jax_engine(
    dataset: Dataset, folder: Path, compiled: Path | None = None, cached_programs: int = CACHED_PROGRAMS
) -> CompiledEngine:
    """Return the engine; XLA's compiled programs are cached in the folder `compiled` for other processes."""
    if compiled is not None:
        keep_compiled(compiled)
    return CompiledEngine(dataset, folder, JaxBackend(), cached_programs)


class JaxBackend:
    """JAX on its first device.

    With `accumulates_blocks` batches of all sizes are added up from blocks of one, on a CPU: one function takes the
    place of one for each size, and an update takes up to 40% longer (docs/decisions/0130).
    """

    name = "jax"
    is_shape_bound = True

    def __init__(self, accumulates_blocks: bool = False) -> None:
        self.accumulates_blocks = accumulates_blocks

    @property
    def device(self) -> str:
        """The platform, number and model of the first device."""
        device = jax.devices()[0]
        return f"{device.platform}:{device.id} {device.device_kind}"

    def put_data(self, data: Data) -> Data:
        """Copy the data to the device."""
        return jax.device_put(data)

    def compile(self, program: Program, data: Data) -> "JaxProgram":
        """Return the program's functions with their data; each is compiled at its first call."""
        return JaxProgram(program, data, self.accumulates_blocks)


class JaxProgram:
    """A program compiled by JAX, together with the data that it reads."""

    def __init__(self, program: Program, data: Data, accumulates_blocks: bool = False) -> None:
        self.program, self.pace, self.data = program, Pace(), data
        self._accumulates_blocks = accumulates_blocks
        self.first_calls = FirstCalls()
        self._ahead, self._executables = Ahead(self.first_calls), dict[Hashable, Any]()
        self._extra: dict[str, Any] = {}
        self._held: int | None = None  # bytes of the results of an epoch
        # On CPUs, XLA is slow with convolutions inside loops (openxla/xla#34273): use one call per update.
        self._is_on_cpu = jax.default_backend() == "cpu"
        self._is_stepwise = program.has_convolutions and self._is_on_cpu
        self._may_pad = program.is_separable or program.is_maskable
        self._train = jax.jit(partial(train_epochs, program), static_argnames="shape", donate_argnums=0)
        self._step = jax.jit(partial(step, program), static_argnames="shape", donate_argnums=0)
        self._predict = jax.jit(partial(predict, program))

    def tags(self, _recipe: Recipe) -> Mapping[str, str]:
        """Return the tag for XLA, which JAX always uses."""
        return {reported_names.XLA: "yes"}

    def with_data(self, program: Program, data: Data) -> Self:
        """Return the same compiled functions with other data of the same shapes, and the numbers of its program."""
        other = copy.copy(self)
        other.program, other.data = program, data
        return other

    def put(self, state: State) -> State:
        """Return copies on the device: calls donate their states, and the originals must stay valid."""
        return jax.tree.map(jnp.array, state)

    def parts(self, plan: EpochPlan) -> tuple[Part, ...]:
        """Lay out a plan as the model and the device allow."""
        if not self.program.is_separable:
            return masked_parts(plan) if self._may_pad else exact_parts(plan)
        if self._is_stepwise:
            return fitted_parts(plan)
        if self._accumulates_blocks and self._is_on_cpu:
            return accumulated_parts(plan)
        return bucketed_parts(plan, divides_large=self._is_on_cpu)

    def extra(self, name: str, compiled: Callable[[Program], Any]) -> Any:
        """Return an additional function of the program, created once and cached with the others."""
        if name not in self._extra:
            self._extra[name] = compiled(self.program)
        return self._extra[name]

    def train(self, state: State, updates: Updates, before: Any, shape: Shape) -> tuple[State, Any, Any | None]:
        """Execute updates and validate in one call or, with convolutions on a CPU, one call per update."""
        if not self._is_stepwise:
            state, losses, outputs, _ = self._call(state, [updates], shape, before)
            return state, losses[0], outputs[0]
        updates, losses = updates._replace(order=jnp.asarray(updates.order)), []
        start, end, is_last = updates.span
        for index in range(start, end):
            with self.first_calls.measured((shape, updates.order.shape)):
                arrays, loss = self._step(state, updates.at(index), self.data, shape=shape)
            state = State(*arrays)
            losses.append(loss)
        outputs = self._predict(state, updates.hyperparameters, self.data.validation) if is_last else None
        return state, sum(losses, start=before), outputs

    def epochs_at_once(self, state: State, plan: EpochPlan) -> int:
        """Return how many epochs fit into the memory of a call; 1 if an epoch takes several calls."""
        parts = self.parts(plan)
        if self._is_stepwise or not self._may_pad or len(parts) > 1:
            return 1
        return self._maximum_epochs(state, order_length(plan, parts))

    def train_epochs(
        self, state: State, hyperparameters: Sequence[np.ndarray], rule: np.int32, plans: Sequence[EpochPlan]
    ) -> tuple[State, np.ndarray, np.ndarray, list[list[np.ndarray]]]:
        """Execute the plans in one call."""
        layouts = [self.parts(plan) for plan in plans]
        epochs = []
        for values, plan, parts in zip(hyperparameters, plans, layouts, strict=True):
            span = np.array([0, plan.updates, 1], np.int32)
            epochs.append(Updates(values, padded_order(plan, parts), parts[0].bounds, parts[0].rates, span, rule))
        state, losses, outputs, kept = self._call(state, epochs, layouts[0][0].shape, np.float32(0.0))
        stacks = list(map(np.asarray, kept))
        # Copies: a view would keep the results of all epochs alive.
        weights = [self.program.weights_of([np.array(stack[index]) for stack in stacks]) for index in range(len(plans))]
        return state, losses[: len(plans)], np.array(outputs[: len(plans)]), weights

    def _call(self, state: State, epochs: Sequence[Updates], shape: Shape, before: Any) -> Any:
        """Compute epochs of one layout; return the state, and the losses, outputs and `kept` arrays by epoch."""
        padded, count = self._padded(state, epochs), np.int32(len(epochs))
        function = (shape, padded.span.shape, padded.order.shape, padded.bounds.shape)
        with self.first_calls.measured(function):
            if executable := self._ahead.take(function):
                self._executables[function] = executable
            train = self._executables.get(function) or partial(self._train, shape=shape)
            state, *results, kept = train(state, padded, count, before, self.data)
        losses, outputs = map(np.asarray, results)
        return State(*state), losses, outputs, kept

    def would_compile(self, shape: Shape, length: int, capacity: int) -> bool:
        """Return whether `compile_ahead` would begin a function: with an order of this length, and room for updates."""
        if self._is_stepwise or not self._is_on_cpu:
            return False
        maximum = 1
        if self._may_pad:
            if self._held is None:  # no function was traced
                return True
            maximum = _capacity(self._held, length)
        return self._ahead.is_new((shape, (maximum, 3), (maximum * length,), (maximum * capacity, 2)))

    def compile_ahead(self, state: State, updates: Updates, before: Any, shape: Shape) -> None:
        """Trace the function of these updates, and compile it in a thread."""
        if self._is_stepwise or not self._is_on_cpu:
            return
        padded = self._padded(state, [updates])

        def trace() -> Any:
            return self._train.lower(state, padded, np.int32(1), before, self.data, shape=shape).compile

        self._ahead.start((shape, padded.span.shape, padded.order.shape, padded.bounds.shape), trace)

    def _padded(self, state: State, epochs: Sequence[Updates]) -> Updates:
        """Join the updates of epochs, with room for as many epochs as a call may have: each epoch is a span of them."""
        length, capacity = len(epochs[0].order), len(epochs[0].bounds)
        maximum = self._maximum_epochs(state, length) if self._may_pad else 1
        order = np.zeros((maximum, length), np.int32)
        bounds = np.zeros((maximum, capacity, 2), np.int32)
        rates = np.zeros((maximum, capacity, 3), np.float32)
        spans = np.zeros((maximum, 3), np.int32)
        for index, updates in enumerate(epochs):
            order[index], rates[index] = updates.order, updates.rates
            bounds[index] = updates.bounds + np.array([index * length, 0], np.int32)
            spans[index] = updates.span + np.array([index * capacity, index * capacity, 0], np.int32)
        numbers = np.zeros((len(epochs[0].hyperparameters), maximum), np.float32)
        numbers[:, : len(epochs)] = np.stack([updates.hyperparameters for updates in epochs], axis=1)
        changing = self.program.changing_count
        by_number = (*numbers[:changing], *numbers[changing:, 0])
        joined = order.reshape(-1), bounds.reshape(-1, 2), rates.reshape(-1, 3)
        return Updates(by_number, *joined, spans, epochs[0].rule)

    def _maximum_epochs(self, state: State, length: int) -> int:
        """Return the capacity of a call in epochs, by the length of their order: part of the compiled shapes."""
        if self._held is None:
            hyperparameters = jax.ShapeDtypeStruct((self.program.hyperparameter_count,), np.float32)
            outputs = jax.eval_shape(partial(predict, self.program), state, hyperparameters, self.data.validation)
            kept = jax.eval_shape(self.program.kept, state)
            self._held = sum(array.size * array.dtype.itemsize for array in (*kept, outputs))
        return _capacity(self._held, length)


def _capacity(held: int, length: int) -> int:
    return min(MAXIMUM_EPOCHS, max(1, CALL_BYTES // (held + length * BYTES_PER_EXAMPLE)))
