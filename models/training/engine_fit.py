"""The engine of plain `model.fit`, one epoch a call: the reference that other engines are compared with."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from models.architectures import build_model
from models.examples import Dataset
from models.outputs import Head, read_head
from models.recipe import Recipe
from models.training.engine import EpochOutput
from models.training.feeds import Feed, make_feed
from models.training.measurements import Measurements
from models.training.plan import EpochPlan
from models.training.seeds import Seeds, seed_dropout
from models.training.updates import Penalty, build_recipe_optimizer, decayed_weights

DATA_LOSS = "data_loss"
PREDICTION_BYTES = 2**24  # inputs of one prediction call; activations take a multiple of it


@dataclass(frozen=True, eq=False)
class FitState:
    """One trial's model, with what its plans are written into. The model changes in place."""

    model: keras.Model
    head: Head
    feed: Feed
    is_decaying: bool
    penalty: Penalty | None
    measurements: Measurements


class FitEngine:
    """Trains with `model.fit` on whatever backend Keras has."""

    name = "fit"

    def __init__(self, dataset: Dataset, folder: Path) -> None:
        self._dataset = dataset
        self._folder = folder
        self._feeds: dict[str, Feed] = {}  # by what the head makes of the targets: models may differ in it
        logging.getLogger("tensorflow").addFilter(_is_no_retracing_complaint)

    @property
    def tags(self) -> Mapping[str, str]:
        """The engine, the backend, and the first device that it computes on."""
        device = next(iter(keras.distribution.list_devices()), "unknown")
        backend = keras.backend.backend()
        return {"nightune.engine": self.name, "nightune.backend": backend, "nightune.device": str(device)}

    def start(self, recipe: Recipe, seeds: Seeds) -> FitState:
        """Build and compile a model: weights and noise by their seeds, decay and penalty on its kernels."""
        model = self._build(recipe, seeds.weights)
        seed_dropout(model, seeds.dropout)
        head = read_head(model, self._dataset.task, self._dataset.output_size, self._dataset.train.inputs[:8])
        kernels = decayed_weights(model)
        is_decaying = recipe.weight_decay.profile != "none"
        penalty = None if recipe.penalty.kind == "none" else Penalty(kernels)
        optimizer = build_recipe_optimizer(recipe, model)
        optimizer.build(model.trainable_variables)
        model.compile(
            optimizer,
            loss=head.make_loss(recipe.penalty.label_smoothing),
            metrics=[head.make_metric(DATA_LOSS)],  # Keras' own `loss` has the penalty in it
            # On a CPU, XLA compiles longer than a small trial trains. JAX is nothing without it.
            jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
        )
        measurements = Measurements(recipe.penalty, model, kernels, self._dataset)
        return FitState(model, head, self._feed(head), is_decaying, penalty, measurements)

    def run_epoch(self, state: FitState, plan: EpochPlan) -> tuple[FitState, EpochOutput]:
        """Call `fit` for one epoch, and predict the validation split."""
        started_at = time.perf_counter()
        self._write_penalty(state, plan)
        if not state.is_decaying and plan.shrinks.any():
            raise ValueError("the plan decays weights, and the recipe that the state was started with does not")
        if (plan.momenta is not None) != hasattr(state.model.optimizer, "cycled"):
            raise ValueError("the plan and the recipe that the state was started with differ in cycling the momentum")
        callbacks: list[Any] = [_Follow(plan, state.is_decaying)]
        remember = _Remember(plan.updates - 1, state.measurements.kernels)
        if state.measurements.needs_weights_before:
            callbacks.append(remember)
        history = state.model.fit(**state.feed.arguments(plan), epochs=1, verbose=0, callbacks=callbacks)
        loss = float(history.history[DATA_LOSS][0])
        outputs = _predict(state.model, self._dataset.validation.inputs)
        statistics = state.measurements.measure(_predict, state.head.is_logits, remember.values)
        seconds = time.perf_counter() - started_at
        return state, EpochOutput(loss, outputs, state.head.is_logits, seconds, statistics)

    def weights(self, state: FitState) -> list[np.ndarray]:
        """Return copies: what Keras hands out may be the memory that the next update writes to."""
        return [np.array(weight) for weight in state.model.get_weights()]

    def model(self, recipe: Recipe, weights: list[np.ndarray]) -> keras.Model:
        """Build the recipe's model again, free of what training attached to it, and give it the weights."""
        model = self._build(recipe, seed=0)
        model.set_weights(weights)
        return model

    def _build(self, recipe: Recipe, seed: int) -> keras.Model:
        # Layers are numbered from the start again: the same trial gives the same file after any other trials.
        keras.backend.clear_session(free_memory=False)
        return build_model(
            recipe.architecture,
            recipe.model,
            self._dataset.input_shape,
            self._dataset.output_size,
            folder=self._folder,
            seed=seed,
        )

    def _feed(self, head: Head) -> Feed:
        if head.kind not in self._feeds:
            train = self._dataset.train
            self._feeds[head.kind] = make_feed(train.inputs, head.targets(train.targets))
        return self._feeds[head.kind]

    def _write_penalty(self, state: FitState, plan: EpochPlan) -> None:
        if hasattr(state.model.optimizer, "proximal"):
            state.model.optimizer.proximal.assign(plan.proximal)
        elif plan.proximal:
            raise ValueError("the plan thresholds weights, and the recipe that the state was started with does not")
        if state.penalty is None:
            if plan.l1 or plan.l2:
                raise ValueError("the plan penalizes weights, and the recipe that the state was started with does not")
        elif state.penalty.write(plan.l1, plan.l2) and keras.backend.backend() != "tensorflow":
            # Other backends trace the strengths as constants; without this, the old ones would silently stay.
            state.model.train_function = None


def _is_no_retracing_complaint(record: logging.LogRecord) -> bool:
    """TensorFlow takes a new model for each trial for a mistake, and says so from the fifth on."""
    return "triggered tf.function retracing" not in record.getMessage()


class _Follow(keras.callbacks.Callback):
    """Writes the plan's learning rate and shrink before each update, where they differ from the one before."""

    def __init__(self, plan: EpochPlan, is_decaying: bool) -> None:
        super().__init__()
        self._rates = plan.learning_rates.tolist()
        self._shrinks = plan.shrinks.tolist() if is_decaying else None
        self._momenta = None if plan.momenta is None else plan.momenta.tolist()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if _is_new(self._rates, batch):
            self.model.optimizer.learning_rate = self._rates[batch]  # on JAX, `self.model` fetches the model's state
        if self._shrinks is not None and _is_new(self._shrinks, batch):
            self.model.optimizer.shrink.assign(self._shrinks[batch])
        if self._momenta is not None and _is_new(self._momenta, batch):
            self.model.optimizer.cycled.assign(self._momenta[batch])


class _Remember(keras.callbacks.Callback):
    """Copies the kernels before one update."""

    def __init__(self, update: int, kernels: list[keras.Variable]) -> None:
        super().__init__()
        self._update, self._kernels = update, kernels
        self.values: list[np.ndarray] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch == self._update and self.model:  # on JAX, asking for the model brings its variables up to date
            self.values = [np.array(kernel) for kernel in self._kernels]


def _is_new(values: list[float], index: int) -> bool:
    return index == 0 or values[index] != values[index - 1]


def _predict(model: keras.Model, inputs: np.ndarray) -> np.ndarray:
    """Outputs in inference mode, (examples, size). `model.predict` sets up a pipeline, at many times the cost."""
    bytes_per_example = max(1, inputs.nbytes // len(inputs))
    size = min(4096, max(32, PREDICTION_BYTES // bytes_per_example))
    parts = [model.predict_on_batch(np.asarray(inputs[start : start + size])) for start in range(0, len(inputs), size)]
    return np.concatenate(parts).reshape(len(inputs), -1)
