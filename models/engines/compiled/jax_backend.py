"""The compiled engine on JAX: an epoch's updates in one call of one compiled function.

JAX's disk cache keys contain the names of jitted functions (`_train_epochs`, `_step`, `_predict`) and the field names
of their results. Keep these names, and return states as plain tuples: existing stores hold programs compiled that way.
"""

import copy
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nightune.models.backend import keep_compiled
from nightune.models.data.dataset import Dataset
from nightune.models.engines.compiled.ahead import Ahead
from nightune.models.engines.compiled.arrays import Batch, Data, State, Update, Updates
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
from nightune.models.engines.compiled.pace import Pace
from nightune.models.engines.compiled.program import Program
from nightune.models.engines.compiled.programs import CACHED_PROGRAMS
from nightune.models.engines.prediction import prediction_spans
from nightune.models.recipe.recipe import Recipe
from nightune.models.serving.input_trees import rows_of
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
        self._capacities: dict[int, int] = {}  # maximum epochs of a call, by the length of their order
        # On CPUs, XLA is slow with convolutions inside loops (openxla/xla#34273): use one call per update.
        self._is_on_cpu = jax.default_backend() == "cpu"
        self._is_stepwise = program.has_convolutions and self._is_on_cpu
        self._may_pad = program.is_separable or program.is_maskable
        self._train = jax.jit(partial(_train_epochs, program), static_argnames="shape", donate_argnums=0)
        self._step = jax.jit(partial(_step, program), static_argnames="shape", donate_argnums=0)
        self._predict = jax.jit(partial(_predict, program))

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
        state, losses, outputs, weights = self._call(state, epochs, layouts[0][0].shape, np.float32(0.0))
        # Copies: a view would keep the results of all epochs alive.
        stacks = list(map(np.asarray, weights))
        copies = [[np.array(stack[index]) for stack in stacks] for index in range(len(plans))]
        return state, losses[: len(plans)], np.array(outputs[: len(plans)]), copies

    def _call(self, state: State, epochs: Sequence[Updates], shape: Shape, before: Any) -> Any:
        """Compute epochs of one layout; return the state, and the losses, outputs and weights by epoch."""
        padded, count = self._padded(state, epochs), np.int32(len(epochs))
        function = (shape, padded.order.shape, padded.bounds.shape)
        with self.first_calls.measured(function):
            if executable := self._ahead.take(function):
                self._executables[function] = executable
            train = self._executables.get(function) or partial(self._train, shape=shape)
            state, *results, weights = train(state, padded, count, before, self.data)
        losses, outputs = map(np.asarray, results)
        return State(*state), losses, outputs, weights

    def compile_ahead(self, state: State, updates: Updates, before: Any, shape: Shape) -> None:
        """Trace the function of these updates, and compile it in a thread."""
        if self._is_stepwise or not self._is_on_cpu:
            return
        padded = self._padded(state, [updates])

        def trace() -> Any:
            return self._train.lower(state, padded, np.int32(1), before, self.data, shape=shape).compile

        self._ahead.start((shape, padded.order.shape, padded.bounds.shape), trace)

    def _padded(self, state: State, epochs: Sequence[Updates]) -> Updates:
        """Stack the updates of epochs, with room for as many epochs as a call may have."""
        maximum = self._maximum_epochs(state, len(epochs[0].order)) if self._may_pad else 1
        padded = Updates(*(np.zeros((maximum, *array.shape), array.dtype) for array in epochs[0]))
        for arrays, values in zip(padded, zip(*epochs, strict=True), strict=True):
            arrays[: len(epochs)] = values
        return padded

    def _maximum_epochs(self, state: State, length: int) -> int:
        """Return the capacity of a call in epochs, by the length of their order: part of the compiled shapes."""
        if length not in self._capacities:
            hyperparameters = jax.ShapeDtypeStruct((self.program.hyperparameter_count,), np.float32)
            outputs = jax.eval_shape(partial(_predict, self.program), state, hyperparameters, self.data.validation)
            weights = jax.eval_shape(self.program.weights, state)
            held = sum(array.size * array.dtype.itemsize for array in (*weights, outputs))
            self._capacities[length] = min(MAXIMUM_EPOCHS, max(1, CALL_BYTES // (held + length * BYTES_PER_EXAMPLE)))
        return self._capacities[length]


def train_calls(
    program: Program, state: State, updates: Updates, before: Any, data: Data, *, shape: Shape, is_last: bool
) -> Any:
    """Execute the span's updates, add their losses to `before`, and validate if the call is the epoch's last."""

    def update(index: Any, carry: Any) -> Any:
        state, total = carry
        state, loss = _step(program, state, updates.at(index), data, shape=shape)
        return State(*state), total + loss

    state, total = lax.fori_loop(updates.span[0], updates.span[1], update, (state, before))
    return state, total, _predict(program, state, updates.hyperparameters, data.validation) if is_last else None


def _train_epochs(
    program: Program, state: State, epochs: Updates, count: Any, before: Any, data: Data, *, shape: Shape
) -> Any:
    """Execute the updates of the first `count` epochs, each as `train_calls`; return the results of each epoch.

    The first axis of the arrays in `epochs` is the epoch; `before` is the loss of the first epoch before this call.
    """
    output = jax.eval_shape(partial(_predict, program), state, epochs.hyperparameters[0], data.validation)
    maximum = len(epochs.span)

    def buffer(array: Any) -> Any:
        return jnp.zeros((maximum, *array.shape), array.dtype)

    def epoch(index: Any, carry: Any) -> Any:
        state, losses, outputs, weights = carry
        updates = Updates(*(array[index] for array in epochs))
        start, end, is_last = updates.span
        updates = updates._replace(span=(start, end))
        total = jnp.where(index == 0, before, 0.0)
        state, loss, _ = train_calls(program, state, updates, total, data, shape=shape, is_last=False)
        predict = partial(_predict, program, state, updates.hyperparameters, data.validation)
        predicted = lax.cond(is_last > 0, predict, partial(jnp.zeros, output.shape, output.dtype))
        now = program.weights(state)
        weights = [each.at[index].set(weight) for each, weight in zip(weights, now, strict=True)]
        return state, losses.at[index].set(loss), outputs.at[index].set(predicted), weights

    empty = jnp.zeros(maximum), buffer(output), [buffer(array) for array in program.weights(state)]
    state, losses, outputs, weights = lax.fori_loop(0, count, epoch, (state, *empty))
    return tuple(state), losses, outputs, weights


def _step(program: Program, state: State, update: Update, data: Data, *, shape: Shape) -> Any:
    """Execute one update; return the state and the sum of the losses of its examples."""
    weights = program.trained(state)
    block = partial(_block, program, weights, update=update, data=data, shape=shape)
    if shape.is_accumulated:
        gradients, non_trainable, loss = _blocks(program, block, state, update.bounds[1], shape)
    else:
        gradients, non_trainable, loss = block(state.non_trainable)
    penalty_gradients = jax.grad(program.penalty)(weights, update.hyperparameters)
    gradients = [one + other for one, other in zip(gradients, penalty_gradients, strict=True)]
    state = program.apply(state._replace(non_trainable=non_trainable), gradients, update)
    return tuple(state), loss * update.bounds[1]


def _blocks(program: Program, block: Any, state: State, examples: Any, shape: Shape) -> Any:
    """Accumulate the gradients of a batch's blocks."""

    def add(index: Any, carry: Any) -> Any:
        gradients, non_trainable, loss = carry
        start = non_trainable if shape.is_micro else program.with_streams_of(non_trainable, state.non_trainable)
        more, non_trainable, more_loss = block(start, skipped=index * shape.block)
        return [old + new for old, new in zip(gradients, more, strict=True)], non_trainable, loss + more_loss

    initial = [jnp.zeros_like(weight) for weight in program.trained(state)], state.non_trainable, jnp.float32(0.0)
    return lax.fori_loop(0, (examples + shape.block - 1) // shape.block, add, initial)


def _block(
    program: Program, trainable: Any, non_trainable: Any, *, update: Update, data: Data, shape: Shape, skipped: Any = 0
) -> Any:
    """Return a block's share of the batch's gradients, the other variables, and its share of the batch's mean loss."""
    start, examples = update.bounds
    rows = lax.dynamic_slice(update.order, (start + skipped,), (shape.block,))
    is_real = jnp.arange(shape.block) + skipped < examples
    weights = jnp.where(is_real, 1.0 / examples.astype(jnp.float32), 0.0)
    targets = data.targets[rows]
    own = None if data.weights is None else data.weights[rows]
    weights = program.weighted(weights, targets, own, update.hyperparameters)
    first = 0 if shape.is_micro else skipped
    batch = Batch(rows_of(data.inputs, rows), targets, weights, first, is_real if program.is_maskable else None)
    gradient = jax.value_and_grad(program.loss, has_aux=True)
    (_, (loss, non_trainable)), gradients = gradient(trainable, non_trainable, update.hyperparameters, batch)
    return gradients, non_trainable, loss


def _predict(program: Program, state: State, hyperparameters: Any, inputs: Any) -> Any:
    trainable, non_trainable = program.evaluated(state), state.non_trainable
    parts = [
        program.predict(trainable, non_trainable, hyperparameters, rows_of(inputs, span))
        for span in prediction_spans(inputs)
    ]
    return jnp.concatenate(parts)
