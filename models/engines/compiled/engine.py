"""The engine that trains trials in compiled programs, on any backend."""

import copy
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np

from nightune.models.data.dataset import Dataset
from nightune.models.engines.compiled import epochs
from nightune.models.engines.compiled.arrays import State
from nightune.models.engines.compiled.compiled_program import Backend, CompiledProgram
from nightune.models.engines.compiled.programs import CACHED_PROGRAMS, Programs
from nightune.models.engines.keras_parts.recipe_models import build_recipe_model
from nightune.models.engines.memory import is_out_of_memory, warn_of_smaller_micro_batches
from nightune.models.engines.refusals import refusals_of
from nightune.models.networks.architectures import reads_training_inputs
from nightune.models.networks.coupling import is_separable
from nightune.models.networks.heads import Head
from nightune.models.recipe.recipe import FINE_TUNING, Recipe
from nightune.models.training import reported_names
from nightune.models.training.capabilities import refuse_only_in_fit
from nightune.models.training.engine import Compilation, EpochOutput
from nightune.models.training.plan import EpochPlan
from nightune.models.training.seeds import Seeds
from nightune.models.training.snapshots import EngineSnapshot, refuse_other_shapes

COUPLED = "batch_size.micro_size: the model is not known to be separable"
MAXIMUM_PLAN_BYTES = 2**26  # of example orders, on the host


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
    """Trains trials in compiled programs, which many recipes share."""

    def __init__(
        self,
        dataset: Dataset,
        folder: Path,
        backend: Backend,
        cached_programs: int = CACHED_PROGRAMS,
        *,
        rules: frozenset[str] | None = None,
    ) -> None:
        self._dataset, self._folder, self._backend = dataset, folder, backend
        self._programs = Programs(dataset, folder, backend, cached_programs, rules)
        self._heads = self._programs.heads

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
    def accumulates_blocks(self) -> bool:
        """True if batches of all sizes are added up from blocks, and share one function instead of one for each."""
        return bool(getattr(self._backend, "accumulates_blocks", False))

    @property
    def rules(self) -> frozenset[str] | None:
        """The rules that programs hold beside each other; None for all."""
        return self._programs.rules

    @property
    def compilation(self) -> Compilation:
        """The functions of all programs so far, and the seconds of their first calls."""
        return self._programs.compilation

    def program_count(self, recipes: Sequence[Recipe]) -> int:
        """Return the number of programs that would train these recipes, without those whose models cannot be built."""
        return self._programs.count(recipes)

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
                reasons.append(COUPLED)
        return reasons

    def of_fold(self, dataset: Dataset) -> "CompiledEngine":
        """Return an engine for a fold: programs are those of the whole, whose arrays have room for every fold."""
        fold = copy.copy(self)
        fold._dataset, fold._programs = dataset, self._programs.of_fold(dataset)
        return fold

    def start(self, recipe: Recipe, seeds: Seeds) -> CompiledState:
        """Create the trial's initial weights, slots and random streams on the device."""
        refuse_only_in_fit(recipe)
        compiled = self._programs.of(recipe)
        if recipe.batch_size.micro_size and not compiled.program.is_separable:
            raise ValueError(f"{COUPLED} (run the study with --engine fit)")
        arrays = compiled.put(compiled.program.start(recipe, seeds))
        return CompiledState(compiled, arrays, recipe, seeds, cap=recipe.batch_size.micro_size)

    def unfreeze(self, state: CompiledState) -> CompiledState:
        """Continue with the program of the second phase; its first state is the checkpoint."""
        recipe = state.recipe.fine_tuned
        compiled = self._programs.of(recipe)
        checkpoint = compiled.program.begin(state.executable.program.variables(state.arrays), recipe)
        return CompiledState(compiled, compiled.put(checkpoint), recipe, state.seeds, checkpoint, cap=state.cap)

    def has_program(self, recipe: Recipe) -> bool:
        """Return whether the recipe's program exists already."""
        return self._programs.has(recipe)

    def would_compile(self, recipe: Recipe, plan: EpochPlan) -> bool:
        """Return whether `compile_ahead` would begin something: a program, or a function of one, for such plans."""
        return not self._programs.has(recipe) or epochs.would_compile(self._programs.of(recipe), plan)

    def compile_ahead(self, recipe: Recipe, plan: EpochPlan) -> None:
        """Trace a recipe's program now, and compile it beside what follows; errors are left to its training."""
        with suppress(Exception):  # a user's model may raise anything
            compiled = self._programs.of(recipe)
            arrays = compiled.put(compiled.program.start(recipe, Seeds.from_trial(0)))
            epochs.compile_ahead(compiled, arrays, recipe, plan)

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
        return EngineSnapshot(arrays, {"cap": state.cap, **state.recipe.phase_facts})

    def restore(self, state: CompiledState, snapshot: EngineSnapshot) -> CompiledState:
        """Copy the snapshot's arrays to the device; they become the checkpoint of the state."""
        if snapshot.facts.get(FINE_TUNING):
            state = self.unfreeze(state)
        refuse_other_shapes([array for group in state.arrays for array in group], snapshot.arrays)
        arrays = iter(snapshot.arrays)
        checkpoint = State(*([next(arrays) for _ in group] for group in state.arrays))
        return replace(state, arrays=state.executable.put(checkpoint), checkpoint=checkpoint, cap=snapshot.facts["cap"])

    def trial_tags(self, state: CompiledState) -> Mapping[str, str]:
        """Return tags on how the trial's program is computed."""
        return state.executable.tags(state.recipe)

    def model(self, recipe: Recipe, weights: list[np.ndarray]) -> keras.Model:
        """Build the recipe's model again, without the changes that the program made to it, and set its weights."""
        model = self._build(recipe.as_built, 0)
        model.set_weights(weights)
        return model

    def head(self, recipe: Recipe) -> Head:
        """Return what the outputs of the recipe's model are, and the loss for them."""
        return self._heads.read(recipe)

    def shares_program(self, one: Recipe, other: Recipe) -> bool:
        """Return whether two recipes whose parameters of the model differ are trained by one program."""
        return self._programs.is_shared_by(one, other)

    def _rolled_back(self, state: CompiledState, cap: int) -> CompiledState:
        """Return the state at its checkpoint, with another maximum block size."""
        if state.checkpoint is None:
            return replace(self.start(state.recipe, state.seeds), cap=cap)
        return replace(state, arrays=state.executable.put(state.checkpoint), plans=(), cap=cap)

    def _build(self, recipe: Recipe, seed: int) -> keras.Model:
        return build_recipe_model(recipe, self._dataset, self._folder, seed)


def _advanced(state: CompiledState, arrays: State, executed: Sequence[EpochPlan]) -> CompiledState:
    """Return the state after executed plans: recorded, or replaced by a checkpoint once they take too much memory."""
    plans = (*state.plans, *executed)
    if sum(each.order.nbytes for each in plans) <= MAXIMUM_PLAN_BYTES:
        return replace(state, arrays=arrays, plans=plans)
    checkpoint = State(*([np.array(array) for array in group] for group in arrays))
    return replace(state, arrays=arrays, plans=(), checkpoint=checkpoint)
