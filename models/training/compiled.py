"""The engine of compiled programs, for any backend: what the backend compiles is behind `Functions`."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from models.architectures import build_model
from models.examples import Dataset
from models.outputs import read_head
from models.recipe import Recipe
from models.training.blocks import Part, capped_parts, largest_block, padded_order
from models.training.capabilities import refuse_only_in_fit
from models.training.engine import EpochOutput
from models.training.engine_fit import PREDICTION_BYTES
from models.training.initial_weights import InitialWeights
from models.training.memory import MICRO_BATCH_SIZE, is_out_of_memory, warn_of_smaller_micro_batches
from models.training.plan import EpochPlan
from models.training.precision import computing_in
from models.training.programs import KEPT_PROGRAMS, Program, ProgramCache, graph_key, is_separable
from models.training.refusals import refusals_of
from models.training.seeds import Seeds, seed_dropout
from models.training.snapshots import EngineSnapshot, refuse_other_shapes

FIRST_CALL_UPDATES = 256
CALL_SECONDS = 1.0
KEPT_PLAN_BYTES = 2**26  # of orders, on the host

State = tuple[list[Any], list[Any], list[Any]]  # trainable weights, other variables, slots
Data = tuple[Any, Any, Any]  # training inputs and targets, validation inputs


class Functions(Protocol):
    """A program compiled by a backend. States may be used up: only the state returned is good afterwards."""

    def tags(self, recipe: Recipe) -> Mapping[str, str]:
        """Say how the recipe's trials are computed."""

    def put(self, arrays: State) -> State:
        """Return copies on the device."""

    def parts(self, plan: EpochPlan) -> tuple[Part, ...]:
        """Lay out a plan."""

    def train(
        self, state: State, numbers: np.ndarray, order: Any, part: Part, call: "Call"
    ) -> tuple[State, Any, Any | None]:
        """Make some of a part's updates; return the sum of the part's losses so far, and after the last the outputs."""


@dataclass(frozen=True)
class Call:
    """From which update of a part to which one call goes; the epoch's last one validates, too."""

    start: int
    end: int
    is_last: bool
    loss: Any  # float32, the sum of the losses of the part's examples before


class Backend(Protocol):
    """What the engine asks of a backend."""

    name: str
    is_shape_bound: bool  # each size of a batch that cannot be filled up is compiled anew

    @property
    def device(self) -> str:
        """The device that it computes on, in words."""

    def put_data(self, data: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Data:
        """Return the data on the device."""

    def compile(self, program: Program, data: Data) -> Functions:
        """Return the program's functions; they may be compiled when they are first called."""

    def with_noise_of_fit(self) -> "Backend":
        """Return a backend that computes the same programs, however slowly, with the dropout that `fit` draws."""


@dataclass(frozen=True, eq=False)
class CompiledState:
    """One trial: its program, and the arrays that a run epoch uses up.

    A program that runs out of memory has used them up, too. So the plans are kept, to be run again in smaller blocks
    from the trial's start, or from where they became many.
    """

    program: "CompiledProgram"
    arrays: State
    recipe: Recipe
    seeds: Seeds
    kept: State | None = None  # on the host, before the plans; None = the trial's start
    plans: tuple[EpochPlan, ...] = ()
    cap: int = 0  # examples computed at a time; 0 = as the program likes


class CompiledEngine:
    """Trains with one compiled program for each shape of graph."""

    def __init__(self, dataset: Dataset, folder: Path, backend: Backend, kept_programs: int = KEPT_PROGRAMS) -> None:
        self._dataset, self._folder, self._backend = dataset, folder, backend
        self._programs: ProgramCache[CompiledProgram] = ProgramCache(kept_programs)
        self._data: dict[str, Data] = {}  # by what the head makes of the targets

    @property
    def name(self) -> str:
        """The backend's name."""
        return self._backend.name

    @property
    def tags(self) -> Mapping[str, str]:
        """The engine, the backend, and the device that it computes on."""
        name, device = self._backend.name, self._backend.device
        tags = {"nightune.engine": name, "nightune.backend": name, "nightune.device": device}
        return {**tags, "nightune.data": "on the device"}

    @property
    def programs(self) -> int:
        """How many programs are kept."""
        return len(self._programs)

    def refusals(self, recipe: Recipe) -> list[str]:
        """Say what of a recipe these programs cannot express; it is for `fit` then. Empty where all is well."""
        model = self._build(recipe, 0)
        reasons = refusals_of(model, recipe, self._dataset)
        if not is_separable(model) and self._backend.is_shape_bound and recipe.batch_size.policy == "random":
            reasons.append("batch_size.policy random: each size of a model that is not known to be separable compiles")
        return reasons

    def start(self, recipe: Recipe, seeds: Seeds) -> CompiledState:
        """Put the trial's initial weights, empty slots and random streams on the device."""
        refuse_only_in_fit(recipe)
        program = self._programs.get(graph_key(recipe, self._folder), partial(self._make_program, recipe))
        return CompiledState(program, program.start(recipe, seeds), recipe, seeds)

    def run_epoch(self, state: CompiledState, plan: EpochPlan) -> tuple[CompiledState, EpochOutput]:
        """Run the program on one plan. The state given must not be used again.

        Out of memory, a separable model's epochs start over in blocks of half as many examples, down to one, and later
        epochs go on so.
        """
        started_at = time.perf_counter()
        todo = [plan]
        while todo:
            try:
                arrays, loss, outputs = state.program.run(state.arrays, state.recipe, todo[0], state.cap)
            except Exception as error:
                block = state.program.block(todo[0], state.cap)
                if block == 1 or not state.program.is_separable or not is_out_of_memory(error):
                    raise
            else:
                state = _gone_on(state, arrays, todo.pop(0))
                continue
            # Outside the handler, whose traceback would keep alive what did not fit.
            warn_of_smaller_micro_batches(plan.epoch, block, block // 2)
            todo = [*state.plans, plan]
            state = self._back(state, block // 2)
        statistics = {MICRO_BATCH_SIZE: float(state.cap)} if state.cap else {}
        seconds = time.perf_counter() - started_at
        return state, EpochOutput(loss, outputs, state.program.is_logits, seconds, statistics)

    def _back(self, state: CompiledState, cap: int) -> CompiledState:
        """The state before the plans that it has kept, to go on in blocks of at most so many examples."""
        if state.kept is None:
            return replace(self.start(state.recipe, state.seeds), cap=cap)
        return replace(state, arrays=state.program.put(state.kept), plans=(), cap=cap)

    def weights(self, state: CompiledState) -> list[np.ndarray]:
        """Return copies of all weights, in the model's order."""
        return [np.array(weight) for weight in state.program.weights(state.arrays)]

    def is_finite(self, state: CompiledState) -> bool:
        """Say whether all weights are finite."""
        return all(np.isfinite(np.asarray(weight)).all() for weight in state.program.weights(state.arrays))

    def snapshot(self, state: CompiledState) -> EngineSnapshot:
        """Return copies of the weights, the other variables and the slots, and the cap of the blocks."""
        arrays = [np.array(array) for group in state.arrays for array in group]
        return EngineSnapshot(arrays, {"cap": state.cap})

    def restore(self, state: CompiledState, snapshot: EngineSnapshot) -> CompiledState:
        """Put the arrays back on the device; there are no plans to run again before them."""
        refuse_other_shapes([array for group in state.arrays for array in group], snapshot.arrays)
        arrays = iter(snapshot.arrays)
        kept = tuple([next(arrays) for _ in group] for group in state.arrays)
        return replace(state, arrays=state.program.put(kept), kept=kept, cap=snapshot.facts["cap"])

    def trial_tags(self, state: CompiledState) -> Mapping[str, str]:
        """Say how the trial's program is computed."""
        return state.program.functions.tags(state.recipe)

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

    def _make_program(self, recipe: Recipe) -> "CompiledProgram":
        initial = InitialWeights(partial(self._build, recipe))
        model = self._build(recipe, 0)
        train, validation = self._dataset.train, self._dataset.validation
        head = read_head(model, self._dataset.task, self._dataset.output_size, train.inputs[:8])
        if head.kind not in self._data:
            self._data[head.kind] = self._backend.put_data(
                (train.inputs, head.targets(train.targets), validation.inputs)
            )
        program = Program(model, head, recipe)
        return CompiledProgram(program, initial, self._backend.compile(program, self._data[head.kind]))


def _gone_on(state: CompiledState, arrays: State, plan: EpochPlan) -> CompiledState:
    """The state after a plan, with that kept; once they are many, the arrays are kept in their place."""
    plans = (*state.plans, plan)
    if sum(each.order.nbytes for each in plans) <= KEPT_PLAN_BYTES:
        return replace(state, arrays=arrays, plans=plans)
    kept = tuple([np.array(array) for array in group] for group in arrays)
    return replace(state, arrays=arrays, plans=(), kept=kept)


class CompiledProgram:
    """A program with its functions compiled."""

    def __init__(self, program: Program, initial: InitialWeights, functions: Functions) -> None:
        self._program, self._initial, self.functions = program, initial, functions
        self._updates_a_call = FIRST_CALL_UPDATES
        self.is_logits = program.head.is_logits
        self.is_separable = program.is_separable

    def put(self, arrays: State) -> State:
        """Return copies of a state's arrays on the device."""
        return self.functions.put(arrays)

    def block(self, plan: EpochPlan, cap: int) -> int:
        """How many examples of a plan are computed at a time."""
        return largest_block(plan, self._parts(plan, cap))

    def _parts(self, plan: EpochPlan, cap: int) -> tuple[Part, ...]:
        return capped_parts(plan, cap) if cap else self.functions.parts(plan)

    def start(self, recipe: Recipe, seeds: Seeds) -> State:
        """Return a trial's first state."""
        seed_dropout(self._program.model, seeds.dropout)
        return self.functions.put(self._program.initial_state(self._initial.draw(seeds.weights), recipe))

    def weights(self, state: State) -> list[Any]:
        """Return the state's arrays that are the model's weights, in its order."""
        return self._program.weights(state[0], state[1])

    def numbers(self, recipe: Recipe, plan: EpochPlan) -> np.ndarray:
        """Return what is data and stays the same within an epoch, as one vector."""
        return self._program.numbers(recipe, plan.l1, plan.l2)

    def run(self, state: State, recipe: Recipe, plan: EpochPlan, cap: int = 0) -> tuple[State, float, np.ndarray]:
        """Train and validate one epoch; return the running loss and the outputs, (validation examples, size)."""
        numbers = self.numbers(recipe, plan)
        parts = self._parts(plan, cap)
        order, outputs = padded_order(plan, parts), None
        losses: list[Any] = []
        for part in parts:
            for call in self.calls(part.count, part is parts[-1], losses):
                state, loss, outputs = self.functions.train(state, numbers, order, part, call)
                losses.append(loss)
        outputs = np.array(outputs)
        total = float(np.sum([np.asarray(loss) for loss in losses], dtype=np.float64))
        return state, total / plan.examples, outputs.reshape(len(outputs), -1)

    def calls(self, count: int, is_last_part: bool, losses: list[Any]) -> Iterator[Call]:
        """Cut a part into calls of about a second: an interrupt is heard between two calls only.

        Each adds to the losses of the one before: how fast the device happens to be changes no bit of the sum.
        """
        start, loss = 0, np.float32(0.0)
        while start < count:
            started_at = time.perf_counter()
            end = min(count, start + self._updates_a_call)
            yield Call(start, end, is_last_part and end == count, loss)
            if end < count:  # else the device may go on with the validation at once
                loss = np.asarray(losses.pop())
                pace = (end - start) / max(time.perf_counter() - started_at, 1e-6)
                self._updates_a_call = max(1, int(pace * CALL_SECONDS))
            start = end


def prediction_spans(inputs: np.ndarray | Any) -> list[slice]:
    """The spans of examples to predict at a time, so that activations fit into memory."""
    count = int(inputs.shape[0])
    bytes_per_example = max(1, inputs.dtype.itemsize * int(np.prod(inputs.shape[1:])))
    size = min(4096, max(32, PREDICTION_BYTES // bytes_per_example))
    return [slice(start, min(count, start + size)) for start in range(0, count, size)]
