"""The engine of compiled programs, for any backend: it keeps one for each graph key, and trains trials in them."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import keras
import numpy as np
from cachetools import LRUCache

from nightune.models.data.dataset import Dataset
from nightune.models.engines.compiled import epochs
from nightune.models.engines.compiled.arrays import Data, State
from nightune.models.engines.compiled.compiled_program import CompiledProgram
from nightune.models.engines.compiled.initial_weights import InitialWeights
from nightune.models.engines.compiled.program import Program
from nightune.models.engines.keras_parts.mixed_precision import computing_in
from nightune.models.engines.keras_parts.model_traits import is_separable
from nightune.models.engines.memory import is_out_of_memory, warn_of_smaller_micro_batches
from nightune.models.engines.refusals import refusals_of
from nightune.models.networks.architectures import build_model
from nightune.models.networks.embedding_ids import refuse_ids_outside_tables
from nightune.models.networks.heads import read_head
from nightune.models.recipe.recipe import Recipe
from nightune.models.training import reported_names
from nightune.models.training.capabilities import refuse_only_in_fit
from nightune.models.training.engine import EpochOutput
from nightune.models.training.graph_key import graph_key
from nightune.models.training.plan import EpochPlan
from nightune.models.training.seeds import Seeds
from nightune.models.training.snapshots import EngineSnapshot, refuse_other_shapes
from nightune.models.user_code import source_digest

KEPT_PROGRAMS = 32  # the least recently used one goes; each holds a model, its slots and its compiled functions
KEPT_PLAN_BYTES = 2**26  # of orders, on the host


class Backend(Protocol):
    """What the engine asks of a backend."""

    name: str
    is_shape_bound: bool  # each size of a batch that cannot be filled up is compiled anew

    @property
    def device(self) -> str:
        """The device that it computes on, in words."""

    def put_data(self, data: Data) -> Data:
        """Return the data on the device."""

    def compile(self, program: Program, data: Data) -> CompiledProgram:
        """Return the program's functions with their data; each may be compiled when it is first called."""

    def with_noise_of_fit(self) -> "Backend":
        """Return a backend that computes the same programs, however slowly, with the dropout that `fit` draws."""


@dataclass(frozen=True, eq=False)
class CompiledState:
    """One trial: its program, and the arrays that a run epoch uses up.

    A program that runs out of memory has used them up, too. So the plans are kept, to be run again in smaller blocks
    from the trial's start, or from where they became many.
    """

    executable: CompiledProgram
    arrays: State
    recipe: Recipe
    seeds: Seeds
    kept: State | None = None  # on the host, before the plans; None = the trial's start
    plans: tuple[EpochPlan, ...] = ()
    cap: int = 0  # examples computed at a time; 0 = as the program likes


class CompiledEngine:
    """Trains with one compiled program for each graph key."""

    def __init__(self, dataset: Dataset, folder: Path, backend: Backend, kept_programs: int = KEPT_PROGRAMS) -> None:
        self._dataset, self._folder, self._backend = dataset, folder, backend
        self._programs: LRUCache[tuple[str, str], CompiledProgram] = LRUCache(kept_programs)
        self._data: dict[str, Data] = {}  # by what the head makes of the targets

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
        """How many programs are kept."""
        return len(self._programs)

    def refusals(self, recipe: Recipe) -> list[str]:
        """Say what of a recipe these programs cannot express; it is for `fit` then. Empty where all is well."""
        model = self._build(recipe, 0)
        reasons = refusals_of(model, recipe, self._dataset)
        if not is_separable(model):
            if self._backend.is_shape_bound and recipe.batch_size.policy == "random":
                reasons.append(
                    "batch_size.policy random: each size of a model that is not known to be separable compiles"
                )
            if recipe.batch_size.micro_size:
                reasons.append("batch_size.micro_size: the model is not known to be separable")
        return reasons

    def start(self, recipe: Recipe, seeds: Seeds) -> CompiledState:
        """Put the trial's initial weights, empty slots and random streams on the device."""
        refuse_only_in_fit(recipe)
        compiled = self._compiled(recipe)
        arrays = compiled.put(compiled.program.start(recipe, seeds))
        return CompiledState(compiled, arrays, recipe, seeds, cap=recipe.batch_size.micro_size)

    def run_epoch(self, state: CompiledState, plan: EpochPlan) -> tuple[CompiledState, EpochOutput]:
        """Run the program on one plan. The state given must not be used again.

        Out of memory, a separable model's epochs start over in blocks of half as many examples, down to one, and later
        epochs go on so.
        """
        started_at = time.perf_counter()
        todo = [plan]
        while todo:
            try:
                arrays, loss, outputs = epochs.run_epoch(
                    state.executable, state.arrays, state.recipe, todo[0], state.cap
                )
            except Exception as error:
                block = epochs.block(state.executable, todo[0], state.cap)
                if block == 1 or not state.executable.program.is_separable or not is_out_of_memory(error):
                    raise
            else:
                state = _gone_on(state, arrays, (todo.pop(0),))
                continue
            # Outside the handler, whose traceback would keep alive what did not fit.
            warn_of_smaller_micro_batches(plan.epoch, block, block // 2)
            todo = [*state.plans, *todo]
            state = self._back(state, block // 2)
        statistics = epochs.statistics(state.executable, state.arrays, plan, state.cap)
        seconds = time.perf_counter() - started_at
        return state, EpochOutput(loss, outputs, state.executable.program.head.is_logits, seconds, statistics)

    def epochs_at_once(self, state: CompiledState, plan: EpochPlan) -> int:
        """How many epochs are computed in one call of about a second."""
        return 1 if state.cap else epochs.epochs_at_once(state.executable, state.arrays, plan)

    def run_epochs(self, state: CompiledState, plans: Sequence[EpochPlan]) -> tuple[CompiledState, list[EpochOutput]]:
        """Run the program on the first plans that have one layout, in one call; out of memory, on each alone."""
        started_at, compiled = time.perf_counter(), state.executable
        some = epochs.alike(compiled, plans)
        if len(some) == 1:
            state, output = self.run_epoch(state, some[0])
            return state, [output]
        try:
            arrays, computed = epochs.run_epochs(compiled, state.arrays, state.recipe, some)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        else:
            seconds = (time.perf_counter() - started_at) / len(some)
            outputs = [
                EpochOutput(loss, values, compiled.program.head.is_logits, seconds, weights=weights)
                for loss, values, weights in computed
            ]
            return _gone_on(state, arrays, some), outputs
        # Outside the handler, whose traceback would keep alive what did not fit.
        outputs, todo, state = [], [*state.plans, *some], self._back(state, state.cap)
        for plan in todo:
            state, output = self.run_epoch(state, plan)
            outputs.append(replace(output, weights=self.weights(state)))
        return state, outputs[-len(some) :]

    def _back(self, state: CompiledState, cap: int) -> CompiledState:
        """The state before the plans that it has kept, to go on in blocks of at most so many examples."""
        if state.kept is None:
            return replace(self.start(state.recipe, state.seeds), cap=cap)
        return replace(state, arrays=state.executable.put(state.kept), plans=(), cap=cap)

    def weights(self, state: CompiledState) -> list[np.ndarray]:
        """Return copies of all weights, in the model's order."""
        return [np.array(weight) for weight in state.executable.program.weights(state.arrays)]

    def is_finite(self, state: CompiledState) -> bool:
        """Say whether all weights are finite."""
        weights = (*state.arrays.trainable, *state.arrays.rest)
        return all(np.isfinite(np.asarray(array)).all() for array in weights)

    def snapshot(self, state: CompiledState) -> EngineSnapshot:
        """Return copies of the weights, the other variables and the slots, and the cap of the blocks."""
        arrays = [np.array(array) for group in state.arrays for array in group]
        return EngineSnapshot(arrays, {"cap": state.cap})

    def restore(self, state: CompiledState, snapshot: EngineSnapshot) -> CompiledState:
        """Put the arrays back on the device; there are no plans to run again before them."""
        refuse_other_shapes([array for group in state.arrays for array in group], snapshot.arrays)
        arrays = iter(snapshot.arrays)
        kept = State(*([next(arrays) for _ in group] for group in state.arrays))
        return replace(state, arrays=state.executable.put(kept), kept=kept, cap=snapshot.facts["cap"])

    def trial_tags(self, state: CompiledState) -> Mapping[str, str]:
        """Say how the trial's program is computed."""
        return state.executable.tags(state.recipe)

    def with_noise_of_fit(self) -> "CompiledEngine":
        """Return an engine of the same programs, however slow, that draws the dropout that `fit` draws."""
        return CompiledEngine(self._dataset, self._folder, self._backend.with_noise_of_fit())

    def model(self, recipe: Recipe, weights: list[np.ndarray]) -> keras.Model:
        """Build the recipe's model again, free of what the program put into it, and give it the weights."""
        model = self._build(recipe, 0)
        model.set_weights(weights)
        return model

    def _build(self, recipe: Recipe, seed: int) -> keras.Model:
        keras.backend.clear_session(free_memory=False)  # layers are numbered from the start again
        shape, size = self._dataset.input_shape, self._dataset.output_size
        with computing_in(recipe.precision):
            return build_model(recipe.architecture, recipe.model, shape, size, folder=self._folder, seed=seed)

    def _compiled(self, recipe: Recipe) -> CompiledProgram:
        """The program of the recipe's graph key and of Keras' present policy, compiled if there is none."""
        code = source_digest(recipe.architecture, self._folder)
        key = (keras.config.dtype_policy().name, graph_key(recipe, code))
        if key not in self._programs:
            self._programs[key] = self._compile(recipe)
        return self._programs[key]

    def _compile(self, recipe: Recipe) -> CompiledProgram:
        initial = InitialWeights(partial(self._build, recipe))
        model = self._build(recipe, 0)
        refuse_ids_outside_tables(model, self._dataset)
        train, validation = self._dataset.train, self._dataset.validation
        head = read_head(model, self._dataset.task, self._dataset.output_size, train.inputs[:8])
        if head.kind not in self._data:
            data = Data(train.inputs, head.targets(train.targets), validation.inputs)
            self._data[head.kind] = self._backend.put_data(data)
        return self._backend.compile(Program(model, head, recipe, initial), self._data[head.kind])


def _gone_on(state: CompiledState, arrays: State, carried_out: Sequence[EpochPlan]) -> CompiledState:
    """The state after plans, with them kept; once they are many, the arrays are kept in their place."""
    plans = (*state.plans, *carried_out)
    if sum(each.order.nbytes for each in plans) <= KEPT_PLAN_BYTES:
        return replace(state, arrays=arrays, plans=plans)
    kept = State(*([np.array(array) for array in group] for group in arrays))
    return replace(state, arrays=arrays, plans=(), kept=kept)
