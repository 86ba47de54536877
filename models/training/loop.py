"""One training from its first epoch to its last: the controller decides, the engine computes, the best is kept."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nightune.models.data.dataset import Dataset
from nightune.models.errors import InputError
from nightune.models.networks.metrics import metrics
from nightune.models.recipe.recipe import Recipe
from nightune.models.techniques.stopping.state import NO_INPUTS, StoppingInputs
from nightune.models.training import reported_names
from nightune.models.training.capabilities import only_in_fit
from nightune.models.training.controller import Controller
from nightune.models.training.engine import COMPILED_ENGINES, Engine, EpochOutput
from nightune.models.training.plan import EpochPlan
from nightune.models.training.seeds import Seeds
from nightune.models.training.snapshots import Keeper, Snapshot, SnapshotError, refuse_other_shapes
from nightune.vocabulary import TASK_METRICS, VALIDATION_PREFIX, Status, unknown_name

OnEpoch = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True, eq=False)
class Halted:
    """A training as it was after an epoch. It may go on once: controller and state change with what is trained."""

    controller: Controller
    state: Any  # the engine's
    best: list[np.ndarray]
    history: list[dict[str, float]]  # each epoch's values
    seconds: float


@dataclass(frozen=True, eq=False)
class Outcome:
    """How a training ended. `weights` are the best epoch's, or the initial ones where no epoch was finite.

    `objective` is the monitored metric of the best epoch, NaN where there is none (`best_epoch` 0). A curve holds one
    value an epoch; that of an epoch that diverged may be NaN.
    """

    recipe: Recipe
    status: Status
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
    halted: Halted | None = None  # to go on from, where there is more to train


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
    halted: Halted | None = None,
    keeper: Keeper | None = None,
) -> Outcome:
    """Train a recipe for at most `epochs` epochs; `on_epoch` gets each epoch's number, from 1, and its values.

    `stopping` is what a stopping rule needs beside the training itself. A training that halts after the epoch `until`
    is a prefix of the full one: every schedule has the whole budget for its horizon. One that was halted goes on from
    there, in the engine that began it, as if it had not been. So does one that `keeper` has of another process, and
    `on_epoch` gets the epochs before once more.
    """
    refuse_unknown_monitor(monitor, dataset.task)
    refuse_what_only_fit_can(engine, recipe)
    started_at = time.perf_counter()
    if halted is None:
        seeds = Seeds.from_trial(seed)
        controller = Controller(
            recipe,
            len(dataset.train),
            epochs,
            seeds.order,
            monitor,
            direction,
            dataset.task,
            outputs=dataset.output_size,
            stopping=stopping,
        )
        halted = _begin(engine, recipe, seeds, controller, keeper)
        if on_epoch:
            for epoch, values in enumerate(halted.history, start=1):
                on_epoch(epoch, values)
    began = replace(halted, seconds=halted.seconds + time.perf_counter() - started_at)
    ended, broken = _go_on(engine, dataset, began, epochs if until is None else until, on_epoch, keeper)
    return _outcome(engine, recipe, monitor, ended, broken)


def _begin(engine: Engine, recipe: Recipe, seeds: Seeds, controller: Controller, keeper: Keeper | None) -> Halted:
    """Start the training, or take it up where it was kept."""
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
            return Halted(controller, state, list(snapshot.best), history, snapshot.seconds)
    return Halted(controller, state, engine.weights(state), [], 0.0)


def _restored(engine: Engine, state: Any, snapshot: Snapshot, controller: Controller) -> Any:
    """The engine's state; the controller's is put in place last, when nothing can be refused any more."""
    if snapshot.engine != engine.name:
        raise SnapshotError(f"a snapshot of the engine {snapshot.engine}; this is {engine.name}")
    refuse_other_shapes(engine.weights(state), snapshot.best)
    state = engine.restore(state, snapshot.state)
    controller.restore(snapshot.controller)
    return state


def _go_on(
    engine: Engine,
    dataset: Dataset,
    halted: Halted,
    until: int,
    on_epoch: OnEpoch | None,
    keeper: Keeper | None,
) -> tuple[Halted, str]:
    """Train to the epoch or to the end; say what made the weights not finite, or nothing."""
    controller, state, best, history, broken = halted.controller, halted.state, halted.best, [*halted.history], ""
    started_at = time.perf_counter() - halted.seconds

    def now() -> Halted:
        return Halted(controller, state, best, history, time.perf_counter() - started_at)

    while controller.epoch < until and (plan := controller.next_epoch()):
        state, plans, outputs = _run_some(engine, state, controller, plan, until)
        for plan, output in zip(plans, outputs, strict=False):
            values = _validate(output, dataset)
            broken = "" if _is_finite(engine, state, output) else f"weights are not finite in epoch {plan.epoch}"
            controller.observe({**values, "loss": math.nan} if broken else values)
            if controller.is_best:
                best = engine.weights(state) if output.weights is None else output.weights
            values |= _record(plan, output, controller)
            history.append(values)
            if on_epoch:
                on_epoch(plan.epoch, values)
            if controller.status != "training":  # what was computed beyond is not used
                break
        if keeper and controller.status == "training" and keeper.is_due(is_last=controller.epoch == until):
            keeper.write(_snapshot(engine, now()))
    return now(), broken


def _run_some(
    engine: Engine, state: Any, controller: Controller, plan: EpochPlan, until: int
) -> tuple[Any, list[EpochPlan], list[EpochOutput]]:
    """Run the next epoch, and with it those after that need not wait for what is observed."""
    most = min(engine.epochs_at_once(state, plan), until - controller.epoch)
    plans = controller.plans_ahead(most)
    state, outputs = engine.run_epochs(state, plans)
    return state, plans, outputs


def _is_finite(engine: Engine, state: Any, output: EpochOutput) -> bool:
    if output.weights is None:
        return engine.is_finite(state)
    return all(np.isfinite(weight).all() for weight in output.weights)


def _snapshot(engine: Engine, halted: Halted) -> Snapshot:
    return Snapshot(
        engine=engine.name,
        state=engine.snapshot(halted.state),
        controller=halted.controller.state(),
        best=halted.best,
        history=halted.history,
        seconds=halted.seconds,
    )


def _outcome(engine: Engine, recipe: Recipe, monitor: str, ended: Halted, broken: str) -> Outcome:
    controller, is_halted = ended.controller, ended.controller.status == "training"
    best_epoch, curves = controller.best_epoch, _curves(ended.history)
    return Outcome(
        recipe=recipe,
        status=Status.NOT_PROMOTED if is_halted else Status(controller.status),
        message=broken or controller.message,
        objective=curves[monitor][best_epoch - 1] if best_epoch else math.nan,
        best_epoch=best_epoch,
        epochs=controller.epoch,
        updates=controller.updates,
        examples=controller.examples_seen,
        seconds=ended.seconds,
        curves=curves,
        weights=ended.best,
        tags=engine.trial_tags(ended.state),
        halted=ended if is_halted else None,
    )


def _curves(history: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    curves: dict[str, list[float]] = defaultdict(list)
    for values in history:
        for name, value in values.items():
            curves[name].append(value)
    return dict(curves)


def refuse_unknown_monitor(monitor: str, task: str) -> None:
    """InputError unless the monitored metric is one that this task has."""
    known = [f"{VALIDATION_PREFIX}{name}" for name in TASK_METRICS[task]]
    if monitor not in known:
        raise InputError("objective.metric", unknown_name(monitor, known, f"metric of a {task} task"))


def refuse_what_only_fit_can(engine: Engine, recipe: Recipe) -> None:
    """InputError where a compiled engine cannot express the recipe, which the first trials need not have shown."""
    reasons = only_in_fit(recipe) if engine.name in COMPILED_ENGINES else []
    if reasons:
        raise InputError("engine", f"{engine.name} cannot train {'; '.join(reasons)} (allowed: fit)")


def _validate(output: EpochOutput, dataset: Dataset) -> dict[str, float]:
    measured = metrics(dataset.task, output.outputs, dataset.validation.targets, output.is_logits)
    validated = {f"{reported_names.VALIDATION}{name}": value for name, value in measured.items()}
    return {reported_names.LOSS: output.loss, **validated, **output.statistics}


def _record(plan: EpochPlan, output: EpochOutput, controller: Controller) -> dict[str, float]:
    """What was done, as used in the epoch's last update, and how far the training has come."""
    counts = {
        reported_names.UPDATES: float(controller.updates),
        reported_names.EXAMPLES: float(controller.examples_seen),
    }
    return {**plan.recorded, **counts, reported_names.SECONDS: output.seconds}
