"""A trial's model as `model.fit` trains it: compiled once, and trained by a plan for one epoch at a time."""

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from nightune.models.engines.fit.accumulation import Cut, MicroBatches, build_accumulating_optimizer
from nightune.models.engines.fit.batch_feeds import Feed
from nightune.models.engines.fit.gradient_measurement import noise_parts
from nightune.models.engines.fit.plan_callbacks import CopyKernels, KeepLogs, WriteNumbers
from nightune.models.engines.keras_parts.evaluated_weights import effective_rates
from nightune.models.engines.keras_parts.mixed_precision import (
    unscaled_optimizer,
    with_loss_scale,
)
from nightune.models.engines.keras_parts.penalty_measurements import Measurements
from nightune.models.engines.keras_parts.single_replica import without_replicas
from nightune.models.engines.keras_parts.updates import Penalty, build_recipe_optimizer
from nightune.models.engines.memory import MICRO_BATCH_SIZE, is_out_of_memory, warn_of_smaller_micro_batches
from nightune.models.networks.class_factors import ClassFactors
from nightune.models.networks.heads import Head
from nightune.models.networks.noise import hashed_noise
from nightune.models.networks.own_methods import own_methods, refuse_replacing_compile, reported_loss
from nightune.models.recipe.recipe import Recipe
from nightune.models.training.plan import EpochPlan

DATA_LOSS = "data_loss"


@dataclass(frozen=True, eq=False)
class FitState:
    """One trial's model, and the objects that its plans configure. The model changes in place."""

    model: keras.Model
    recipe: Recipe
    head: Head
    feed: Feed
    is_decaying: bool
    penalty: Penalty | None
    cut: Cut | None  # None: each batch is computed at once
    measurements: Measurements
    weights: np.ndarray | None = None  # of the training rows, (rows,) float32; None: all alike
    classes: ClassFactors | None = None  # weights of classes that are a part of the loss


def compile_model(state: FitState) -> None:
    """Compile the model with a new optimizer of the recipe, with accumulation and loss scale if needed."""
    optimizer = build_recipe_optimizer(state.recipe, state.model)
    if state.cut:
        optimizer = build_accumulating_optimizer(
            optimizer,
            measures_noise=state.recipe.measures_gradients,
            measures_epoch=state.recipe.batch_size.policy == "divebatch",
        )
    optimizer = with_loss_scale(without_replicas(optimizer), state.recipe.precision)
    optimizer.build(state.model.trainable_variables)
    has_own_step = _has_own_step(state.model)
    metrics = "metrics" if state.weights is None else "weighted_metrics"
    loss = state.head.make_loss(state.recipe.penalty.label_smoothing, state.classes)
    state.model.compile(
        optimizer,
        loss=loss,
        # Keras' own `loss` has the penalty in it.
        **{metrics: None if has_own_step else [state.head.make_metric(DATA_LOSS, state.classes)]},
        run_eagerly=has_own_step and bool(state.model.run_eagerly),
        # On a CPU, XLA takes longer to compile than a small trial to train. JAX always uses it.
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
        auto_scale_loss=False,  # with_loss_scale does it
    )
    refuse_replacing_compile(state.model, optimizer, loss)


def _has_own_step(model: keras.Model) -> bool:
    """Return True if the model's own code trains a batch, without the metrics that the engine compiles."""
    return bool(own_methods(model, ("train_step", "make_train_function")))


@dataclass(frozen=True, eq=False)
class Trained:
    """The results of an epoch's updates: the running loss, and the kernels before the last update if needed."""

    loss: float
    before: list[np.ndarray]


def train_epoch(state: FitState, plan: EpochPlan) -> tuple[FitState, MicroBatches, Trained]:
    """Train an epoch, and halve the micro-batches each time memory runs out."""
    while True:
        micro = (state.cut or Cut()).of(plan.batch_sizes)
        before = [np.array(variable) for variable in trained_variables(state)]
        if measurement := _measurement(state):
            measurement.clear()
        try:
            copied = CopyKernels(int(np.argmax(micro.updates)), state.measurements)
            kept = [KeepLogs()] if _has_own_step(state.model) else []
            with hashed_noise():
                history = state.model.fit(
                    **state.feed.arguments(plan.order, micro.sizes, state.weights),
                    epochs=1,
                    verbose=0,
                    callbacks=[WriteNumbers(_numbers(state, plan, micro)), copied, *kept],
                )
        except Exception as error:
            largest = int(micro.sizes.max())
            if largest == 1 or state.recipe.precision.scales_loss or not is_out_of_memory(error):
                raise
        else:
            loss = reported_loss(history.history, DATA_LOSS, kept[0].logs if kept else {})
            if DATA_LOSS in history.history:
                loss *= _mean_weight(state, plan)
            return state, micro, Trained(loss, copied.values)
        # Outside the handler, whose traceback would keep the large arrays alive.
        warn_of_smaller_micro_batches(plan.epoch, largest, largest // 2)
        state = capped(state, largest // 2, before)


def _mean_weight(state: FitState, plan: EpochPlan) -> float:
    """Return the mean weight of an epoch's rows: Keras divides a weighted metric by their sum, but losses by rows."""
    return 1.0 if state.weights is None else float(state.weights[plan.order].mean(dtype=np.float64))


def capped(state: FitState, cap: int, before: list[np.ndarray]) -> FitState:
    """Return the state before the epoch, with a maximum micro-batch size."""
    smaller = replace(state, cut=replace(state.cut or Cut(), cap=cap))
    if state.cut is None:
        compile_model(smaller)
    # The variables that accumulation adds to the optimizer come last, and are zero between epochs.
    for variable, value in zip(trained_variables(smaller), before, strict=False):
        variable.assign(value)
    return smaller


def trained_variables(state: FitState) -> list[keras.Variable]:
    """Return all variables that training changes: weights, random states and the optimizer's variables."""
    return [*state.model.variables, *state.model.optimizer.variables]


def _measurement(state: FitState) -> Any:
    return getattr(unscaled_optimizer(state.model.optimizer), "measurement", None)


def _numbers(state: FitState, plan: EpochPlan, micro: MicroBatches) -> dict[str, list[float]]:
    """Return the numbers to assign before each micro-batch, by attribute of the optimizer."""
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


def adapted_statistics(state: FitState, plan: EpochPlan, micro: MicroBatches) -> dict[str, float]:
    """Return the rates that the optimizer adapted, the size of micro-batches, and the measured statistics."""
    rates = effective_rates(unscaled_optimizer(state.model.optimizer))
    if not state.cut:
        return rates
    measurement = _measurement(state)
    parts = int((micro.updates == 0).sum())
    measured = measurement.statistics(int(plan.batch_sizes[0]), parts) if measurement else {}
    return {**rates, MICRO_BATCH_SIZE: float(micro.sizes.max()), **measured}
