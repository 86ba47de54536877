"""The engine that calls `model.fit` once per epoch: the reference for the other engines."""

import copy
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from nightune.models.data.dataset import Dataset
from nightune.models.engines.fit.accumulation import Cut, chosen_cut
from nightune.models.engines.fit.batch_feeds import Feed, make_feed
from nightune.models.engines.fit.fitted_epoch import (
    FitState,
    adapted_statistics,
    capped,
    compile_model,
    train_epoch,
    trained_variables,
)
from nightune.models.engines.keras_parts.evaluated_weights import evaluated
from nightune.models.engines.keras_parts.mixed_precision import (
    count_updates,
    loss_scale_statistics,
    unscaled_optimizer,
)
from nightune.models.engines.keras_parts.penalty_measurements import Measurements
from nightune.models.engines.keras_parts.recipe_models import build_recipe_model
from nightune.models.engines.keras_parts.updates import Penalty, decayed_weights
from nightune.models.engines.prediction import predict
from nightune.models.library_internals.models import compiles_with_xla, discard_train_function, random_states_kept
from nightune.models.networks.class_factors import ClassFactors
from nightune.models.networks.embedding_ids import refuse_ids_outside_tables
from nightune.models.networks.heads import Head
from nightune.models.recipe.recipe import FINE_TUNING, Recipe
from nightune.models.training import reported_names
from nightune.models.training.engine import EpochOutput
from nightune.models.training.model_key import model_key
from nightune.models.training.plan import EpochPlan
from nightune.models.training.row_weights import class_factors, row_weights
from nightune.models.training.seeds import Seeds, seed_dropout
from nightune.models.training.settled_heads import SettledHeads
from nightune.models.training.snapshots import EngineSnapshot, refuse_other_shapes
from nightune.models.user_code import source_digest
from nightune.phases import VALIDATION, phase


class FitEngine:
    """Trains with `model.fit` on any backend of Keras."""

    name = "fit"

    def __init__(self, dataset: Dataset, folder: Path) -> None:
        self._dataset = dataset
        self._folder = folder
        self._heads = SettledHeads(dataset, folder, self._build)
        self._checked_models: set[str] = set()  # by model key
        # By the kind of head, which decides the form of the targets, and whether rows are weighted.
        self._feeds: dict[tuple[str, bool], Feed] = {}
        logging.getLogger("tensorflow").addFilter(_is_not_about_retracing)

    @property
    def tags(self) -> Mapping[str, str]:
        """The engine, the backend, its first device, and where the data is stored."""
        device = next(iter(keras.distribution.list_devices()), "unknown")
        backend = keras.backend.backend()
        tags = {reported_names.ENGINE: self.name, reported_names.BACKEND: backend, reported_names.DEVICE: str(device)}
        return {**tags, reported_names.DATA_PLACE: "on disk" if self._dataset.is_on_disk else "in memory"}

    def of_fold(self, dataset: Dataset) -> "FitEngine":
        """Return an engine for a fold: its heads are those of the whole data."""
        fold = copy.copy(self)
        fold._dataset, fold._feeds = dataset, {}
        return fold

    def start(self, recipe: Recipe, seeds: Seeds) -> FitState:
        """Build and compile a model with seeded weights and noise, and with decay and penalty on its kernels."""
        head = self._heads.read(recipe)  # first: settling builds other models, which draws random numbers
        model = self._build(recipe, seeds.weights)
        self._check_ids(recipe, model)
        seed_dropout(model, seeds.dropout)
        return self._compiled(recipe, head, model)

    def unfreeze(self, state: FitState) -> FitState:
        """Build the model of the second phase with the evaluated weights and random states, and compile it.

        Micro-batches stay as small as memory required.
        """
        recipe = state.recipe.fine_tuned
        with evaluated(state.model):
            values = [np.array(variable) for variable in state.model.variables]
        model = self._build(recipe, seed=0)
        for variable, value in zip(model.variables, values, strict=True):
            variable.assign(value)
        return self._compiled(recipe, state.head, model, state.cut)

    def _compiled(self, recipe: Recipe, head: Head, model: keras.Model, before: Cut | None = None) -> FitState:
        """Compile a model with its phase's optimizer; `before` is how the phase before split updates."""
        is_decaying = recipe.weight_decay.profile != "none"
        kernels = decayed_weights(model)
        penalty = None if recipe.penalty.kind == "none" else Penalty(kernels)
        measurements = Measurements(recipe.penalty, model, kernels, self._dataset)
        cut = before or chosen_cut(recipe, model, self._heads.rows.inputs)
        weights = row_weights(self._dataset, recipe.training)
        feed = self._feed(head, weights is not None)
        of_classes = class_factors(self._dataset, recipe.training)
        classes = None if of_classes is None else ClassFactors(of_classes)
        state = FitState(model, recipe, head, feed, is_decaying, penalty, cut, measurements, weights, classes)
        compile_model(state)
        return state

    def epochs_at_once(self, _state: FitState, _plan: EpochPlan) -> int:
        """Return 1: each epoch is a call of `fit`."""
        return 1

    def run_epochs(self, state: FitState, plans: Sequence[EpochPlan]) -> tuple[FitState, list[EpochOutput]]:
        """Run the first plan."""
        state, output = self.run_epoch(state, plans[0])
        return state, [output]

    def run_epoch(self, state: FitState, plan: EpochPlan) -> tuple[FitState, EpochOutput]:
        """Call `fit` for one epoch, and predict the validation split.

        If memory runs out, the epoch restarts with micro-batches of half the size, down to one example; later epochs
        keep that size. A new state is returned in that case.
        """
        started_at = time.perf_counter()
        self._write_penalty(state, plan)
        if not state.is_decaying and plan.shrinks.any():
            raise ValueError("the plan decays weights, but the recipe of the state has no weight decay")
        if (plan.momenta is not None) != hasattr(unscaled_optimizer(state.model.optimizer), "cycled"):
            raise ValueError("the plan and the recipe of the state differ in whether the momentum is cycled")
        made = count_updates(state.model.optimizer)
        state, micro, trained = train_epoch(state, plan)
        made = count_updates(state.model.optimizer) - made
        with phase(VALIDATION), evaluated(state.model), random_states_kept(state.model):
            outputs = predict(state.model, self._dataset.validation.inputs)
            measured = state.measurements.measure(predict, state.head, trained.before)
        scaled = loss_scale_statistics(state.model.optimizer, plan.updates, made)
        statistics = {**adapted_statistics(state, plan, micro), **measured, **scaled}
        seconds = time.perf_counter() - started_at
        return state, EpochOutput(trained.loss, outputs, state.head, seconds, statistics)

    def weights(self, state: FitState) -> list[np.ndarray]:
        """Return copies: Keras may return views of memory that the next update overwrites."""
        with evaluated(state.model):
            return [np.array(weight) for weight in state.model.get_weights()]

    def is_finite(self, state: FitState) -> bool:
        """Return True if all weights are finite."""
        return all(np.isfinite(weight).all() for weight in state.model.get_weights())

    def snapshot(self, state: FitState) -> EngineSnapshot:
        """Return copies of the variables of model and optimizer, and the maximum micro-batch size."""
        arrays = [np.array(variable) for variable in trained_variables(state)]
        return EngineSnapshot(arrays, {"cap": state.cut.cap if state.cut else 0, **state.recipe.phase_facts})

    def restore(self, state: FitState, snapshot: EngineSnapshot) -> FitState:
        """Assign the variables, and restore the micro-batch size if memory had run out."""
        if snapshot.facts.get(FINE_TUNING):
            state = self.unfreeze(state)
        cap = snapshot.facts["cap"]
        if cap and cap != (state.cut or Cut()).cap:
            state = capped(state, cap, [np.array(variable) for variable in trained_variables(state)])
        variables = trained_variables(state)
        refuse_other_shapes([variable.value for variable in variables], snapshot.arrays)
        for variable, value in zip(variables, snapshot.arrays, strict=True):
            variable.assign(value)
        return state

    def trial_tags(self, state: FitState) -> Mapping[str, str]:
        """Return whether XLA compiles the steps."""
        has_xla = compiles_with_xla(state.model)
        return {reported_names.XLA: "yes" if has_xla else "no: fit's steps are too few to pay for it"}

    def model(self, recipe: Recipe, weights: list[np.ndarray]) -> keras.Model:
        """Rebuild the recipe's model, without what training attached to it, and set its weights."""
        model = self._build(recipe.as_built, seed=0)
        model.set_weights(weights)
        return model

    def head(self, recipe: Recipe) -> Head:
        """Return what the outputs of the recipe's model are, and the loss for them."""
        return self._heads.read(recipe)

    def _build(self, recipe: Recipe, seed: int) -> keras.Model:
        return build_recipe_model(recipe, self._dataset, self._folder, seed)

    def _check_ids(self, recipe: Recipe, model: keras.Model) -> None:
        """Check the ids of the data once for each model."""
        key = model_key(recipe, source_digest(recipe.architecture, self._folder))
        if key not in self._checked_models:
            refuse_ids_outside_tables(model, self._dataset)
            self._checked_models.add(key)

    def _feed(self, head: Head, is_weighted: bool) -> Feed:
        key = head.kind, is_weighted
        if key not in self._feeds:
            train = self._dataset.train
            self._feeds[key] = make_feed(train.inputs, head.targets(train.targets), is_weighted)
        return self._feeds[key]

    def _write_penalty(self, state: FitState, plan: EpochPlan) -> None:
        if hasattr(unscaled_optimizer(state.model.optimizer), "proximal"):
            unscaled_optimizer(state.model.optimizer).proximal.assign(plan.proximal)
        elif plan.proximal:
            raise ValueError("the plan thresholds weights, but the recipe of the state does not")
        if state.penalty is None:
            if plan.l1 or plan.l2:
                raise ValueError("the plan penalizes weights, but the recipe of the state has no penalty")
        elif state.penalty.write(plan.l1, plan.l2) and keras.backend.backend() != "tensorflow":
            # Other backends trace the strengths as constants, and would silently keep the old ones.
            discard_train_function(state.model)


def _is_not_about_retracing(record: logging.LogRecord) -> bool:
    """Drop TensorFlow's warning that a new model per trial, from the fifth on, is a mistake."""
    return "triggered tf.function retracing" not in record.getMessage()
