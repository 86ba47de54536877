"""The compiled engine of TensorFlow: an epoch's updates in one call of one traced function, with XLA where it pays."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nightune.models.data.dataset import Dataset
from nightune.models.engines.compiled.arrays import Batch, Data, State, Update, Updates
from nightune.models.engines.compiled.batch_layout import (
    Part,
    Shape,
    accumulated_parts,
    bucketed_parts,
    exact_parts,
    free_parts,
)
from nightune.models.engines.compiled.engine import KEPT_PROGRAMS, CompiledEngine
from nightune.models.engines.compiled.pace import Pace
from nightune.models.engines.compiled.program import Program
from nightune.models.engines.prediction import prediction_spans
from nightune.models.recipe.recipe import Recipe
from nightune.models.training import reported_names
from nightune.models.training.plan import EpochPlan

EXACT_SHAPES = 2  # of a batch size and its left-over; a policy of many sizes would compile for each of them


def make_tensorflow_engine(dataset: Dataset, folder: Path, kept_programs: int = KEPT_PROGRAMS) -> CompiledEngine:
    """Return the engine."""
    return CompiledEngine(dataset, folder, TensorFlowBackend(), kept_programs)


class TensorFlowBackend:
    """TensorFlow on its first device; with `is_plain` never with XLA."""

    name = "tensorflow"
    is_shape_bound = False

    def __init__(self, is_plain: bool = False) -> None:
        self._is_plain = is_plain

    @property
    def device(self) -> str:
        """The first device."""
        return str(next(iter(keras.distribution.list_devices()), "unknown"))

    def put_data(self, data: Data) -> Data:
        """Return the data on the device."""
        with tf.device(_device()):
            return Data(*map(tf.constant, data))

    def compile(self, program: Program, data: Data) -> "TensorFlowProgram":
        """Return the program's functions with their data, traced when they are first called."""
        reason = "as asked" if self._is_plain else reason_against_xla(program, _device())
        return TensorFlowProgram(program, data, reason)

    def with_noise_of_fit(self) -> "TensorFlowBackend":
        """Return the backend whose dropout is that of `fit`: XLA draws other noise from the same seed."""
        return TensorFlowBackend(is_plain=True)


def reason_against_xla(program: Program, device: str) -> str:
    """Say why a program is computed without XLA; empty where it is computed with it.

    By measurement (docs/decisions/0010): XLA trains dense and recurrent models in a third of the time. On a CPU it is
    slow with convolutions inside loops (openxla/xla#34273).
    """
    if program.has_convolutions and device == "/CPU:0":
        return "convolutions on a CPU"
    if program.has_noise_of_its_own:
        return "noise of the model's own, which could not be compared with fit"
    return ""


class TensorFlowProgram:
    """A program as TensorFlow compiles it, with the data that it reads."""

    def __init__(self, program: Program, data: Data, reason_against_xla: str) -> None:
        self.program, self.pace, self._data = program, Pace(), data
        self._reason_against_xla, self._has_xla = reason_against_xla, not reason_against_xla
        self._train: dict[Shape, Any] = {}

    def tags(self, recipe: Recipe) -> Mapping[str, str]:
        """Say whether XLA computes the recipe's updates."""
        has_many_sizes = recipe.batch_size.policy == "random" and not self.program.is_separable
        many_sizes = "batches of many sizes, whose examples a layer couples" if has_many_sizes else ""
        reason = self._reason_against_xla or many_sizes
        return {reported_names.XLA: f"no: {reason}" if reason else "yes"}

    def put(self, state: State) -> State:
        """Return the arrays as tensors."""
        with tf.device(_device()):
            return State(*([tf.convert_to_tensor(array) for array in group] for group in state))

    def parts(self, plan: EpochPlan) -> tuple[Part, ...]:
        """Lay out a plan: XLA wants shapes that it knows, and without it any batch is taken as it is."""
        if not self._has_xla:
            return free_parts(plan)
        if self.program.is_separable:
            return accumulated_parts(plan) if _device() == "/CPU:0" else bucketed_parts(plan)
        return exact_parts(plan) if len(np.unique(plan.batch_sizes)) <= EXACT_SHAPES else free_parts(plan)

    def train(self, state: State, updates: Updates, before: Any, shape: Shape) -> tuple[State, Any, Any | None]:
        """Make updates and validate in one call."""
        if shape not in self._train:
            function = partial(_train, self.program, shape)
            has_xla = self._has_xla and shape.block > 0
            self._train[shape] = tf.function(function, jit_compile=has_xla, autograph=False)
        return self._train[shape](state, Updates(*map(tf.constant, updates)), tf.constant(before), self._data)


def _device() -> str:
    return "/GPU:0" if tf.config.list_physical_devices("GPU") else "/CPU:0"


def _train(program: Program, shape: Shape, state: State, updates: Updates, before: Any, data: Data) -> Any:
    """Make the span's updates; the epoch's last call validates, the others return zeros for outputs."""
    start, end, is_last = updates.span[0], updates.span[1], updates.span[2]

    def update(place: Any, state: State, total: Any) -> Any:
        state, loss = _step(program, shape, state, updates.at(place), data)
        return place + 1, state, total + loss

    _, state, total = tf.while_loop(
        lambda place, *_: place < end, update, (start, state, before), parallel_iterations=1
    )
    predict = partial(_predict, program, state, updates.numbers, data.validation)
    one = _predict(program, state, updates.numbers, data.validation[:1])  # of which only the shape is used
    nothing = partial(tf.zeros, (data.validation.shape[0], *one.shape[1:]), one.dtype)
    return state, total, tf.cond(is_last > 0, predict, nothing)


def _step(program: Program, shape: Shape, state: State, update: Update, data: Data) -> Any:
    """Make one update; return the sum of its examples' losses as well."""
    trainable, examples = state.trainable, update.bounds[1]
    block = partial(_block, program, trainable, update=update, data=data, size=shape.block)
    gradients, rest, loss = _blocks(block, state, examples, shape) if shape.is_accumulated else block(state.rest)
    with tf.GradientTape() as tape:
        tape.watch(trainable)
        penalty = program.penalty(trainable, update.numbers)
    penalty_gradients = tape.gradient(penalty, trainable, unconnected_gradients="zero")
    gradients = [one + other for one, other in zip(gradients, penalty_gradients, strict=True)]
    state = program.apply(state._replace(rest=rest), update.numbers, gradients, update.rates)
    return state, loss * tf.cast(examples, tf.float32)


def _blocks(block: Any, state: State, examples: Any, shape: Shape) -> Any:
    """Add up the gradients of a batch's blocks."""

    def add(index: Any, gradients: Any, rest: Any, loss: Any) -> Any:
        more, rest, more_loss = block(rest, skipped=index * shape.block)
        gradients = [old + new for old, new in zip(gradients, more, strict=True)]
        return index + 1, gradients, rest, loss + more_loss

    count = (examples + shape.block - 1) // shape.block
    nothing = (
        tf.constant(0),
        [tf.zeros_like(weight) for weight in state.trainable],
        list(state.rest),
        tf.constant(0.0),
    )
    return tf.while_loop(lambda index, *_: index < count, add, nothing, parallel_iterations=1)[1:]


def _block(
    program: Program, trainable: Any, rest: Any, *, update: Update, data: Data, size: int, skipped: Any = 0
) -> Any:
    """Return a block's part of the gradients of the batch's mean loss, the other variables, and its part of that."""
    start, examples = update.bounds[0], update.bounds[1]
    share = 1.0 / tf.cast(examples, tf.float32)
    if size == 0:
        rows, weights = tf.slice(update.order, [start], [examples]), share
    else:
        places = tf.range(size) + skipped
        # Not a slice: for XLA, where it begins is a constant, and each layout of batches would be compiled anew.
        rows = tf.gather(update.order, start + places)
        weights = tf.where(places < examples, share, 0.0)
    with tf.GradientTape() as tape:
        tape.watch(trainable)
        batch = Batch(tf.gather(data.inputs, rows), tf.gather(data.targets, rows), weights)
        total, (loss, rest) = program.loss(trainable, rest, update.numbers, batch)
    return tape.gradient(total, trainable, unconnected_gradients="zero"), rest, loss


def _predict(program: Program, state: State, numbers: Any, inputs: Any) -> Any:
    trainable, rest = program.evaluated(state), state.rest
    shape = tuple(inputs.shape)
    spans = prediction_spans(np.broadcast_to(np.zeros((), inputs.dtype.as_numpy_dtype), shape))
    parts = [program.predict(trainable, rest, numbers, inputs[span]) for span in spans]
    return tf.concat(parts, axis=0)
