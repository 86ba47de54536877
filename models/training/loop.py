"""One training, epoch by epoch: the controller decides, the engine computes, the loop keeps the best weights."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np

from nightune.models.data.dataset import Dataset
from nightune.models.data.heads import known_metrics
from nightune.models.errors import InputError
from nightune.models.networks.named_metrics import Named
from nightune.models.networks.own_metrics import OwnMetric
from nightune.models.recipe.params import recipe_at
from nightune.models.recipe.recipe import Recipe
from nightune.models.techniques.stopping.state import NO_INPUTS, StoppingInputs
from nightune.models.training import reported_names
from nightune.models.training.capabilities import only_in_fit
from nightune.models.training.changed_state import changed_state
from nightune.models.training.controller import Controller
from nightune.models.training.engine import COMPILED_ENGINES, Engine, EpochOutput
from nightune.models.training.folds import FoldsController, FoldsEngine, FoldsOutput
from nightune.models.training.plan import EpochPlan
from nightune.models.training.seeds import Seeds
from nightune.models.training.snapshots import Keeper, Snapshot, SnapshotError, refuse_other_shapes
from nightune.phases import COMPILING, TRACKING, VALIDATION, phase
from nightune.vocabulary import NAMED_METRICS, TASK_METRICS, VALIDATION_PREFIX, Status, listed_metrics, unknown_name

OnEpoch = Callable[[int, Mapping[str, float]], None]
CheckWeights = Callable[[Sequence[np.ndarray]], None]


@dataclass(frozen=True, eq=False)
class Halted:
    """A training after an epoch. It can be resumed once, because controller and state then change."""

    controller: Controller
    state: Any  # the engine's
    best: list[np.ndarray]
    history: list[dict[str, float]]  # each epoch's values
    seconds: float
    seeds: Seeds


@dataclass(frozen=True, eq=False)
class Outcome:
    """The result of a training. `weights` are the best epoch's, or the initial ones if no epoch was finite.

    `objective` is the monitored metric of the best epoch, NaN if there is none (`best_epoch` 0). A curve has one value
    per epoch, which may be NaN for an epoch that diverged.
    """

    recipe: Recipe
    status: Status
    message: str
    objective: float
    best_epoch: int  # counted from 1; 0 = none
    epochs: int
    updates: int
    examples: int
    seconds: float  # including the model's construction and compilation
    curves: dict[str, list[float]]
    weights: list[np.ndarray]
    tags: Mapping[str, str]  # how it was computed
    halted: Halted | None = None  # to resume from, if the training is not complete


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
    report: tuple[str, ...] = (),
    own: OwnMetric | None = None,
    check: CheckWeights | None = None,
) -> Outcome:
    """Train a recipe for at most `epochs` epochs; `on_epoch` gets each epoch's number, from 1, and its values.

    `check` gets the initial weights before the training, and may refuse the model by an exception. `report` names
    metrics that are measured next to those of the task and the monitor; `own` is the user's metric.
    `stopping` holds the additional inputs of a stopping rule. A training that halts after the epoch `until` is a prefix
    of the full one: the horizon of every schedule is the whole budget. A `halted` training resumes in the engine that
    started it, with the same result as without the halt. So does a snapshot of another process in `keeper`; `on_epoch`
    then gets the earlier epochs again.
    """
    if own is None:
        refuse_unknown_metric(monitor, dataset)
    refuse_unsupported(engine, recipe)
    started_at = time.perf_counter()
    if halted is None:
        seeds = Seeds.from_trial(seed)

        def make_controller(data: Dataset, order_seed: int) -> Controller:
            budget = (len(data.train), epochs, order_seed, monitor, direction, data.task)
            return Controller(recipe, *budget, outputs=data.output_count, stopping=stopping)

        controller = _controller(engine, recipe, dataset, seeds, make_controller)
        halted = _start_or_resume(engine, recipe, seeds, controller, keeper)
        if check:
            check(halted.best)
        if on_epoch:
            for epoch, values in enumerate(halted.history, start=1):
                on_epoch(epoch, values)
    began = replace(halted, seconds=halted.seconds + time.perf_counter() - started_at)
    measure = partial(_measure, dataset=dataset, names=(monitor, *report), own=own)
    ended, broken = _train_until(engine, measure, began, epochs if until is None else until, on_epoch, keeper)
    return _outcome(engine, recipe, monitor, ended, broken)


def _controller(
    engine: Engine, recipe: Recipe, dataset: Dataset, seeds: Seeds, make: Callable[[Dataset, int], Controller]
) -> Controller:
    """Return the controller of the training, or of those on folds and, as the last one, on all rows."""
    if not isinstance(engine, FoldsEngine):
        return make(dataset, seeds.order)
    trained = [*dataset.folds, dataset][: engine.training_count]
    members = [make(data, seeds.of_fold(number).order) for number, data in enumerate(trained, start=1)]
    return cast(Controller, FoldsController(members, recipe, room=len(dataset.train)))


def _start_or_resume(
    engine: Engine, recipe: Recipe, seeds: Seeds, controller: Controller, keeper: Keeper | None
) -> Halted:
    """Start the training, or resume it from a snapshot."""
    snapshot = keeper.read() if keeper else None
    with phase(COMPILING):
        state = engine.start(recipe_at(recipe, len(snapshot.history) if snapshot else 1), seeds)
    if keeper and snapshot:
        try:
            state = _restored(engine, state, snapshot, controller)
        except ValueError as error:
            keeper.refuse(str(error))
            state = engine.start(recipe_at(recipe, 1), seeds)
        else:
            history = [dict(values) for values in snapshot.history]
            return Halted(controller, state, list(snapshot.best), history, snapshot.seconds, seeds)
    return Halted(controller, state, engine.weights(state), [], 0.0, seeds)


def _restored(engine: Engine, state: Any, snapshot: Snapshot, controller: Controller) -> Any:
    """Restore the engine's state, and the controller's last, when nothing can be refused any more."""
    if snapshot.engine != engine.name:
        raise SnapshotError(f"the snapshot is from the engine {snapshot.engine}; this is {engine.name}")
    refuse_other_shapes(engine.weights(state), snapshot.best)
    state = engine.restore(state, snapshot.state)
    controller.restore(snapshot.controller)
    return state


def _train_until(
    engine: Engine,
    measure: Callable[[EpochOutput], dict[str, float]],
    halted: Halted,
    until: int,
    on_epoch: OnEpoch | None,
    keeper: Keeper | None,
) -> tuple[Halted, str]:
    """Train until the epoch or the end; return a message if weights became infinite or NaN, else an empty one."""
    controller, state, best, history, broken = halted.controller, halted.state, halted.best, [*halted.history], ""
    started_at = time.perf_counter() - halted.seconds

    def now() -> Halted:
        return Halted(controller, state, best, history, time.perf_counter() - started_at, halted.seeds)

    while controller.epoch < until and (plan := controller.next_epoch()):
        if plan.begins_change:
            state = changed_state(engine, state, controller.recipe, halted.seeds, plan.epoch)
        state, plans, outputs = _run_some(engine, state, controller, plan, until)
        for plan, output in zip(plans, outputs, strict=False):
            with phase(VALIDATION):
                values = measure(output)
            broken = "" if _is_finite(engine, state, output) else f"weights are not finite in epoch {plan.epoch}"
            controller.observe({**values, "loss": math.nan} if broken else values)
            if controller.is_best:
                best = engine.weights(state) if output.weights is None else output.weights
            values |= _record(plan, output, controller)
            history.append(values)
            if on_epoch:
                on_epoch(plan.epoch, values)
            if controller.status != "training":  # later epochs of the same call are discarded
                break
        if keeper and controller.status == "training" and keeper.is_due(is_last=controller.epoch == until):
            with phase(TRACKING):
                keeper.write(_snapshot(engine, now()))
    return now(), broken


def _run_some(
    engine: Engine, state: Any, controller: Controller, plan: EpochPlan, until: int
) -> tuple[Any, list[EpochPlan], list[EpochOutput]]:
    """Run the next epoch, and those after it that do not depend on what is observed."""
    if plan.begins_fine_tuning:
        state = engine.unfreeze(state)
    most = min(engine.epochs_at_once(state, plan), until - controller.epoch)
    plans = controller.plans_ahead(most)
    state, outputs = engine.run_epochs(state, plans)
    return state, plans, outputs


def _is_finite(engine: Engine, state: Any, output: EpochOutput) -> bool:
    if output.weights is None:
        return engine.is_finite(state)
    return all(np.isfinite(weight).all() for weight in output.all_weights or ())


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


def refuse_unknown_monitor(monitor: str, task: str, key: str = "objective.metric") -> None:
    """Raise InputError unless the task has the monitored metric."""
    known = [f"{VALIDATION_PREFIX}{name}" for name in (*TASK_METRICS[task], *NAMED_METRICS[task])]
    if monitor not in known:
        name = monitor.removeprefix(VALIDATION_PREFIX)
        problem = unknown_name(monitor, listed_metrics(known), f"metric of a {task} task")
        others = [other for other in TASK_METRICS if name in (*TASK_METRICS[other], *NAMED_METRICS[other])]
        other = f"; the task of {monitor} is {' or '.join(others)} ([data] task)" if others else ""
        raise InputError(key, f"{problem}{other}")


def refuse_unknown_metric(monitor: str, dataset: Dataset, key: str = "objective.metric") -> None:
    """Raise InputError unless the data's task has the metric: of several heads `val_loss`, or one of a head."""
    heads = dataset.heads
    if not heads:
        refuse_unknown_monitor(monitor, dataset.task, key)
    elif monitor not in (known := known_metrics(heads)):
        names = ", ".join(each.name for each in heads)
        raise InputError(key, f"{unknown_name(monitor, known, 'metric')}; the heads are {names}")


def refuse_unsupported(engine: Engine, recipe: Recipe) -> None:
    """Raise InputError if a compiled engine does not support the recipe; earlier trials may not have shown it."""
    reasons = only_in_fit(recipe) if engine.name in COMPILED_ENGINES else []
    if reasons:
        raise InputError("engine", f"{engine.name} cannot train {'; '.join(reasons)} (allowed: fit)")


def _measure(output: Any, dataset: Dataset, names: tuple[str, ...], own: OwnMetric | None) -> dict[str, float]:
    if not isinstance(output, FoldsOutput):
        return _validate(output, dataset, names, own)
    pairs = zip(output.members, dataset.folds, strict=False)  # the training on all rows, if any, validates on none
    return output.combined([_validate(each, fold, names, own) for each, fold in pairs])


def _validate(output: EpochOutput, dataset: Dataset, names: tuple[str, ...], own: OwnMetric | None) -> dict[str, float]:
    validation = dataset.validation
    outputs = output.outputs[: len(validation)]  # programs that folds share pad their validation rows
    named = Named.of(names, dataset.task, dataset.description, own)
    measured = output.head.metrics(dataset.task, outputs, validation.targets, validation.weights, named)
    validated = {f"{reported_names.VALIDATION}{name}": value for name, value in measured.items()}
    return {reported_names.LOSS: output.loss, **validated, **output.statistics}


def _record(plan: EpochPlan, output: EpochOutput, controller: Controller) -> dict[str, float]:
    """Return the plan's values in the epoch's last update, and the totals of updates and examples."""
    counts = {
        reported_names.UPDATES: float(controller.updates),
        reported_names.EXAMPLES: float(controller.examples_seen),
    }
    return {**plan.recorded, **counts, reported_names.SECONDS: output.seconds}
