"""The engine of compiled programs, for any backend: what the backend compiles is behind `Functions`."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from models.architectures import build_model
from models.examples import Dataset
from models.outputs import read_head
from models.recipe import Recipe
from models.training.blocks import Part, padded_order
from models.training.capabilities import only_in_fit, refuse_only_in_fit
from models.training.engine import EpochOutput
from models.training.engine_fit import PREDICTION_BYTES
from models.training.initial_weights import InitialWeights
from models.training.plan import EpochPlan
from models.training.programs import KEPT_PROGRAMS, Program, ProgramCache, graph_key, is_separable
from models.training.seeds import Seeds, seed_dropout

FIRST_CALL_UPDATES = 256
CALL_SECONDS = 1.0
DATA_BYTES = 2**31  # the data is held on the device, beside a copy of it

State = tuple[list[Any], list[Any], list[Any]]  # trainable weights, other variables, slots
Data = tuple[Any, Any, Any]  # training inputs and targets, validation inputs


class Functions(Protocol):
    """A program compiled by a backend. States may be used up: only the state returned is good afterwards."""

    def put(self, arrays: State) -> State:
        """Return copies on the device."""

    def parts(self, plan: EpochPlan) -> tuple[Part, ...]:
        """Lay out a plan."""

    def train(
        self, state: State, numbers: np.ndarray, order: Any, part: Part, call: "Call"
    ) -> tuple[State, Any, Any | None]:
        """Make some of a part's updates; return the sum of the examples' losses, and after the last one the outputs."""


@dataclass(frozen=True)
class Call:
    """From which update of a part to which one call goes; the epoch's last one validates, too."""

    start: int
    end: int
    is_last: bool


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


@dataclass(frozen=True, eq=False)
class CompiledState:
    """One trial: its program, and the arrays that a run epoch uses up."""

    program: "CompiledProgram"
    arrays: State
    recipe: Recipe


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
        return {"nightune.engine": name, "nightune.backend": name, "nightune.device": device}

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
        return CompiledState(program, program.start(recipe, seeds), recipe)

    def run_epoch(self, state: CompiledState, plan: EpochPlan) -> tuple[CompiledState, EpochOutput]:
        """Run the program on one plan. The state given must not be used again."""
        started_at = time.perf_counter()
        arrays, loss, outputs = state.program.run(state.arrays, state.recipe, plan)
        output = EpochOutput(loss, outputs, state.program.is_logits, time.perf_counter() - started_at)
        return CompiledState(state.program, arrays, state.recipe), output

    def weights(self, state: CompiledState) -> list[np.ndarray]:
        """Return copies of all weights, in the model's order."""
        return [np.array(weight) for weight in state.program.weights(state.arrays)]

    def model(self, recipe: Recipe, weights: list[np.ndarray]) -> keras.Model:
        """Build the recipe's model again, free of what the program put into it, and give it the weights."""
        model = self._build(recipe, 0)
        model.set_weights(weights)
        return model

    def _build(self, recipe: Recipe, seed: int) -> keras.Model:
        keras.backend.clear_session(free_memory=False)  # layers are numbered from the start again
        shape, size = self._dataset.input_shape, self._dataset.output_size
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


def refusals_of(model: keras.Model, recipe: Recipe, dataset: Dataset) -> list[str]:
    """Say why no compiled engine can train a model: data that it cannot hold, or a training step of the user's."""
    parts = (dataset.train.inputs, dataset.validation.inputs)
    held = sum(part.nbytes for part in parts)
    reasons = only_in_fit(recipe)
    if held > DATA_BYTES or any(isinstance(part, np.memmap) for part in parts):
        limit = DATA_BYTES / 2**30
        reasons.append(f"the data, {held / 2**30:.1f} GiB, stays on disk or is more than {limit:.0f} GiB")
    return reasons + [
        f"{recipe.architecture} has a {method} of its own"
        for method in ("train_step", "compute_loss")
        if getattr(type(model), method) is not getattr(keras.Model, method)
    ]


class CompiledProgram:
    """A program with its functions compiled."""

    def __init__(self, program: Program, initial: InitialWeights, functions: Functions) -> None:
        self._program, self._initial, self._functions = program, initial, functions
        self._updates_a_call = FIRST_CALL_UPDATES
        self.is_logits = program.head.is_logits

    def start(self, recipe: Recipe, seeds: Seeds) -> State:
        """Return a trial's first state."""
        seed_dropout(self._program.model, seeds.dropout)
        return self._functions.put(self._program.initial_state(self._initial.draw(seeds.weights), recipe))

    def weights(self, state: State) -> list[Any]:
        """Return the state's arrays that are the model's weights, in its order."""
        return self._program.weights(state[0], state[1])

    def run(self, state: State, recipe: Recipe, plan: EpochPlan) -> tuple[State, float, np.ndarray]:
        """Train and validate one epoch; return the running loss and the outputs, (validation examples, size)."""
        numbers = self._program.numbers(recipe, plan.l1, plan.l2)
        parts = self._functions.parts(plan)
        order, outputs = padded_order(plan, parts), None
        losses: list[Any] = []
        for part in parts:
            for call in self._calls(part.count, part is parts[-1], losses):
                state, loss, outputs = self._functions.train(state, numbers, order, part, call)
                losses.append(loss)
        outputs = np.array(outputs)
        total = float(np.sum([np.asarray(loss) for loss in losses], dtype=np.float64))
        return state, total / plan.examples, outputs.reshape(len(outputs), -1)

    def _calls(self, count: int, is_last_part: bool, losses: list[Any]) -> Iterator[Call]:
        """Cut a part into calls of about a second: an interrupt is heard between two calls only."""
        start = 0
        while start < count:
            started_at = time.perf_counter()
            end = min(count, start + self._updates_a_call)
            yield Call(start, end, is_last_part and end == count)
            if end < count:  # else the device may go on with the validation at once
                losses[-1] = float(np.asarray(losses[-1]))
                pace = (end - start) / max(time.perf_counter() - started_at, 1e-6)
                self._updates_a_call = max(1, int(pace * CALL_SECONDS))
            start = end


def prediction_spans(inputs: np.ndarray | Any) -> list[slice]:
    """The spans of examples to predict at a time, so that activations fit into memory."""
    count = int(inputs.shape[0])
    bytes_per_example = max(1, inputs.dtype.itemsize * int(np.prod(inputs.shape[1:])))
    size = min(4096, max(32, PREDICTION_BYTES // bytes_per_example))
    return [slice(start, min(count, start + size)) for start in range(0, count, size)]
