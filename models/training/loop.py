"""One training from its first epoch to its last: the controller decides, the engine computes, the best is kept."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.errors import InputError, unknown_name
from models.examples import Dataset
from models.metrics import METRICS, metrics
from models.recipe import Recipe
from models.stopping_states import NO_INPUTS, StoppingInputs
from models.training.capabilities import only_in_fit
from models.training.controller import Controller
from models.training.engine import COMPILED_ENGINES, Engine, EpochOutput
from models.training.plan import EpochPlan
from models.training.seeds import Seeds
from models.training.snapshots import Keeper, Snapshot, SnapshotError, refuse_other_shapes

OnEpoch = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True, eq=False)
class Outcome:
    """How a training ended. `weights` are the best epoch's, or the initial ones where no epoch was finite.

    `objective` is the monitored metric of the best epoch, NaN where there is none (`best_epoch` 0). A curve holds one
    value an epoch; that of an epoch that diverged may be NaN.
    """

    recipe: Recipe
    status: str  # completed, stopped_early, diverged, or not_promoted: halted before its end
    message: str
    objective: float
    best_epoch: int  # counted from 1; 0 = none
    epochs: int
    updates: int
    examples: int
    seconds: float  # with building the model and compiling
    curves: dict[str, list[float]]
    weights: list[np.ndarray]
    tags: Mapping[str, str]  # how it was computed


def train(  # noqa: PLR0913 - keywords, each with one meaning
    engine: Engine,
    recipe: Recipe,
    dataset: Dataset,
    *,
    epochs: int,
    seed: int,
    monitor: str,
    direction: str,
    on_epoch: OnEpoch | None = None,
    stopping: StoppingInputs = NO_INPUTS,
    until: int | None = None,
    keeper: Keeper | None = None,
) -> Outcome:
    """Train a recipe for at most `epochs` epochs; `on_epoch` gets each epoch's number, from 1, and its values.

    `stopping` is what a stopping rule needs beside the training itself. A training that halts after the epoch `until`
    is a prefix of the full one: every schedule has the whole budget for its horizon. What `keeper` has of an earlier
    process is gone on from, to the same end as without a break; `on_epoch` gets the epochs before it once more.
    """
    refuse_unknown_monitor(monitor, dataset.task)
    refuse_what_only_fit_can(engine, recipe)
    seeds, size = Seeds.from_trial(seed), len(dataset.train)
    controller = Controller(
        recipe,
        size,
        epochs,
        seeds.order,
        monitor,
        direction,
        dataset.task,
        outputs=dataset.output_size,
        stopping=stopping,
    )
    training = _begin(engine, recipe, seeds, controller, keeper)
    if on_epoch:
        for epoch, values in enumerate(training.history, start=1):
            on_epoch(epoch, values)
    broken, halt = "", epochs if until is None else until
    while controller.epoch < halt and (plan := controller.next_epoch()):
        training.state, output = engine.run_epoch(training.state, plan)
        values = _validate(output, dataset)
        broken = "" if engine.is_finite(training.state) else f"weights are not finite in epoch {plan.epoch}"
        controller.observe({**values, "loss": math.nan} if broken else values)
        if controller.is_best:
            training.best = engine.weights(training.state)
        values |= _record(plan, output, controller)
        training.history.append(values)
        if on_epoch:
            on_epoch(plan.epoch, values)
        if keeper and controller.status == "training" and keeper.is_due(is_last=controller.epoch == halt):
            keeper.write(_snapshot(engine, training, controller))
    curves = _curves(training.history)
    return Outcome(
        recipe=recipe,
        status="not_promoted" if controller.status == "training" else controller.status,
        message=broken or controller.message,
        objective=curves[monitor][controller.best_epoch - 1] if controller.best_epoch else math.nan,
        best_epoch=controller.best_epoch,
        epochs=controller.epoch,
        updates=controller.updates,
        examples=controller.examples_seen,
        seconds=training.seconds,
        curves=curves,
        weights=training.best,
        tags=engine.trial_tags(training.state),
    )


@dataclass(eq=False)
class _Training:
    """A training under way."""

    state: Any  # the engine's
    best: list[np.ndarray]
    history: list[dict[str, float]]  # each epoch's values
    started_at: float

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started_at


def _begin(engine: Engine, recipe: Recipe, seeds: Seeds, controller: Controller, keeper: Keeper | None) -> _Training:
    """Start the training, or go on from where it was kept."""
    started_at = time.perf_counter()
    state = engine.start(recipe, seeds)
    snapshot = keeper.read() if keeper else None
    if keeper and snapshot:
        try:
            state = _restored(engine, state, snapshot, controller)
        except ValueError as error:
            keeper.refuse(str(error))
            state = engine.start(recipe, seeds)
        else:
            history = [dict(values) for values in snapshot.history]
            return _Training(state, list(snapshot.best), history, started_at - snapshot.seconds)
    return _Training(state, engine.weights(state), [], started_at)


def _restored(engine: Engine, state: Any, snapshot: Snapshot, controller: Controller) -> Any:
    """The engine's state; the controller's is put in place last, when nothing can be refused any more."""
    if snapshot.engine != engine.name:
        raise SnapshotError(f"a snapshot of the engine {snapshot.engine}; this is {engine.name}")
    refuse_other_shapes(engine.weights(state), snapshot.best)
    state = engine.restore(state, snapshot.state)
    controller.restore(snapshot.controller)
    return state


def _snapshot(engine: Engine, training: _Training, controller: Controller) -> Snapshot:
    return Snapshot(
        engine=engine.name,
        state=engine.snapshot(training.state),
        controller=controller.state(),
        best=training.best,
        history=training.history,
        seconds=training.seconds,
    )


def _curves(history: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    curves: dict[str, list[float]] = defaultdict(list)
    for values in history:
        for name, value in values.items():
            curves[name].append(value)
    return dict(curves)


def refuse_unknown_monitor(monitor: str, task: str) -> None:
    """InputError unless the monitored metric is one that this task has."""
    known = [f"val_{name}" for name in METRICS[task]]
    if monitor not in known:
        raise InputError("objective.metric", unknown_name(monitor, known, f"metric of a {task} task"))


def refuse_what_only_fit_can(engine: Engine, recipe: Recipe) -> None:
    """InputError where a compiled engine cannot express the recipe, which the first trials need not have shown."""
    reasons = only_in_fit(recipe) if engine.name in COMPILED_ENGINES else []
    if reasons:
        raise InputError("engine", f"{engine.name} cannot train {'; '.join(reasons)} (allowed: fit)")


def _validate(output: EpochOutput, dataset: Dataset) -> dict[str, float]:
    measured = metrics(dataset.task, output.outputs, dataset.validation.targets, output.is_logits)
    return {"loss": output.loss, **{f"val_{name}": value for name, value in measured.items()}, **output.statistics}


def _record(plan: EpochPlan, output: EpochOutput, controller: Controller) -> dict[str, float]:
    """What was done, as used in the epoch's last update, and how far the training has come."""
    counts = {"updates": float(controller.updates), "examples": float(controller.examples_seen)}
    return {**plan.recorded, **counts, "seconds": output.seconds}
