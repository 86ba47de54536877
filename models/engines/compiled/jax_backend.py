"""The compiled engine of JAX: an epoch's updates in one call of one compiled function.

Compiled functions return states as plain tuples: the names in results are part of the key under which JAX keeps on disk
what it compiled, and stores hold programs of before they had names.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nightune.models.backend import keep_compiled
from nightune.models.data.dataset import Dataset
from nightune.models.engines.compiled.arrays import Batch, Data, State, Update, Updates
from nightune.models.engines.compiled.batch_layout import (
    Part,
    Shape,
    bucketed_parts,
    exact_parts,
    fitted_parts,
    padded_order,
)
from nightune.models.engines.compiled.engine import KEPT_PROGRAMS, CompiledEngine
from nightune.models.engines.compiled.pace import Pace
from nightune.models.engines.compiled.program import Program
from nightune.models.engines.prediction import prediction_spans
from nightune.models.recipe.recipe import Recipe
from nightune.models.training import reported_names
from nightune.models.training.plan import EpochPlan

MOST_EPOCHS = 32  # in one call
CALL_BYTES = 2**25  # of what a call is given of its epochs, and returns
BYTES_AN_EXAMPLE = 20  # of an epoch's order, and of its updates


def make_jax_engine(
    dataset: Dataset, folder: Path, compiled: Path | None = None, kept_programs: int = KEPT_PROGRAMS
) -> CompiledEngine:
    """Return the engine; what XLA compiles is kept in the folder `compiled` for other processes."""
    if compiled is not None:
        keep_compiled(compiled)
    return CompiledEngine(dataset, folder, JaxBackend(), kept_programs)


class JaxBackend:
    """JAX on its first device."""

    name = "jax"
    is_shape_bound = True

    @property
    def device(self) -> str:
        """The first device, with what it is."""
        device = jax.devices()[0]
        return f"{device.platform}:{device.id} {device.device_kind}"

    def put_data(self, data: Data) -> Data:
        """Return the data on the device."""
        return jax.device_put(data)

    def compile(self, program: Program, data: Data) -> "JaxProgram":
        """Return the program's functions with their data, compiled when they are first called."""
        return JaxProgram(program, data)

    def with_noise_of_fit(self) -> "JaxBackend":
        """Return itself: on JAX dropout is the same everywhere."""
        return self


class JaxProgram:
    """A program as JAX compiles it, with the data that it reads."""

    def __init__(self, program: Program, data: Data) -> None:
        self.program, self.pace, self.data = program, Pace(), data
        self._extra: dict[str, Any] = {}
        self._room: dict[int, int] = {}  # of a call, in epochs, by the length of their order
        # XLA on a CPU is slow with convolutions inside loops, not outside them: each update is a call then.
        self._is_stepwise = program.has_convolutions and jax.default_backend() == "cpu"
        self._is_separable = program.is_separable
        self._train = jax.jit(partial(_train_epochs, program), static_argnames="shape", donate_argnums=0)
        self._step = jax.jit(partial(_step, program), static_argnames="shape", donate_argnums=0)
        self._predict = jax.jit(partial(_predict, program))

    def tags(self, _recipe: Recipe) -> Mapping[str, str]:
        """JAX computes all with XLA."""
        return {reported_names.XLA: "yes"}

    def put(self, state: State) -> State:
        """Return copies: states are used up, and what they start from is not."""
        return jax.tree.map(jnp.array, state)

    def parts(self, plan: EpochPlan) -> tuple[Part, ...]:
        """Lay out a plan by what the model and the device allow."""
        if not self._is_separable:
            return exact_parts(plan)
        return fitted_parts(plan) if self._is_stepwise else bucketed_parts(plan)

    def extra(self, name: str, compiled: Callable[[Program], Any]) -> Any:
        """Return another function of the program, compiled once and kept with the others."""
        if name not in self._extra:
            self._extra[name] = compiled(self.program)
        return self._extra[name]

    def train(self, state: State, updates: Updates, before: Any, shape: Shape) -> tuple[State, Any, Any | None]:
        """Make updates and validate in one call or, with convolutions on a CPU, one by one."""
        if not self._is_stepwise:
            state, losses, outputs, _ = self._call(state, [updates], shape, before)
            return state, losses[0], outputs[0]
        updates, losses = updates._replace(order=jnp.asarray(updates.order)), []
        start, end, is_last = updates.span
        for place in range(start, end):
            arrays, loss = self._step(state, updates.at(place), self.data, shape=shape)
            state = State(*arrays)
            losses.append(loss)
        outputs = self._predict(state, updates.numbers, self.data.validation) if is_last else None
        return state, sum(losses, start=before), outputs

    def epochs_at_once(self, state: State, plan: EpochPlan) -> int:
        """As many as the results of fit into some memory; one, where an update is a call or an epoch has many parts."""
        if self._is_stepwise or not self._is_separable:
            return 1
        return self._most(state, plan.examples + self.parts(plan)[0].shape.block)

    def train_epochs(
        self, state: State, numbers: Sequence[np.ndarray], plans: Sequence[EpochPlan]
    ) -> tuple[State, np.ndarray, np.ndarray, list[list[np.ndarray]]]:
        """Carry out the plans in one call."""
        laid = [self.parts(plan) for plan in plans]
        epochs = []
        for number, plan, parts in zip(numbers, plans, laid, strict=True):
            span = np.array([0, plan.updates, 1], np.int32)
            epochs.append(Updates(number, padded_order(plan, parts), parts[0].bounds, parts[0].rates, span))
        state, losses, outputs, weights = self._call(state, epochs, laid[0][0].shape, np.float32(0.0))
        # Copies: a view would keep what the call returned of all epochs alive.
        each = [[np.array(stacked[place]) for stacked in map(np.asarray, weights)] for place in range(len(plans))]
        return state, losses[: len(plans)], np.array(outputs[: len(plans)]), each

    def _call(self, state: State, epochs: Sequence[Updates], shape: Shape, before: Any) -> Any:
        """Compute epochs of one layout; return the state, and each one's losses, outputs and weights."""
        most = self._most(state, len(epochs[0].order)) if self._is_separable else 1
        given = Updates(*(np.zeros((most, *array.shape), array.dtype) for array in epochs[0]))
        for arrays, values in zip(given, zip(*epochs, strict=True), strict=True):
            arrays[: len(epochs)] = values
        state, *results, weights = self._train(state, given, np.int32(len(epochs)), before, self.data, shape=shape)
        losses, outputs = map(np.asarray, results)
        return State(*state), losses, outputs, weights

    def _most(self, state: State, length: int) -> int:
        """How many epochs a call has room for, by the length of their order: a fixed number, as it is compiled."""
        if length not in self._room:
            numbers = jax.ShapeDtypeStruct((self.program.numbers_count,), np.float32)
            outputs = jax.eval_shape(partial(_predict, self.program), state, numbers, self.data.validation)
            weights = jax.eval_shape(self.program.weights, state)
            held = sum(array.size * array.dtype.itemsize for array in (*weights, outputs))
            self._room[length] = min(MOST_EPOCHS, max(1, CALL_BYTES // (held + length * BYTES_AN_EXAMPLE)))
        return self._room[length]


def train_calls(
    program: Program, state: State, updates: Updates, before: Any, data: Data, *, shape: Shape, is_last: bool
) -> Any:
    """Make a span's updates, add up their losses to those before it, and validate after an epoch's last."""

    def update(place: Any, carry: Any) -> Any:
        state, total = carry
        state, loss = _step(program, state, updates.at(place), data, shape=shape)
        return State(*state), total + loss

    state, total = lax.fori_loop(updates.span[0], updates.span[1], update, (state, before))
    return state, total, _predict(program, state, updates.numbers, data.validation) if is_last else None


def _train_epochs(
    program: Program, state: State, epochs: Updates, count: Any, before: Any, data: Data, *, shape: Shape
) -> Any:
    """Make the updates of the first `count` epochs, each as `train_calls`; keep what each gives.

    The arrays of `epochs` have an axis of epochs first; `before` are the first epoch's losses before its first update.
    """
    one = jax.eval_shape(partial(_predict, program), state, epochs.numbers[0], data.validation)
    most = len(epochs.span)

    def kept(array: Any) -> Any:
        return jnp.zeros((most, *array.shape), array.dtype)

    def epoch(place: Any, carry: Any) -> Any:
        state, losses, outputs, weights = carry
        updates = Updates(*(array[place] for array in epochs))
        start, end, is_last = updates.span
        updates = updates._replace(span=(start, end))
        total = jnp.where(place == 0, before, 0.0)
        state, loss, _ = train_calls(program, state, updates, total, data, shape=shape, is_last=False)
        predict = partial(_predict, program, state, updates.numbers, data.validation)
        predicted = lax.cond(is_last > 0, predict, partial(jnp.zeros, one.shape, one.dtype))
        now = program.weights(state)
        weights = [each.at[place].set(weight) for each, weight in zip(weights, now, strict=True)]
        return state, losses.at[place].set(loss), outputs.at[place].set(predicted), weights

    nothing = jnp.zeros(most), kept(one), [kept(array) for array in program.weights(state)]
    state, losses, outputs, weights = lax.fori_loop(0, count, epoch, (state, *nothing))
    return tuple(state), losses, outputs, weights


def _step(program: Program, state: State, update: Update, data: Data, *, shape: Shape) -> Any:
    """Make one update; return the sum of its examples' losses as well."""
    block = partial(_block, program, state.trainable, update=update, data=data, size=shape.block)
    if shape.is_accumulated:
        gradients, rest, loss = _blocks(block, state, update.bounds[1], shape)
    else:
        gradients, rest, loss = block(state.rest)
    penalty_gradients = jax.grad(program.penalty)(state.trainable, update.numbers)
    gradients = [one + other for one, other in zip(gradients, penalty_gradients, strict=True)]
    state = program.apply(state._replace(rest=rest), update.numbers, gradients, update.rates)
    return tuple(state), loss * update.bounds[1]


def _blocks(block: Any, state: State, examples: Any, shape: Shape) -> Any:
    """Add up the gradients of a batch's blocks."""

    def add(index: Any, carry: Any) -> Any:
        gradients, rest, loss = carry
        more, rest, more_loss = block(rest, skipped=index * shape.block)
        return [old + new for old, new in zip(gradients, more, strict=True)], rest, loss + more_loss

    nothing = [jnp.zeros_like(weight) for weight in state.trainable], state.rest, jnp.float32(0.0)
    return lax.fori_loop(0, (examples + shape.block - 1) // shape.block, add, nothing)


def _block(
    program: Program, trainable: Any, rest: Any, *, update: Update, data: Data, size: int, skipped: Any = 0
) -> Any:
    """Return a block's part of the gradients of the batch's mean loss, the other variables, and its part of that."""
    start, examples = update.bounds
    rows = lax.dynamic_slice(update.order, (start + skipped,), (size,))
    weights = jnp.where(jnp.arange(size) + skipped < examples, 1.0 / examples.astype(jnp.float32), 0.0)
    batch = Batch(data.inputs[rows], data.targets[rows], weights)
    gradient = jax.value_and_grad(program.loss, has_aux=True)
    (_, (loss, rest)), gradients = gradient(trainable, rest, update.numbers, batch)
    return gradients, rest, loss


def _predict(program: Program, state: State, numbers: Any, inputs: Any) -> Any:
    trainable, rest = program.evaluated(state), state.rest
    parts = [program.predict(trainable, rest, numbers, inputs[span]) for span in prediction_spans(inputs)]
    return jnp.concatenate(parts)
