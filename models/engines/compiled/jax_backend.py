"""The compiled engine of JAX: an epoch's updates in one call of one compiled function."""

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
from nightune.models.engines.compiled.batch_layout import (
    Part,
    Shape,
    bucketed_parts,
    exact_parts,
    fitted_parts,
    padded_order,
)
from nightune.models.engines.compiled.compiled_program import Call, Data
from nightune.models.engines.compiled.engine import CompiledEngine
from nightune.models.engines.compiled.program import Program, State
from nightune.models.engines.prediction import prediction_spans
from nightune.models.recipe.recipe import Recipe
from nightune.models.training import reported_names
from nightune.models.training.kept_by_key import KEPT_PROGRAMS
from nightune.models.training.plan import EpochPlan

MOST_EPOCHS = 32  # in one call
CALL_BYTES = 2**25  # of what a call is given of its epochs, and returns
BYTES_AN_EXAMPLE = 20  # of an epoch's order, and of its updates
Epoch = tuple[np.ndarray, ...]  # numbers, order, bounds, rates; first and last update, and if it validates then


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

    def put_data(self, data: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Data:
        """Return the data on the device."""
        return jax.device_put(data)

    def compile(self, program: Program, data: Data) -> "JaxFunctions":
        """Return the program's functions, compiled when they are first called."""
        return JaxFunctions(program, data)

    def with_noise_of_fit(self) -> "JaxBackend":
        """Return itself: on JAX dropout is the same everywhere."""
        return self


class JaxFunctions:
    """A program's functions, with the data that they read."""

    def __init__(self, program: Program, data: Data) -> None:
        self._program, self.data = program, data
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

    def put(self, arrays: State) -> State:
        """Return copies: states are used up, and what they start from is not."""
        return jax.tree.map(jnp.array, arrays)

    def parts(self, plan: EpochPlan) -> tuple[Part, ...]:
        """Lay out a plan by what the model and the device allow."""
        if not self._is_separable:
            return exact_parts(plan)
        return fitted_parts(plan) if self._is_stepwise else bucketed_parts(plan)

    def extra(self, name: str, compiled: Callable[[Program], Any]) -> Any:
        """Return another function of the program, compiled once and kept with the others."""
        if name not in self._extra:
            self._extra[name] = compiled(self._program)
        return self._extra[name]

    def train(
        self, state: State, numbers: np.ndarray, order: Any, part: Part, call: Call
    ) -> tuple[State, Any, Any | None]:
        """Make updates and validate in one call or, with convolutions on a CPU, one by one."""
        if not self._is_stepwise:
            epoch = (numbers, order, part.bounds, part.rates, np.array([call.start, call.end, call.is_last], np.int32))
            state, losses, outputs, _ = self._call(state, [epoch], part.shape, call.loss)
            return state, losses[0], outputs[0]
        order, losses, span = jnp.asarray(order), [], slice(call.start, call.end)
        for bounds, rates in zip(part.bounds[span], part.rates[span], strict=True):
            state, loss = self._step(state, numbers, order, bounds, rates, self.data, shape=part.shape)
            losses.append(loss)
        outputs = self._predict(state, numbers, self.data[2]) if call.is_last else None
        return state, sum(losses, start=call.loss), outputs

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
        epochs = [
            (
                number,
                padded_order(plan, parts),
                parts[0].bounds,
                parts[0].rates,
                np.array([0, plan.updates, 1], np.int32),
            )
            for number, plan, parts in zip(numbers, plans, laid, strict=True)
        ]
        state, losses, outputs, weights = self._call(state, epochs, laid[0][0].shape, np.float32(0.0))
        # Copies: a view would keep what the call returned of all epochs alive.
        each = [[np.array(stacked[place]) for stacked in map(np.asarray, weights)] for place in range(len(plans))]
        return state, losses[: len(plans)], np.array(outputs[: len(plans)]), each

    def _call(self, state: State, epochs: Sequence[Epoch], shape: Shape, before: Any) -> Any:
        """Compute epochs of one layout; return the state, and each one's losses, outputs and weights."""
        most = self._most(state, len(epochs[0][1])) if self._is_separable else 1
        given = [np.zeros((most, *array.shape), array.dtype) for array in epochs[0]]
        for arrays, values in zip(given, zip(*epochs, strict=True), strict=True):
            arrays[: len(epochs)] = values
        state, *results, weights = self._train(state, given, np.int32(len(epochs)), before, self.data, shape=shape)
        losses, outputs = map(np.asarray, results)
        return state, losses, outputs, weights

    def _most(self, state: State, length: int) -> int:
        """How many epochs a call has room for, by the length of their order: a fixed number, as it is compiled."""
        if length not in self._room:
            numbers = jax.ShapeDtypeStruct((self._program.numbers_count,), np.float32)
            outputs = jax.eval_shape(partial(_predict, self._program), state, numbers, self.data[2])
            weights = jax.eval_shape(self._program.weights, state)
            held = sum(array.size * array.dtype.itemsize for array in (*weights, outputs))
            self._room[length] = min(MOST_EPOCHS, max(1, CALL_BYTES // (held + length * BYTES_AN_EXAMPLE)))
        return self._room[length]


def train_calls(
    program: Program, state: State, numbers: Any, order: Any, *arguments: Any, shape: Shape, is_last: bool
) -> Any:
    """Make a span's updates, and validate after an epoch's last; arguments: bounds,
    rates, the span, the losses before it and the data."""
    bounds, rates, span, before, data = arguments

    def update(place: Any, carry: Any) -> Any:
        state, total = carry
        state, loss = _step(program, state, numbers, order, bounds[place], rates[place], data, shape=shape)
        return state, total + loss

    state, total = lax.fori_loop(span[0], span[1], update, (state, before))
    return state, total, _predict(program, state, numbers, data[2]) if is_last else None


def _train_epochs(program: Program, state: State, given: Sequence[Any], *arguments: Any, shape: Shape) -> Any:
    """Make the updates of the first `count` epochs, each as `train_calls`; keep what each gives.

    Arguments: count, the first epoch's losses before its first update, and the data.
    """
    (numbers, orders, bounds, rates, spans), (count, before, data) = given, arguments
    one = jax.eval_shape(partial(_predict, program), state, numbers[0], data[2])
    most = len(spans)

    def kept(array: Any) -> Any:
        return jnp.zeros((most, *array.shape), array.dtype)

    def epoch(place: Any, carry: Any) -> Any:
        state, losses, outputs, weights = carry
        number, order, bound, rate, (start, end, is_last) = (
            array[place] for array in (numbers, orders, bounds, rates, spans)
        )
        total = jnp.where(place == 0, before, 0.0)
        given = (number, order, bound, rate, (start, end), total, data)
        state, loss, _ = train_calls(program, state, *given, shape=shape, is_last=False)
        predict = partial(_predict, program, state, number, data[2])
        predicted = lax.cond(is_last > 0, predict, partial(jnp.zeros, one.shape, one.dtype))
        now = program.weights(state)
        weights = [each.at[place].set(weight) for each, weight in zip(weights, now, strict=True)]
        return state, losses.at[place].set(loss), outputs.at[place].set(predicted), weights

    nothing = jnp.zeros(most), kept(one), [kept(array) for array in program.weights(state)]
    return lax.fori_loop(0, count, epoch, (state, *nothing))


def _step(program: Program, state: State, numbers: Any, order: Any, *arguments: Any, shape: Shape) -> Any:
    """Make one update; return the sum of its examples' losses as well."""
    bounds, rates, data = arguments
    trainable, rest, slots = state
    given = {"numbers": numbers, "order": order, "bounds": bounds, "data": data, "size": shape.block}
    block = partial(_block, program, trainable, **given)
    gradients, rest, loss = _blocks(block, trainable, rest, bounds[1], shape) if shape.is_accumulated else block(rest)
    penalty_gradients = jax.grad(program.penalty)(trainable, numbers)
    gradients = [one + other for one, other in zip(gradients, penalty_gradients, strict=True)]
    trainable, slots = program.apply(trainable, slots, numbers, gradients, rates)
    return (trainable, rest, slots), loss * bounds[1]


def _blocks(block: Any, trainable: Any, rest: Any, examples: Any, shape: Shape) -> Any:
    """Add up the gradients of a batch's blocks."""

    def add(index: Any, carry: Any) -> Any:
        gradients, rest, loss = carry
        more, rest, more_loss = block(rest, skipped=index * shape.block)
        return [old + new for old, new in zip(gradients, more, strict=True)], rest, loss + more_loss

    nothing = [jnp.zeros_like(weight) for weight in trainable], rest, jnp.float32(0.0)
    return lax.fori_loop(0, (examples + shape.block - 1) // shape.block, add, nothing)


def _block(program: Program, trainable: Any, rest: Any, **given: Any) -> Any:
    """Return a block's part of the gradients of the batch's mean loss, the other variables, and its part of that."""
    (start, examples), size, skipped = given["bounds"], given["size"], given.get("skipped", 0)
    rows = lax.dynamic_slice(given["order"], (start + skipped,), (size,))
    weights = jnp.where(jnp.arange(size) + skipped < examples, 1.0 / examples.astype(jnp.float32), 0.0)
    inputs, targets = given["data"][0][rows], given["data"][1][rows]
    gradient = jax.value_and_grad(program.loss, has_aux=True)
    (_, (loss, rest)), gradients = gradient(trainable, rest, given["numbers"], inputs, targets, weights)
    return gradients, rest, loss


def _predict(program: Program, state: State, numbers: Any, inputs: Any) -> Any:
    trainable, rest = program.evaluated(state), state[1]
    parts = [program.predict(trainable, rest, numbers, inputs[span]) for span in prediction_spans(inputs)]
    return jnp.concatenate(parts)
