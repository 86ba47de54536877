"""The functions that JAX traces: the updates of epochs, their validation, and one update.

A function has many kernels, each of which takes XLA about 10 ms of a processor (docs/decisions/0099). JAX's disk cache
keys contain the names of the jitted functions (`train_epochs`, `step`, `predict`) and the field names of their results.
Keep these names, and return states as plain tuples: existing stores hold programs compiled that way.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from nightune.models.engines.compiled.arrays import Batch, Data, State, Update, Updates
from nightune.models.engines.compiled.batch_layout import Shape
from nightune.models.engines.compiled.program import Program
from nightune.models.engines.prediction import prediction_spans
from nightune.models.serving.input_trees import rows_of


def train_calls(
    program: Program, state: State, updates: Updates, before: Any, data: Data, *, shape: Shape, is_last: bool
) -> Any:
    """Execute the span's updates, add their losses to `before`, and validate if the call is the epoch's last."""

    def update(index: Any, carry: Any) -> Any:
        state, total = carry
        # Otherwise XLA computes what depends on hyperparameters alone before the loop, each in a kernel of its own.
        index, numbers = lax.optimization_barrier((index, updates.hyperparameters))
        now = _update_at(updates._replace(hyperparameters=numbers), index)
        state, loss = step(program, state, now, data, shape=shape)
        return State(*state), total + loss

    state, total = lax.fori_loop(updates.span[0], updates.span[1], update, (state, before))
    return state, total, predict(program, state, updates.hyperparameters, data.validation) if is_last else None


def train_epochs(
    program: Program, state: State, epochs: Updates, count: Any, before: Any, data: Data, *, shape: Shape
) -> Any:
    """Execute the updates of the first `count` epochs, each as `train_calls`; return the results of each epoch.

    `epochs` joins the updates of all epochs. The first axis of its spans is the epoch, that of hyperparameters which
    change between epochs, too; the others are numbers. `before` is the loss of the first epoch before this call.
    """
    maximum = len(epochs.span)
    numbers = _of_epoch(epochs.hyperparameters, 0)
    output = jax.eval_shape(partial(predict, program), state, numbers, data.validation)

    def buffer(array: Any) -> Any:
        return jnp.zeros((maximum, *array.shape), array.dtype)

    def epoch(index: Any, carry: Any) -> Any:
        state, total, losses, outputs, kept = carry
        start, end, is_last = _row(epochs.span, index)
        updates = epochs._replace(hyperparameters=_of_epoch(epochs.hyperparameters, index), span=(start, end))
        state, loss, _ = train_calls(program, state, updates, total, data, shape=shape, is_last=False)
        validate = partial(predict, program, state, updates.hyperparameters, data.validation)
        predicted = lax.cond(is_last > 0, validate, partial(jnp.zeros, output.shape, output.dtype))
        kept = [_with_row(each, array, index) for each, array in zip(kept, program.kept(state), strict=True)]
        losses, outputs = _with_row(losses, loss, index), _with_row(outputs, predicted, index)
        return state, jnp.zeros_like(total), losses, outputs, kept

    empty = jnp.zeros(maximum), buffer(output), [buffer(array) for array in program.kept(state)]
    state, _, losses, outputs, kept = lax.fori_loop(0, count, epoch, (state, before, *empty))
    return tuple(state), losses, outputs, kept


def _update_at(updates: Updates, index: Any) -> Update:
    bounds, rates = (_row(array, index) for array in (updates.bounds, updates.rates))
    return Update(updates.hyperparameters, updates.order, bounds, rates, updates.rule)


def _of_epoch(hyperparameters: Sequence[Any], index: Any) -> tuple[Any, ...]:
    return tuple(_row(numbers, index) if numbers.ndim else numbers for numbers in hyperparameters)


def _as_vector(hyperparameters: Any) -> Any:
    """Return hyperparameters as a vector. Of numbers, XLA reads each where it is used, and not in a kernel before."""
    return jnp.stack(hyperparameters) if isinstance(hyperparameters, tuple) else hyperparameters


def _row(array: Any, index: Any) -> Any:
    """Return a row; the index is not negative, and XLA compiles nothing for one that is."""
    return lax.dynamic_index_in_dim(array, index, keepdims=False, allow_negative_indices=False)


def _with_row(array: Any, row: Any, index: Any) -> Any:
    return lax.dynamic_update_index_in_dim(array, row, index, 0, allow_negative_indices=False)


def step(program: Program, state: State, update: Update, data: Data, *, shape: Shape) -> Any:
    """Execute one update; return the state and the sum of the losses of its examples."""
    weights = program.trained(state)
    block = partial(_block, program, weights, data=data, shape=shape)
    if shape.is_accumulated:
        gradients, non_trainable, loss = _blocks(program, block, state, update, shape)
    else:
        gradients, non_trainable, loss = block(state.non_trainable, update)
    update = update._replace(hyperparameters=_as_vector(update.hyperparameters))
    penalty_gradients = program.joined(jax.grad(program.penalty)(weights, update.hyperparameters))
    gradients = [one + other for one, other in zip(gradients, penalty_gradients, strict=True)]
    state = program.apply(state._replace(non_trainable=non_trainable), gradients, update)
    return tuple(state), loss * update.bounds[1]


def _blocks(program: Program, block: Any, state: State, update: Update, shape: Shape) -> Any:
    """Accumulate the gradients of a batch's blocks."""
    examples = update.bounds[1]

    def add(index: Any, carry: Any) -> Any:
        gradients, non_trainable, loss = carry
        given = index, update.hyperparameters, update.bounds, state.non_trainable
        index, numbers, bounds, streams = lax.optimization_barrier(given)
        start = non_trainable if shape.is_micro else program.with_streams_of(non_trainable, streams)
        of_block = update._replace(hyperparameters=numbers, bounds=bounds)
        more, non_trainable, more_loss = block(start, of_block, skipped=index * shape.block)
        return [old + new for old, new in zip(gradients, more, strict=True)], non_trainable, loss + more_loss

    initial = [jnp.zeros_like(weight) for weight in state.trainable], state.non_trainable, jnp.float32(0.0)
    return lax.fori_loop(0, (examples + shape.block - 1) // shape.block, add, initial)


def _block(
    program: Program, trainable: Any, non_trainable: Any, update: Update, *, data: Data, shape: Shape, skipped: Any = 0
) -> Any:
    """Return a block's share of the batch's gradients, joined, the other variables, and its share of the mean loss."""
    (start, examples), numbers = update.bounds, _as_vector(update.hyperparameters)
    rows = lax.dynamic_slice(update.order, (start + skipped,), (shape.block,))
    is_real = jnp.arange(shape.block) + skipped < examples
    weights = jnp.where(is_real, 1.0 / examples.astype(jnp.float32), 0.0)
    targets = data.targets[rows]
    own = None if data.weights is None else data.weights[rows]
    weights = program.weighted(weights, targets, own, numbers)
    first = 0 if shape.is_micro else skipped
    batch = Batch(rows_of(data.inputs, rows), targets, weights, first, is_real if program.is_maskable else None)
    gradient = jax.value_and_grad(program.loss, has_aux=True)
    (_, (loss, non_trainable)), gradients = gradient(trainable, non_trainable, numbers, batch)
    return program.joined(gradients), non_trainable, loss


def predict(program: Program, state: State, hyperparameters: Any, inputs: Any) -> Any:
    """Return the outputs for inputs, (examples, outputs), by the weights used for evaluation."""
    hyperparameters = _as_vector(hyperparameters)
    trainable, non_trainable = program.evaluated(state), state.non_trainable
    parts = [
        program.predict(trainable, non_trainable, hyperparameters, rows_of(inputs, span))
        for span in prediction_spans(inputs)
    ]
    return jnp.concatenate(parts)
