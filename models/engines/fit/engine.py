"""The engine of plain `model.fit`, one epoch a call: the reference that other engines are compared with."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from nightune.models.data.dataset import Dataset
from nightune.models.engines.fit.accumulation import Cut, MicroBatches, build_accumulating_optimizer, chosen_cut
from nightune.models.engines.fit.batch_feeds import Feed, make_feed
from nightune.models.engines.fit.gradient_measurement import noise_parts
from nightune.models.engines.fit.plan_callbacks import Follow, Remember
from nightune.models.engines.keras_parts.evaluated_weights import effective_rates, evaluated
from nightune.models.engines.keras_parts.mixed_precision import (
    computing_in,
    loss_scale_statistics,
    made_updates,
    rule_of,
    with_loss_scale,
)
from nightune.models.engines.keras_parts.penalty_measurements import Measurements
from nightune.models.engines.keras_parts.single_replica import without_replicas
from nightune.models.engines.keras_parts.updates import Penalty, build_recipe_optimizer, decayed_weights
from nightune.models.engines.memory import MICRO_BATCH_SIZE, is_out_of_memory, warn_of_smaller_micro_batches
from nightune.models.engines.prediction import predict
from nightune.models.networks.architectures import build_model
from nightune.models.networks.heads import Head, read_head
from nightune.models.recipe.recipe import Recipe
from nightune.models.training import reported_names
from nightune.models.training.engine import EpochOutput
from nightune.models.training.plan import EpochPlan
from nightune.models.training.seeds import Seeds, seed_dropout
from nightune.models.training.snapshots import EngineSnapshot, refuse_other_shapes

DATA_LOSS = "data_loss"


@dataclass(frozen=True, eq=False)
class FitState:
    """One trial's model, with what its plans are written into. The model changes in place."""

    model: keras.Model
    recipe: Recipe
    head: Head
    feed: Feed
    is_decaying: bool
    penalty: Penalty | None
    cut: Cut | None  # None: every batch is computed at once
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
        """The engine, the backend, the first device that it computes on, and where the data lies."""
        device = next(iter(keras.distribution.list_devices()), "unknown")
        backend = keras.backend.backend()
        tags = {reported_names.ENGINE: self.name, reported_names.BACKEND: backend, reported_names.DEVICE: str(device)}
        return {**tags, reported_names.DATA_PLACE: "on disk" if self._dataset.is_on_disk else "in memory"}

    def start(self, recipe: Recipe, seeds: Seeds) -> FitState:
        """Build and compile a model: weights and noise by their seeds, decay and penalty on its kernels."""
        model = self._build(recipe, seeds.weights)
        seed_dropout(model, seeds.dropout)
        head = read_head(model, self._dataset.task, self._dataset.output_size, self._dataset.train.inputs[:8])
        is_decaying = recipe.weight_decay.profile != "none"
        kernels = decayed_weights(model)
        penalty = None if recipe.penalty.kind == "none" else Penalty(kernels)
        measurements = Measurements(recipe.penalty, model, kernels, self._dataset)
        cut = chosen_cut(recipe, model)
        state = FitState(model, recipe, head, self._feed(head), is_decaying, penalty, cut, measurements)
        _compile(state)
        return state

    def epochs_at_once(self, _state: FitState, _plan: EpochPlan) -> int:
        """One: `fit` is a call for each."""
        return 1

    def run_epochs(self, state: FitState, plans: Sequence[EpochPlan]) -> tuple[FitState, list[EpochOutput]]:
        """Carry out the first plan."""
        state, output = self.run_epoch(state, plans[0])
        return state, [output]

    def run_epoch(self, state: FitState, plan: EpochPlan) -> tuple[FitState, EpochOutput]:
        """Call `fit` for one epoch, and predict the validation split.

        Out of memory, the epoch starts over in micro-batches of half as many examples, down to one, and so do later
        epochs; the state returned is another one then.
        """
        started_at = time.perf_counter()
        self._write_penalty(state, plan)
        if not state.is_decaying and plan.shrinks.any():
            raise ValueError("the plan decays weights, and the recipe that the state was started with does not")
        if (plan.momenta is not None) != hasattr(rule_of(state.model.optimizer), "cycled"):
            raise ValueError("the plan and the recipe that the state was started with differ in cycling the momentum")
        made = made_updates(state.model.optimizer)
        state, micro, trained = _train(state, plan)
        made = made_updates(state.model.optimizer) - made
        with evaluated(state.model):
            outputs = predict(state.model, self._dataset.validation.inputs)
            measured = state.measurements.measure(predict, state.head.is_logits, trained.before)
        scaled = loss_scale_statistics(state.model.optimizer, plan.updates, made)
        statistics = {**_statistics(state, plan, micro), **measured, **scaled}
        seconds = time.perf_counter() - started_at
        return state, EpochOutput(trained.loss, outputs, state.head.is_logits, seconds, statistics)

    def weights(self, state: FitState) -> list[np.ndarray]:
        """Return copies: what Keras hands out may be the memory that the next update writes to."""
        with evaluated(state.model):
            return [np.array(weight) for weight in state.model.get_weights()]

    def is_finite(self, state: FitState) -> bool:
        """Say whether all weights are finite."""
        return all(np.isfinite(weight).all() for weight in state.model.get_weights())

    def snapshot(self, state: FitState) -> EngineSnapshot:
        """Return copies of the model's variables and the optimizer's, and the cap of the micro-batches."""
        arrays = [np.array(variable) for variable in _variables(state)]
        return EngineSnapshot(arrays, {"cap": state.cut.cap if state.cut else 0})

    def restore(self, state: FitState, snapshot: EngineSnapshot) -> FitState:
        """Write the variables back, in micro-batches again if memory had run out."""
        cap = snapshot.facts["cap"]
        if cap and cap != (state.cut or Cut()).cap:
            state = _capped(state, cap, [np.array(variable) for variable in _variables(state)])
        variables = _variables(state)
        refuse_other_shapes([variable.value for variable in variables], snapshot.arrays)
        for variable, value in zip(variables, snapshot.arrays, strict=True):
            variable.assign(value)
        return state

    def trial_tags(self, state: FitState) -> Mapping[str, str]:
        """Say whether XLA compiles the steps."""
        return {reported_names.XLA: "yes" if state.model.jit_compile else "no: fit's steps are too few to pay for it"}

    def model(self, recipe: Recipe, weights: list[np.ndarray]) -> keras.Model:
        """Build the recipe's model again, free of what training attached to it, and give it the weights."""
        model = self._build(recipe, seed=0)
        model.set_weights(weights)
        return model

    def _build(self, recipe: Recipe, seed: int) -> keras.Model:
        # Layers are numbered from the start again: the same trial gives the same file after any other trials.
        keras.backend.clear_session(free_memory=False)
        shape, size = self._dataset.input_shape, self._dataset.output_size
        with computing_in(recipe.precision):
            return build_model(recipe.architecture, recipe.model, shape, size, folder=self._folder, seed=seed)

    def _feed(self, head: Head) -> Feed:
        if head.kind not in self._feeds:
            train = self._dataset.train
            self._feeds[head.kind] = make_feed(train.inputs, head.targets(train.targets))
        return self._feeds[head.kind]

    def _write_penalty(self, state: FitState, plan: EpochPlan) -> None:
        if hasattr(rule_of(state.model.optimizer), "proximal"):
            rule_of(state.model.optimizer).proximal.assign(plan.proximal)
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


def _compile(state: FitState) -> None:
    """Give the model a new optimizer of the recipe, with what goes into an update beside it."""
    optimizer = build_recipe_optimizer(state.recipe, state.model)
    if state.cut:
        optimizer = build_accumulating_optimizer(
            optimizer,
            measures_noise=state.recipe.measures_gradients,
            measures_epoch=state.recipe.batch_size.policy == "divebatch",
        )
    optimizer = with_loss_scale(without_replicas(optimizer), state.recipe.precision)
    optimizer.build(state.model.trainable_variables)
    state.model.compile(
        optimizer,
        loss=state.head.make_loss(state.recipe.penalty.label_smoothing),
        metrics=[state.head.make_metric(DATA_LOSS)],  # Keras' own `loss` has the penalty in it
        # On a CPU, XLA compiles longer than a small trial trains. JAX is nothing without it.
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
        auto_scale_loss=False,  # done above, by the recipe
    )


@dataclass(frozen=True, eq=False)
class Trained:
    """What an epoch's updates gave: the running loss, and the kernels before the last update if they are asked for."""

    loss: float
    before: list[np.ndarray]


def _train(state: FitState, plan: EpochPlan) -> tuple[FitState, MicroBatches, Trained]:
    """Train an epoch, in smaller and smaller micro-batches while memory runs out; return the running loss, too."""
    while True:
        micro = (state.cut or Cut()).of(plan.batch_sizes)
        before = [np.array(variable) for variable in _variables(state)]
        if measurement := _measurement(state):
            measurement.clear()
        try:
            remember = Remember(int(np.argmax(micro.updates)), state.measurements)
            history = state.model.fit(
                **state.feed.arguments(plan.order, micro.sizes),
                epochs=1,
                verbose=0,
                callbacks=[Follow(_numbers(state, plan, micro)), remember],
            )
        except Exception as error:
            largest = int(micro.sizes.max())
            if largest == 1 or state.recipe.precision.scales_loss or not is_out_of_memory(error):
                raise
        else:
            return state, micro, Trained(float(history.history[DATA_LOSS][0]), remember.values)
        # Outside the handler, whose traceback would keep alive what did not fit.
        warn_of_smaller_micro_batches(plan.epoch, largest, largest // 2)
        state = _capped(state, largest // 2, before)


def _capped(state: FitState, cap: int, before: list[np.ndarray]) -> FitState:
    """The state before the epoch, to be trained in micro-batches of so many examples at most."""
    capped = replace(state, cut=replace(state.cut or Cut(), cap=cap))
    if state.cut is None:
        _compile(capped)
    # What accumulation adds to the optimizer's variables comes last, and is empty between two epochs.
    for variable, value in zip(_variables(capped), before, strict=False):
        variable.assign(value)
    return capped


def _variables(state: FitState) -> list[keras.Variable]:
    """All that training changes: weights, states of random streams, and what the optimizer remembers."""
    return [*state.model.variables, *state.model.optimizer.variables]


def _measurement(state: FitState) -> Any:
    return getattr(rule_of(state.model.optimizer), "measurement", None)


def _numbers(state: FitState, plan: EpochPlan, micro: MicroBatches) -> dict[str, list[float]]:
    """What to write before each micro-batch, by the optimizer's attribute."""
    numbers = {"learning_rate": plan.learning_rates[micro.updates]}
    if state.is_decaying:
        numbers["shrink"] = plan.shrinks[micro.updates]
    if plan.momenta is not None:
        numbers["cycled"] = plan.momenta[micro.updates]
    if state.cut:
        numbers |= {"share": micro.shares, "is_last": micro.is_last}
    if _measurement(state):
        numbers["measurement.noise_part"] = noise_parts(plan.batch_sizes)[micro.updates]
        numbers["measurement.epoch_part"] = (plan.batch_sizes / plan.examples).astype(np.float32)[micro.updates]
    return {name: values.tolist() for name, values in numbers.items()}


def _statistics(state: FitState, plan: EpochPlan, micro: MicroBatches) -> dict[str, float]:
    """The rates that the optimizer found, the size of the micro-batches where there are any, and what was measured."""
    rates = effective_rates(rule_of(state.model.optimizer))
    if not state.cut:
        return rates
    measurement = _measurement(state)
    parts = int((micro.updates == 0).sum())
    measured = measurement.statistics(int(plan.batch_sizes[0]), parts) if measurement else {}
    return {**rates, MICRO_BATCH_SIZE: float(micro.sizes.max()), **measured}
