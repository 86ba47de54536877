"""The compiled engine on TensorFlow: an epoch's updates in one call of one traced function, with XLA if faster."""

import copy
from collections.abc import Hashable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from nightune.models.data.dataset import Dataset
from nightune.models.engines.compiled.ahead import Ahead
from nightune.models.engines.compiled.arrays import Batch, Data, State, Update, Updates
from nightune.models.engines.compiled.batch_layout import (
    Part,
    Shape,
    accumulated_parts,
    bucketed_parts,
    exact_parts,
    masked_parts,
    unpadded_parts,
)
from nightune.models.engines.compiled.engine import CompiledEngine
from nightune.models.engines.compiled.first_calls import FirstCalls
from nightune.models.engines.compiled.pace import Pace
from nightune.models.engines.compiled.program import Program
from nightune.models.engines.compiled.programs import CACHED_PROGRAMS
from nightune.models.engines.compiled.trace_numbers import first_number
from nightune.models.engines.prediction import prediction_spans
from nightune.models.library_internals.flat_calls import flat_call
from nightune.models.library_internals.trace_names import functions_numbered_from
from nightune.models.program_cache import publish_programs
from nightune.models.recipe.recipe import Recipe
from nightune.models.serving.input_trees import arrays_of, map_arrays, row_count, rows_of
from nightune.models.training import reported_names
from nightune.models.training.plan import EpochPlan

ALIKE = ("hyperparameters", "bounds", "span", "rule")  # in most epochs of a trial
EXACT_SHAPES = 2  # a batch size and its remainder; a policy with many sizes would compile for each of them


def make_tensorflow_engine(dataset: Dataset, folder: Path, cached_programs: int = CACHED_PROGRAMS) -> CompiledEngine:
    """Return the engine."""
    return CompiledEngine(dataset, folder, TensorFlowBackend(), cached_programs)


class TensorFlowBackend:
    """TensorFlow on its first device."""

    name = "tensorflow"
    is_shape_bound = False

    @property
    def device(self) -> str:
        """The first device."""
        return str(next(iter(keras.distribution.list_devices()), "unknown"))

    def put_data(self, data: Data) -> Data:
        """Copy the data to the device."""
        with tf.device(_device()):
            return Data(*(None if each is None else map_arrays(tf.constant, each) for each in data))

    def compile(self, program: Program, data: Data) -> "TensorFlowProgram":
        """Return the program's functions with their data; each is traced at its first call."""
        return TensorFlowProgram(program, data, reason_against_xla(program, _device()))


def reason_against_xla(program: Program, device: str) -> str:
    """Return the reason why a program is computed without XLA, as part of a tag; empty with XLA.

    Measured (docs/decisions/0010): XLA trains dense and recurrent models in a third of the time. On CPUs it is slow
    with convolutions inside loops (openxla/xla#34273).
    """
    if program.has_convolutions and device == "/CPU:0":
        return "convolutions on a CPU"
    return ""


class TensorFlowProgram:
    """A program compiled by TensorFlow, together with the data that it reads."""

    def __init__(self, program: Program, data: Data, reason_against_xla: str) -> None:
        self.program, self.pace, self._data = program, Pace(), data
        self.first_calls = FirstCalls()
        self._ahead = Ahead(self.first_calls)
        self._reason_against_xla, self._has_xla = reason_against_xla, not reason_against_xla
        self._train: dict[Shape, Any] = {}
        self._flat_calls: dict[Hashable, Any] = {}  # None: TensorFlow orders its tensors otherwise
        self._last: dict[str, tuple[Hashable, Any]] = {}  # content and tensor of each argument that rarely changes

    def tags(self, recipe: Recipe) -> Mapping[str, str]:
        """Return the tag on whether XLA computes the recipe's updates, with the reason if not."""
        has_many_sizes = recipe.batch_size.policy == "random" and not self.program.is_separable
        many_sizes = "batches of many sizes, whose examples a layer couples" if has_many_sizes else ""
        reason = self._reason_against_xla or many_sizes
        return {reported_names.XLA: f"no: {reason}" if reason else "yes"}

    def with_data(self, program: Program, data: Data) -> Self:
        """Return the same compiled functions with other data of the same shapes, and the numbers of its program."""
        other = copy.copy(self)
        other.program, other._data = program, data
        return other

    def put(self, state: State) -> State:
        """Copy the arrays to the device, as tensors."""
        with tf.device(_device()):
            return State(*([tf.convert_to_tensor(array) for array in group] for group in state))

    def parts(self, plan: EpochPlan) -> tuple[Part, ...]:
        """Lay out a plan: XLA requires static shapes; without XLA batches need no padding."""
        if not self._has_xla:
            return unpadded_parts(plan)
        if self.program.is_separable:
            return accumulated_parts(plan) if _device() == "/CPU:0" else bucketed_parts(plan)
        if self.program.is_maskable and (plan.batch_sizes[:-1] == plan.batch_sizes.max()).all():
            return masked_parts(plan)
        return exact_parts(plan) if len(np.unique(plan.batch_sizes)) <= EXACT_SHAPES else unpadded_parts(plan)

    def train(self, state: State, updates: Updates, before: Any, shape: Shape) -> tuple[State, Any, Any | None]:
        """Execute updates and validate in one call."""
        traced, given = _traced(shape, updates), (state, self._tensors(updates), self._tensor("before", before))
        trained: tuple[State, Any, Any | None]
        if self.first_calls.has(traced):
            trained = self._train_again(traced, given, shape)
            return trained
        with self.first_calls.measured(traced), self._names(traced):
            self._ahead.take(traced)
            trained = self._function(shape)(*given, self._data)
        publish_programs()
        return trained

    def _train_again(self, traced: Hashable, given: tuple[State, Updates, Any], shape: Shape) -> Any:
        """Call a traced function with its tensors in one row: all its calls have arguments of the same shapes."""
        function, key = self._function(shape), (traced, *self._rows)
        tensors = [each for each in tf.nest.flatten((given, self._data)) if each is not None]
        if key not in self._flat_calls:
            self._flat_calls[key] = flat_call(function, (*given, self._data), tensors)
        call = self._flat_calls[key]
        return function(*given, self._data) if call is None else call(tensors)

    def _tensors(self, updates: Updates) -> Updates:
        """Return the updates as tensors."""
        return updates._replace(
            order=tf.constant(updates.order),
            rates=tf.constant(updates.rates),
            **{name: self._tensor(name, getattr(updates, name)) for name in ALIKE},
        )

    def _tensor(self, name: str, array: Any) -> Any:
        """Return an array as a tensor: that of the last call if its content is the same."""
        content = array.dtype, array.shape, array.tobytes()
        if name not in self._last or self._last[name][0] != content:
            self._last[name] = content, tf.constant(array)
        return self._last[name][1]

    def would_compile(self, shape: Shape, length: int, capacity: int) -> bool:
        """Return whether `compile_ahead` would begin a function: with an order of this length, and room for updates."""
        return self._compiles_ahead(shape) and self._ahead.is_new((shape, length, capacity))

    def compile_ahead(self, state: State, updates: Updates, before: Any, shape: Shape) -> None:
        """Trace the function of these updates, and compile it in a thread: by a call without any update."""
        if not self._compiles_ahead(shape):
            return
        traced = _traced(shape, updates)
        none = updates._replace(span=np.zeros_like(updates.span))

        def trace() -> Any:
            given = (state, Updates(*map(tf.constant, none)), tf.constant(before), self._data)
            try:
                with self._names(traced):
                    return partial(self._function(shape).get_concrete_function(*given), *given)
            except BaseException:
                self._train.pop(shape, None)  # after a trace that failed, TensorFlow's function returns None
                raise

        self._ahead.start(traced, trace)

    def _compiles_ahead(self, shape: Shape) -> bool:
        return self._has_xla and shape.block > 0 and _device() == "/CPU:0"

    def _function(self, shape: Shape) -> Any:
        if shape not in self._train:
            function = partial(_train, self.program, shape)
            has_xla = self._has_xla and shape.block > 0
            self._train[shape] = tf.function(function, jit_compile=has_xla, autograph=False)
        return self._train[shape]

    def _names(self, traced: tuple[Shape, int, int]) -> AbstractContextManager[None]:
        """Let the functions that a call traces in the block have the same names in each process."""
        return functions_numbered_from(first_number(f"{self.program.key} · {traced} · {self._rows}"))

    @property
    def _rows(self) -> list[int]:
        return [row_count(tree) for tree in (self._data.inputs, self._data.validation)]


def _traced(shape: Shape, updates: Updates) -> tuple[Shape, int, int]:
    """Return what a trace depends on in a program."""
    return shape, len(updates.order), len(updates.bounds)


def _device() -> str:
    return "/GPU:0" if tf.config.list_physical_devices("GPU") else "/CPU:0"


def _train(program: Program, shape: Shape, state: State, updates: Updates, before: Any, data: Data) -> Any:
    """Execute the span's updates; the epoch's last call validates, the others return zeros as outputs."""
    start, end, is_last = updates.span[0], updates.span[1], updates.span[2]

    def update(index: Any, state: State, total: Any) -> Any:
        state, loss = _step(program, shape, state, updates.at(index), data)
        return index + 1, state, total + loss

    _, state, total = tf.while_loop(
        lambda index, *_: index < end, update, (start, state, before), parallel_iterations=1
    )
    count = arrays_of(data.validation)[0].shape[0]
    outputs: list[Any] = []  # of the first branch: the second one has their shape

    def predict() -> Any:
        outputs[:] = [_predict(program, state, updates.hyperparameters, data.validation)]
        return outputs[0]

    def zeros() -> Any:
        known = outputs[0] if outputs else predict()  # where a user lets TensorFlow trace nothing
        return tf.zeros((count, *known.shape[1:]), known.dtype)

    return state, total, tf.cond(is_last > 0, predict, zeros)


def _step(program: Program, shape: Shape, state: State, update: Update, data: Data) -> Any:
    """Execute one update; return the state and the sum of the losses of its examples."""
    trainable, examples = program.trained(state), update.bounds[1]
    block = partial(_block, program, trainable, update=update, data=data, shape=shape)
    gradients, non_trainable, loss = (
        _blocks(program, block, state, examples, shape) if shape.is_accumulated else block(state.non_trainable)
    )
    with tf.GradientTape() as tape:
        tape.watch(trainable)
        penalty = program.penalty(trainable, update.hyperparameters)
    penalty_gradients = tape.gradient(penalty, trainable, unconnected_gradients="zero")
    gradients = [one + other for one, other in zip(gradients, penalty_gradients, strict=True)]
    state = program.apply(state._replace(non_trainable=non_trainable), program.joined(gradients), update)
    return state, loss * tf.cast(examples, tf.float32)


def _blocks(program: Program, block: Any, state: State, examples: Any, shape: Shape) -> Any:
    """Accumulate the gradients of a batch's blocks."""

    def add(index: Any, gradients: Any, non_trainable: Any, loss: Any) -> Any:
        start = non_trainable if shape.is_micro else program.with_streams_of(non_trainable, state.non_trainable)
        more, non_trainable, more_loss = block(start, skipped=index * shape.block)
        gradients = [old + new for old, new in zip(gradients, more, strict=True)]
        return index + 1, gradients, non_trainable, loss + more_loss

    count = (examples + shape.block - 1) // shape.block
    initial = (
        tf.constant(0),
        [tf.zeros_like(weight) for weight in program.trained(state)],
        list(state.non_trainable),
        tf.constant(0.0),
    )
    return tf.while_loop(lambda index, *_: index < count, add, initial, parallel_iterations=1)[1:]


def _block(
    program: Program, trainable: Any, non_trainable: Any, *, update: Update, data: Data, shape: Shape, skipped: Any = 0
) -> Any:
    """Return a block's share of the batch's gradients, the other variables, and its share of the batch's mean loss."""
    start, examples = update.bounds[0], update.bounds[1]
    share, is_real = 1.0 / tf.cast(examples, tf.float32), None
    if shape.block == 0:
        rows, weights = tf.slice(update.order, [start], [examples]), share
    else:
        indices = tf.range(shape.block) + skipped
        # Not a slice: XLA compiles its start as a constant, so each layout of batches would be compiled separately.
        rows = tf.gather(update.order, start + indices)
        weights = tf.where(indices < examples, share, 0.0)
        is_real = indices < examples if program.is_maskable else None
    targets = tf.gather(data.targets, rows)
    own = None if data.weights is None else tf.gather(data.weights, rows)
    weights = program.weighted(weights, targets, own, update.hyperparameters)
    with tf.GradientTape() as tape:
        tape.watch(trainable)
        inputs = map_arrays(lambda array: tf.gather(array, rows), data.inputs)
        batch = Batch(inputs, targets, weights, 0 if shape.is_micro else skipped, is_real)
        total, (loss, non_trainable) = program.loss(trainable, non_trainable, update.hyperparameters, batch)
    return tape.gradient(total, trainable, unconnected_gradients="zero"), non_trainable, loss


def _predict(program: Program, state: State, hyperparameters: Any, inputs: Any) -> Any:
    trainable, non_trainable = program.evaluated(state), state.non_trainable
    spans = prediction_spans(inputs)
    parts = [program.predict(trainable, non_trainable, hyperparameters, rows_of(inputs, span)) for span in spans]
    return tf.concat(parts, axis=0)
