"""The compiled engine of JAX: an epoch's updates in one call of one compiled function."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from models.examples import Dataset
from models.recipe import Recipe
from models.training.blocks import Part, Shape, bucketed_parts, exact_parts, fitted_parts
from models.training.compiled import Call, CompiledEngine, Data, State, prediction_spans
from models.training.plan import EpochPlan
from models.training.programs import KEPT_PROGRAMS, Program


def make_jax_engine(
    dataset: Dataset, folder: Path, compiled: Path | None = None, kept_programs: int = KEPT_PROGRAMS
) -> CompiledEngine:
    """Return the engine; what XLA compiles is kept in the folder `compiled` for other processes."""
    if compiled is not None:
        keep_compiled(compiled)
    return CompiledEngine(dataset, folder, JaxBackend(), kept_programs)


def keep_compiled(folder: Path) -> None:
    """Keep what XLA compiles in a folder, for other processes; everything, however small."""
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


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
        # XLA on a CPU is slow with convolutions inside loops, not outside them: each update is a call then.
        self._is_stepwise = program.has_convolutions and jax.default_backend() == "cpu"
        self._is_separable = program.is_separable
        self._train = jax.jit(partial(train_calls, program), static_argnames=("shape", "is_last"), donate_argnums=0)
        self._step = jax.jit(partial(_step, program), static_argnames="shape", donate_argnums=0)
        self._predict = jax.jit(partial(_predict, program))

    def tags(self, _recipe: Recipe) -> Mapping[str, str]:
        """JAX computes all with XLA."""
        return {"nightune.xla": "yes"}

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
            span = np.array([call.start, call.end], np.int32)
            arguments = (state, numbers, order, part.bounds, part.rates, span, call.loss, self.data)
            return self._train(*arguments, shape=part.shape, is_last=call.is_last)
        order, losses, span = jnp.asarray(order), [], slice(call.start, call.end)
        for bounds, rates in zip(part.bounds[span], part.rates[span], strict=True):
            state, loss = self._step(state, numbers, order, bounds, rates, self.data, shape=part.shape)
            losses.append(loss)
        outputs = self._predict(state, numbers, self.data[2]) if call.is_last else None
        return state, sum(losses, start=call.loss), outputs


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


def _step(program: Program, state: State, numbers: Any, order: Any, *arguments: Any, shape: Shape) -> Any:
    """Make one update; return the sum of its examples' losses as well."""
    bounds, rates, data = arguments
    trainable, rest, slots = state
    given = {"numbers": numbers, "order": order, "bounds": bounds, "data": data, "size": shape.block}
    block = partial(_block, program, trainable, **given)
    gradients, rest, loss = _blocks(block, trainable, rest, bounds[1], shape) if shape.is_accumulated else block(rest)
    penalty_gradients = jax.grad(program.penalty)(trainable, numbers)
    gradients = [one + other for one, other in zip(gradients, penalty_gradients, strict=True)]
    trainable, slots = program.apply(trainable, slots, numbers, gradients, rates[0], rates[1])
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
    trainable, rest, _ = state
    parts = [program.predict(trainable, rest, numbers, inputs[span]) for span in prediction_spans(inputs)]
    return jnp.concatenate(parts)
