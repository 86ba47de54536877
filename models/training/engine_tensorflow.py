"""The compiled engine of TensorFlow: an epoch, or about a second of it, in one call of one traced function.

Programs are kept by what changes the graph. All else is data: rates, decay and penalties come with the plan, momentum
and the dropout rate are variables, batches are slices of the plan's order. So trials of one shape trace once, and
batches of any size, the ragged last one included, run as they are, without padding.
"""

import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models.architectures import ARCHITECTURES, build_model
from models.examples import Dataset
from models.optimizers import build_optimizer
from models.outputs import read_head
from models.recipe import Recipe
from models.training.capabilities import refuse_only_in_fit
from models.training.compiled import refusals_of
from models.training.engine import EpochOutput
from models.training.hyperparameters import Hyperparameter, make_variable
from models.training.plan import EpochPlan
from models.training.seeds import Seeds, seed_dropout
from models.training.updates import decayed_weights

KEPT_PROGRAMS = 16  # the least recently used one goes; each holds a model, its slots and its graphs
FIRST_CALL_UPDATES = 32
CALL_SECONDS = 1.0
VALIDATION_BYTES = 2**24  # inputs of one validation step; activations take a multiple of it


@dataclass(frozen=True, eq=False)
class TensorFlowState:
    """One trial within a program. The program holds its weights, so one trial at a time is in it."""

    program: "Program"


class TensorFlowEngine:
    """Trains on TensorFlow with one traced program for each shape of graph."""

    name = "tensorflow"

    def __init__(self, dataset: Dataset, folder: Path) -> None:
        self._dataset = dataset
        self._folder = folder
        self._programs: OrderedDict[str, Program] = OrderedDict()

    @property
    def tags(self) -> Mapping[str, str]:
        """The backend, and the first device that it computes on."""
        device = next(iter(keras.distribution.list_devices()), "unknown")
        return {"nightune.backend": "tensorflow", "nightune.device": str(device)}

    def refusals(self, recipe: Recipe) -> list[str]:
        """Say what of a recipe a program cannot express; it is for `fit` then. Empty where all is well."""
        return refusals_of(self._build(recipe, 0), recipe, self._dataset)

    def start(self, recipe: Recipe, seeds: Seeds) -> TensorFlowState:
        """Draw the trial's initial weights and put them into the program of its shape, with empty slots."""
        refuse_only_in_fit(recipe)
        model = self._build(recipe, seeds.weights)
        seed_dropout(model, seeds.dropout)
        key = program_key(recipe)
        if key not in self._programs:
            self._programs[key] = Program(model, recipe, self._dataset)
            while len(self._programs) > KEPT_PROGRAMS:
                self._programs.popitem(last=False)
        self._programs.move_to_end(key)
        program = self._programs[key]
        program.load(recipe, model)
        return TensorFlowState(program)

    def run_epoch(self, state: TensorFlowState, plan: EpochPlan) -> tuple[TensorFlowState, EpochOutput]:
        """Run the program on one plan."""
        started_at = time.perf_counter()
        loss, outputs = state.program.run(plan)
        return state, EpochOutput(loss, outputs, state.program.head.is_logits, time.perf_counter() - started_at)

    def weights(self, state: TensorFlowState) -> list[np.ndarray]:
        """Return copies of all weights, in the model's order."""
        return [np.array(weight.numpy()) for weight in state.program.model.weights]

    def model(self, recipe: Recipe, weights: list[np.ndarray]) -> keras.Model:
        """Build the recipe's model again, free of what the program put into it, and give it the weights."""
        model = self._build(recipe, seed=0)
        model.set_weights(weights)
        return model

    def _build(self, recipe: Recipe, seed: int) -> keras.Model:
        keras.backend.clear_session(free_memory=False)  # layers are numbered from the start again
        size = self._dataset.output_size
        shape = self._dataset.input_shape
        return build_model(recipe.architecture, recipe.model, shape, size, folder=self._folder, seed=seed)


class Program:
    """One graph: a model, its optimizer and the traced functions that train and validate."""

    def __init__(self, model: keras.Model, recipe: Recipe, dataset: Dataset) -> None:
        self.model = model
        self.head = read_head(model, dataset.task, dataset.output_size, dataset.train.inputs[:8])
        self._loss = self.head.make_loss()
        self._kernels = decayed_weights(model)
        self._optimizer = build_optimizer(recipe.optimizer)
        self._optimizer.build(model.trainable_variables)
        self._empty_slots = [slot.numpy() for slot in self._optimizer.variables]
        has_momentum = recipe.optimizer.kind in ("sgd", "rmsprop") and recipe.optimizer.momentum != 0.0
        self._momentum = make_variable(self._optimizer, "momentum") if has_momentum else None
        self._dropout = _dropout_rates(model, recipe)
        with tf.device("/CPU:0" if not tf.config.list_physical_devices("GPU") else "/GPU:0"):
            self._inputs = tf.constant(dataset.train.inputs)
            self._targets = tf.constant(self.head.targets(dataset.train.targets))
            self._validation = tf.constant(dataset.validation.inputs)
        self._train = tf.function(self._train_updates, input_signature=_SIGNATURE)
        self._validate = tf.function(self._validation_outputs)
        self._updates_a_call = FIRST_CALL_UPDATES

    def load(self, recipe: Recipe, model: keras.Model) -> None:
        """Take over a trial: its initial weights and random streams, empty slots, and its own numbers."""
        if model is not self.model:
            for variable, initial in zip(self.model.variables, model.variables, strict=True):
                variable.assign(initial)
        for slot, empty in zip(self._optimizer.variables, self._empty_slots, strict=True):
            slot.assign(empty)
        if self._momentum is not None:
            self._momentum.assign(recipe.optimizer.momentum)
        for rate in self._dropout:
            rate.assign(recipe.model["dropout"])

    def run(self, plan: EpochPlan) -> tuple[float, np.ndarray]:
        """Train and validate one epoch; return the running loss and the outputs, (validation examples, size)."""
        bounds = np.concatenate([[0], np.cumsum(plan.batch_sizes)]).astype(np.int32)
        strengths = (np.float32(plan.l1), np.float32(plan.l2))
        total, start = 0.0, 0
        while start < plan.updates:
            started_at = time.perf_counter()
            end = min(plan.updates, start + self._updates_a_call)
            rates, shrinks = plan.learning_rates[start:end], plan.shrinks[start:end]
            total += float(self._train(plan.order, bounds[start : end + 1], rates, shrinks, *strengths))
            self._adapt(end - start, time.perf_counter() - started_at)
            start = end
        return total / plan.examples, self._validate().numpy()

    def _adapt(self, updates: int, seconds: float) -> None:
        """Keep a call to about a second: an interrupt is heard between two calls only."""
        self._updates_a_call = max(1, int(updates * CALL_SECONDS / max(seconds, 1e-6)))

    def _train_updates(self, order: Any, bounds: Any, rates: Any, shrinks: Any, l1: Any, l2: Any) -> Any:
        total = tf.constant(0.0)
        for update in tf.range(tf.size(rates)):
            batch = order[bounds[update] : bounds[update + 1]]
            loss = self._update(batch, rates[update], shrinks[update], l1, l2)
            total += loss * tf.cast(tf.size(batch), tf.float32)
        return total

    def _update(self, batch: Any, rate: Any, shrink: Any, l1: Any, l2: Any) -> Any:
        with tf.GradientTape() as tape:
            outputs = self.model(tf.gather(self._inputs, batch), training=True)
            loss = self._loss(tf.gather(self._targets, batch), outputs)
            penalized = tf.add_n([loss, *self.model.losses, *(_penalty(kernel, l1, l2) for kernel in self._kernels)])
        variables = self.model.trainable_variables
        gradients = tape.gradient(penalized, [variable.value for variable in variables])
        self._optimizer.learning_rate.assign(rate)
        for kernel in self._kernels:
            kernel.assign(kernel - kernel * shrink)
        self._optimizer.apply(gradients, variables)
        return loss

    def _validation_outputs(self) -> Any:
        count = int(self._validation.shape[0])
        bytes_per_example = max(1, self._validation.dtype.size * int(np.prod(self._validation.shape[1:])))
        size = min(4096, max(32, VALIDATION_BYTES // bytes_per_example))
        parts = [self.model(self._validation[start : start + size], training=False) for start in range(0, count, size)]
        return tf.reshape(tf.concat(parts, axis=0), (count, -1))


def program_key(recipe: Recipe) -> str:
    """What changes the graph, or is a constant in it: trials of one key share one program."""
    optimizer = replace(recipe.optimizer, one_minus_momentum=0.5 if recipe.optimizer.momentum != 0.0 else 1.0)
    model = dict(recipe.model)
    if _has_dropout_as_data(recipe):
        model["dropout"] = "data"
    return repr((recipe.architecture, sorted(model.items()), optimizer))


def _has_dropout_as_data(recipe: Recipe) -> bool:
    """True for our own architectures where something is dropped: `dropout` is the rate of all their Dropout layers."""
    return recipe.architecture in ARCHITECTURES and recipe.model.get("dropout", 0.0) != 0.0


def _dropout_rates(model: keras.Model, recipe: Recipe) -> list[Hyperparameter]:
    if not _has_dropout_as_data(recipe):
        return []
    return [make_variable(layer, "rate") for layer in model.layers if isinstance(layer, keras.layers.Dropout)]


def _penalty(kernel: keras.Variable, l1: Any, l2: Any) -> Any:
    return l1 * tf.reduce_sum(tf.abs(kernel.value)) + l2 * tf.reduce_sum(tf.square(kernel.value))


_SIGNATURE = [
    tf.TensorSpec((None,), tf.int32),  # order: example of each place
    tf.TensorSpec((None,), tf.int32),  # bounds: where each update's batch starts, and the end
    tf.TensorSpec((None,), tf.float32),  # learning rates
    tf.TensorSpec((None,), tf.float32),  # shrinks
    tf.TensorSpec((), tf.float32),  # l1
    tf.TensorSpec((), tf.float32),  # l2
]
