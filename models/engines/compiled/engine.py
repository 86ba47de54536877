"""The engine that trains trials in compiled programs, one for each graph key, on any backend."""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import keras
import numpy as np
from cachetools import LRUCache

from nightune.models.data.dataset import Dataset
from nightune.models.engines.compiled import epochs
from nightune.models.engines.compiled.alike_models import AlikeModels
from nightune.models.engines.compiled.arrays import Data, State, padded_rows
from nightune.models.engines.compiled.compiled_program import CompiledProgram
from nightune.models.engines.compiled.first_calls import FirstCalls
from nightune.models.engines.compiled.initial_weights import InitialWeights
from nightune.models.engines.compiled.program import Form, Program
from nightune.models.engines.keras_parts.recipe_models import build_recipe_model
from nightune.models.engines.memory import is_out_of_memory, warn_of_smaller_micro_batches
from nightune.models.engines.refusals import refusals_of
from nightune.models.networks.architectures import reads_training_inputs
from nightune.models.networks.coupling import is_separable, predicts_rows_apart
from nightune.models.networks.embedding_ids import refuse_ids_outside_tables
from nightune.models.networks.heads import Head
from nightune.models.recipe.recipe import Recipe
from nightune.models.serving.input_trees import map_arrays
from nightune.models.training import reported_names
from nightune.models.training.capabilities import refuse_only_in_fit
from nightune.models.training.engine import Compilation, EpochOutput
from nightune.models.training.graph_key import graph_key, program_key
from nightune.models.training.model_key import code_of
from nightune.models.training.plan import EpochPlan
from nightune.models.training.row_weights import ClassWeights
from nightune.models.training.seeds import Seeds
from nightune.models.training.settled_heads import SettledHeads
from nightune.models.training.snapshots import EngineSnapshot, refuse_other_shapes

CACHED_PROGRAMS = 32  # least recently used first out; each holds a model, its slots and its compiled functions
MAXIMUM_PLAN_BYTES = 2**26  # of example orders, on the host


class Backend(Protocol):
    """The operations that the engine requires of a backend."""

    name: str
    is_shape_bound: bool  # without padding, each batch size requires its own compilation

    @property
    def device(self) -> str:
        """A description of the device that computes."""

    def put_data(self, data: Data) -> Data:
        """Copy the data to the device."""

    def compile(self, program: Program, data: Data) -> CompiledProgram:
        """Return the program's functions with their data; a function may be compiled at its first call."""


@dataclass(frozen=True, eq=False)
class CompiledState:
    """The state of one trial: its program, and the arrays, which each epoch donates to the device.

    A program that runs out of memory has donated them as well. Therefore the state records the plans executed since
    its checkpoint, to repeat them in smaller blocks.
    """

    executable: CompiledProgram
    arrays: State
    recipe: Recipe
    seeds: Seeds
    checkpoint: State | None = None  # on the host, before the plans; None: the start of the trial
    plans: tuple[EpochPlan, ...] = ()
    cap: int = 0  # maximum block size in examples; 0: the program decides


class CompiledEngine:
    """Trains trials of one graph key in one compiled program."""

    def __init__(
        self,
        dataset: Dataset,
        folder: Path,
        backend: Backend,
        cached_programs: int = CACHED_PROGRAMS,
        *,
        shares_rules: bool = True,
    ) -> None:
        self.shares_rules = shares_rules
        self._dataset, self._folder, self._backend = dataset, folder, backend
        self._heads = SettledHeads(dataset, folder, self._build)
        self._alike = AlikeModels(self._build, folder)
        self._programs: LRUCache[tuple[str, str], CompiledProgram] = LRUCache(cached_programs)
        self._first_calls: list[FirstCalls] = []  # of all programs, also those that are no longer cached
        # By kind of head, which determines the form of the targets, and whether validation rows are padded.
        self._data: dict[tuple[str, bool], Data] = {}
        # Of the engine whose programs a fold shares, and whose data set has all folds.
        self._compile_whole: Callable[[Recipe], CompiledProgram] | None = None
        self._whole = dataset

    @property
    def name(self) -> str:
        """The backend's name."""
        return self._backend.name

    @property
    def tags(self) -> Mapping[str, str]:
        """The engine, the backend, and the device that it computes on."""
        name, device = self._backend.name, self._backend.device
        tags = {reported_names.ENGINE: name, reported_names.BACKEND: name, reported_names.DEVICE: device}
        return {**tags, reported_names.DATA_PLACE: "on the device"}

    @property
    def programs(self) -> int:
        """The number of cached programs."""
        return len(self._programs)

    @property
    def compilation(self) -> Compilation:
        """The functions of all programs so far, and the seconds of their first calls."""
        calls = self._first_calls
        return Compilation(sum(each.functions for each in calls), sum(each.seconds for each in calls))

    def program_count(self, recipes: Sequence[Recipe]) -> int:
        """Return the number of programs that would train these recipes, without those whose models cannot be built."""
        keys = set()
        for recipe in recipes:
            with suppress(Exception):  # a user's model may raise anything; its trials will report it
                keys.add(self._keys(self._alike.leader(recipe))[0])
        return len(keys)

    def refusals(self, recipe: Recipe) -> list[str]:
        """Return the reasons why a recipe requires the engine `fit`; empty if a program can train it."""
        model = self._build(recipe, 0)
        reasons = refusals_of(model, recipe, self._dataset)
        if self._dataset.folds and reads_training_inputs(recipe.architecture, self._folder):
            reasons.append(f"{recipe.architecture} reads training_inputs, and each fold has its own")
        if not is_separable(model, self._heads.rows.inputs):
            if self._backend.is_shape_bound and recipe.batch_size.policy == "random":
                reasons.append(
                    "batch_size.policy random: each size of a model that is not known to be separable compiles"
                )
            if recipe.batch_size.micro_size:
                reasons.append("batch_size.micro_size: the model is not known to be separable")
        return reasons

    def of_fold(self, dataset: Dataset) -> "CompiledEngine":
        """Return an engine for a fold: programs are those of the whole, whose arrays have room for every fold."""
        fold = copy.copy(self)
        fold._dataset, fold._data, fold._compile_whole = dataset, {}, self._compiled
        fold._programs = LRUCache(self._programs.maxsize)
        return fold

    def start(self, recipe: Recipe, seeds: Seeds) -> CompiledState:
        """Create the trial's initial weights, slots and random streams on the device."""
        refuse_only_in_fit(recipe)
        compiled = self._compiled(recipe)
        arrays = compiled.put(compiled.program.start(recipe, seeds))
        return CompiledState(compiled, arrays, recipe, seeds, cap=recipe.batch_size.micro_size)

    def run_epoch(self, state: CompiledState, plan: EpochPlan) -> tuple[CompiledState, EpochOutput]:
        """Execute one plan. Do not use the given state again.

        If memory runs out, roll a separable model back to its checkpoint and repeat its plans in blocks of half the
        size, down to one example; later epochs keep that size.
        """
        started_at = time.perf_counter()
        pending = [plan]
        while pending:
            try:
                arrays, loss, outputs = epochs.run_epoch(
                    state.executable, state.arrays, state.recipe, pending[0], state.cap
                )
            except Exception as error:
                block = epochs.block_size(state.executable, pending[0], state.cap)
                if block == 1 or not state.executable.program.is_separable or not is_out_of_memory(error):
                    raise
            else:
                state = _advanced(state, arrays, (pending.pop(0),))
                continue
            # Outside the handler, whose traceback would keep the arrays of the failed call alive.
            warn_of_smaller_micro_batches(plan.epoch, block, block // 2)
            pending = [*state.plans, *pending]
            state = self._rolled_back(state, block // 2)
        statistics = epochs.statistics(state.executable, state.arrays, plan, state.cap)
        seconds = time.perf_counter() - started_at
        return state, EpochOutput(loss, outputs, state.executable.program.head, seconds, statistics)

    def epochs_at_once(self, state: CompiledState, plan: EpochPlan) -> int:
        """Return how many epochs one call of about a second computes."""
        return 1 if state.cap else epochs.epochs_at_once(state.executable, state.arrays, plan)

    def run_epochs(self, state: CompiledState, plans: Sequence[EpochPlan]) -> tuple[CompiledState, list[EpochOutput]]:
        """Execute the first plans that share one layout in one call, or one by one if memory runs out."""
        started_at, compiled = time.perf_counter(), state.executable
        batched = epochs.same_layout_prefix(compiled, plans)
        if len(batched) == 1:
            state, output = self.run_epoch(state, batched[0])
            return state, [output]
        try:
            arrays, computed = epochs.run_epochs(compiled, state.arrays, state.recipe, batched)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        else:
            seconds = (time.perf_counter() - started_at) / len(batched)
            outputs = [
                EpochOutput(loss, values, compiled.program.head, seconds, weights=weights)
                for loss, values, weights in computed
            ]
            return _advanced(state, arrays, batched), outputs
        # Outside the handler, whose traceback would keep the arrays of the failed call alive.
        outputs, pending, state = [], [*state.plans, *batched], self._rolled_back(state, state.cap)
        for plan in pending:
            state, output = self.run_epoch(state, plan)
            outputs.append(replace(output, weights=self.weights(state)))
        return state, outputs[-len(batched) :]

    def weights(self, state: CompiledState) -> list[np.ndarray]:
        """Return copies of all weights, in the model's order."""
        return state.executable.program.copied_weights(state.arrays)

    def is_finite(self, state: CompiledState) -> bool:
        """Return whether all weights are finite."""
        weights = (*state.arrays.trainable, *state.arrays.non_trainable)
        return all(np.isfinite(np.asarray(array)).all() for array in weights)

    def snapshot(self, state: CompiledState) -> EngineSnapshot:
        """Return copies of the weights, the other variables and the slots, and the maximum block size."""
        arrays = [np.array(array) for group in state.arrays for array in group]
        return EngineSnapshot(arrays, {"cap": state.cap})

    def restore(self, state: CompiledState, snapshot: EngineSnapshot) -> CompiledState:
        """Copy the snapshot's arrays to the device; they become the checkpoint of the state."""
        refuse_other_shapes([array for group in state.arrays for array in group], snapshot.arrays)
        arrays = iter(snapshot.arrays)
        checkpoint = State(*([next(arrays) for _ in group] for group in state.arrays))
        return replace(state, arrays=state.executable.put(checkpoint), checkpoint=checkpoint, cap=snapshot.facts["cap"])

    def trial_tags(self, state: CompiledState) -> Mapping[str, str]:
        """Return tags on how the trial's program is computed."""
        return state.executable.tags(state.recipe)

    def model(self, recipe: Recipe, weights: list[np.ndarray]) -> keras.Model:
        """Build the recipe's model again, without the changes that the program made to it, and set its weights."""
        model = self._build(recipe, 0)
        model.set_weights(weights)
        return model

    def head(self, recipe: Recipe) -> Head:
        """Return what the outputs of the recipe's model are, and the loss for them."""
        return self._heads.read(recipe)

    def shares_program(self, one: Recipe, other: Recipe) -> bool:
        """Return whether two recipes whose parameters of the model differ are trained by one program."""
        return self._alike.leader(one).model == self._alike.leader(other).model

    def _rolled_back(self, state: CompiledState, cap: int) -> CompiledState:
        """Return the state at its checkpoint, with another maximum block size."""
        if state.checkpoint is None:
            return replace(self.start(state.recipe, state.seeds), cap=cap)
        return replace(state, arrays=state.executable.put(state.checkpoint), plans=(), cap=cap)

    def _build(self, recipe: Recipe, seed: int) -> keras.Model:
        return build_recipe_model(recipe, self._dataset, self._folder, seed)

    def _compiled(self, recipe: Recipe) -> CompiledProgram:
        """Return the cached program of the recipe's key and of Keras' current dtype policy, or compile it."""
        recipe = self._alike.leader(recipe)
        shared, own = self._keys(recipe)
        if compiled := self._programs.get(shared) or self._programs.get(own):
            return compiled
        compiled = self._compile(recipe)
        self._programs[shared if compiled.program.has_shared_rules else own] = compiled
        return compiled

    def _keys(self, recipe: Recipe) -> tuple[tuple[str, str], tuple[str, str]]:
        """Return the keys of a program that several rules share, and of one of its own, with Keras' dtype policy."""
        policy, code = keras.config.dtype_policy().name, code_of(recipe, self._folder)
        shared = program_key(recipe, code) if self.shares_rules else graph_key(recipe, code)
        return (policy, shared), (policy, graph_key(recipe, code))

    def _compile(self, recipe: Recipe) -> CompiledProgram:
        if self._compile_whole is not None:
            compiled = self._compile_whole(recipe)
            program = compiled.program.with_classes(ClassWeights(self._dataset))
            return compiled.with_data(program, self._put_data(program))
        initial = InitialWeights(partial(self._build, recipe))
        model = self._build(recipe, 0)
        refuse_ids_outside_tables(model, self._dataset)
        head, rows = self._heads.read(recipe, model), self._heads.rows.inputs
        has_folds, rates = bool(self._dataset.folds), self._alike.rates
        is_apart = has_folds and predicts_rows_apart(model, rows)
        form = Form(is_separable(model, rows), is_apart, rates, self.shares_rules)
        program = Program(model, head, recipe, initial, ClassWeights(self._dataset), form)
        compiled = self._backend.compile(program, self._put_data(program))
        self._first_calls.append(compiled.first_calls)
        return compiled

    def _put_data(self, program: Program) -> Data:
        """Return the data on the device, with the shapes of the whole's folds, so that these share programs.

        Validation rows stay as they are where padding may change the outputs of the others.
        """
        head, train, validation, whole = program.head, self._dataset.train, self._dataset.validation, self._whole
        is_padded = program.predicts_rows_apart
        if (head.kind, is_padded) not in self._data:
            held_out = max(len(fold.validation) for fold in whole.folds) if is_padded else len(validation)
            inputs = map_arrays(lambda array: padded_rows(array, len(whole.train)), train.inputs)
            targets = padded_rows(train.targets, len(whole.train))
            held = map_arrays(lambda array: padded_rows(array, held_out), validation.inputs)
            weights = None if train.weights is None else padded_rows(train.weights, len(whole.train))
            data = Data(inputs, head.targets(targets), held, weights)
            self._data[head.kind, is_padded] = self._backend.put_data(data)
        return self._data[head.kind, is_padded]


def _advanced(state: CompiledState, arrays: State, executed: Sequence[EpochPlan]) -> CompiledState:
    """Return the state after executed plans: recorded, or replaced by a checkpoint once they take too much memory."""
    plans = (*state.plans, *executed)
    if sum(each.order.nbytes for each in plans) <= MAXIMUM_PLAN_BYTES:
        return replace(state, arrays=arrays, plans=plans)
    checkpoint = State(*([np.array(array) for array in group] for group in arrays))
    return replace(state, arrays=arrays, plans=(), checkpoint=checkpoint)
