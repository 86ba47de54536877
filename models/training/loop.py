"""One training from its first epoch to its last: the controller decides, the engine computes, the best is kept."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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

OnEpoch = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True, eq=False)
class Halted:
    """A training as it was after an epoch. It may go on once: controller and state change with what is trained."""

    controller: Controller
    state: Any  # the engine's
    best: list[np.ndarray]
    curves: dict[str, list[float]]
    seconds: float


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
) -> Outcome:
    """Train a recipe for at most `epochs` epochs; `on_epoch` gets each epoch's number, from 1, and its values.

    `stopping` is what a stopping rule needs beside the training itself. A training that halts after the epoch `until`
    is a prefix of the full one: every schedule has the whole budget for its horizon. One that was halted goes on from
    there, in the engine that began it, as if it had not been.
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
        halted = _begun(engine, controller, engine.start(recipe, seeds))
    ended, broken = _go_on(engine, dataset, halted, epochs if until is None else until, on_epoch)
    ended = replace(ended, seconds=halted.seconds + time.perf_counter() - started_at)
    return _outcome(engine, recipe, monitor, ended, broken)


def _begun(engine: Engine, controller: Controller, state: Any) -> Halted:
    """A training before its first epoch."""
    return Halted(controller, state, engine.weights(state), {}, 0.0)


def _go_on(
    engine: Engine, dataset: Dataset, halted: Halted, until: int, on_epoch: OnEpoch | None
) -> tuple[Halted, str]:
    """Train to the epoch or to the end; say what made the weights not finite, or nothing."""
    controller, state, best, broken = halted.controller, halted.state, halted.best, ""
    curves = defaultdict(list, {name: list(values) for name, values in halted.curves.items()})
    while controller.epoch < until and (plan := controller.next_epoch()):
        state, output = engine.run_epoch(state, plan)
        values = _validate(output, dataset)
        broken = "" if engine.is_finite(state) else f"weights are not finite in epoch {plan.epoch}"
        controller.observe({**values, "loss": math.nan} if broken else values)
        if controller.is_best:
            best = engine.weights(state)
        values |= _record(plan, output, controller)
        for name, value in values.items():
            curves[name].append(value)
        if on_epoch:
            on_epoch(plan.epoch, values)
    return replace(halted, state=state, best=best, curves=dict(curves)), broken


def _outcome(engine: Engine, recipe: Recipe, monitor: str, ended: Halted, broken: str) -> Outcome:
    controller, is_halted = ended.controller, ended.controller.status == "training"
    best_epoch = controller.best_epoch
    return Outcome(
        recipe=recipe,
        status="not_promoted" if is_halted else controller.status,
        message=broken or controller.message,
        objective=ended.curves[monitor][best_epoch - 1] if best_epoch else math.nan,
        best_epoch=best_epoch,
        epochs=controller.epoch,
        updates=controller.updates,
        examples=controller.examples_seen,
        seconds=ended.seconds,
        curves=ended.curves,
        weights=ended.best,
        tags=engine.trial_tags(ended.state),
        halted=ended if is_halted else None,
    )


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
