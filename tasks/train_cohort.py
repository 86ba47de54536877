"""Train a cohort: trials of one graph shape, one after the other, each logged to MLflow while the next one trains.

The one place where what is tuned (`tuning`) meets how it is trained (`models`).
"""

import gc
import logging
import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightune.models.recipe.params import read_recipe
from nightune.tasks.reporting.events import EpochEnded, announce_epoch, announce_trial
from nightune.tasks.setting import Setting
from nightune.tasks.step import stage
from nightune.tasks.tracking.store.background_writer import BackgroundWriter
from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.tracking.store.retry import patiently
from nightune.tasks.tracking.trials.runs import unfinished_runs
from nightune.tasks.tracking.trials.trial_log import TrialLog, open_trial
from nightune.tasks.trial.crash_log import ALLOWED_DEATHS, is_supervised
from nightune.tasks.trial.limits import watched
from nightune.tasks.trial.snapshots import NO_SNAPSHOTS, Keeping, RunKeeper, read_keeping
from nightune.tasks.trial.stopping_inputs import reads_earlier_curves, stopping_inputs
from nightune.tuning.trial import Status, Trial, TrialResult

if TYPE_CHECKING:
    from nightune.models.data.dataset import Dataset
    from nightune.models.training.checkpoint import Checkpoints
    from nightune.models.training.engine import Engine
    from nightune.models.training.halted import HaltedTrainings

logger = logging.getLogger("nightune")
CHECKPOINT_NAME = "model.keras"


@dataclass(frozen=True)
class Trainer:
    """The engine with the programs that it has compiled, and its data, kept from cohort to cohort; and snapshots."""

    engine: "Engine"
    dataset: "Dataset"
    checkpoints: "Checkpoints"
    halted: "HaltedTrainings"
    keeping: Keeping = NO_SNAPSHOTS
    begun: Mapping[str, Any] = field(default_factory=dict)  # runs that trials of the cohort go on in, by trial key


@stage
def train_cohort(setting: Setting, trials: Sequence[Trial]) -> list[TrialResult]:
    """Train the trials in order and return how each ended; a bad trial is a result, a machine fault raises."""
    trainer = make_trainer(setting.sweep.engine, setting.data.folder, setting.study.path.parent, setting.store.compiled)
    return train_trials(setting, trainer, trials)


@lru_cache(maxsize=1)
def make_trainer(engine_name: str, data_folder: Path, study_folder: Path, compiled: Path) -> Trainer:
    """Bring up the engine, or return the one that is up."""
    from nightune.models.backend import load_keras  # noqa: PLC0415 - Keras, only where something is trained
    from nightune.models.data.storage import data_placement, open_dataset  # noqa: PLC0415
    from nightune.models.engines.make import make_engine  # noqa: PLC0415
    from nightune.models.training.checkpoint import Checkpoints  # noqa: PLC0415
    from nightune.models.training.halted import HaltedTrainings  # noqa: PLC0415

    load_keras(compiled)
    dataset = open_dataset(data_folder)
    if dataset.is_on_disk:
        logger.info("data · stays on disk and is read as it is used: %s", data_placement(data_folder).reason)
    engine = make_engine(engine_name, dataset, study_folder)
    return Trainer(engine, dataset, Checkpoints(engine, study_folder), HaltedTrainings())


def train_trials(setting: Setting, trainer: Trainer, trials: Sequence[Trial]) -> list[TrialResult]:
    """Train trials in order; each is logged and announced while the next one trains."""
    begun = unfinished_runs(setting.store, setting.sweep)
    trainer = replace(trainer, keeping=read_keeping(begun), begun=begun)
    with BackgroundWriter[TrialResult]() as writer:

        def train_one(trial: Trial, engine: "Engine") -> None:
            if reads_earlier_curves(trial):
                writer.wait()  # its rule reads from the store what is still to be written
            writer.submit(_train_trial(setting, replace(trainer, engine=engine), trial))

        if any(reads_earlier_curves(trial) for trial in trials):
            for trial in trials:
                train_one(trial, trainer.engine)
        else:
            _run_all(trainer.engine, [partial(train_one, trial) for trial in trials])
        return writer.results()


def _run_all(engine: "Engine", trainings: Sequence[Callable[["Engine"], None]]) -> None:
    """Run the trainings: one after the other, or side by side where a device computes many at once."""
    if engine.name == "jax":
        from nightune.models.engines.compiled.side_by_side import train_side_by_side  # noqa: PLC0415
        from nightune.models.engines.compiled.vmap_stacks import Stacks, stack_members  # noqa: PLC0415 - JAX, only where it is the backend

        if (members := stack_members()) > 1:
            train_side_by_side(engine, trainings, members, Stacks(members).run_epochs)
            return
    for training in trainings:
        training(engine)


def _train_trial(setting: Setting, trainer: Trainer, trial: Trial) -> Callable[[], TrialResult]:
    """Train one trial; return what writes it with its best epoch's checkpoint and says how it ended."""
    tags = {"nightune.engine": trainer.engine.name, **trainer.engine.tags}
    log = open_trial(setting.store, setting.sweep, trial, tags, setting.data, trainer.begun)
    folder = tempfile.TemporaryDirectory()  # of its checkpoint, until that is written
    try:
        given_up = _given_up(setting, trial)
        path = Path(folder.name) / CHECKPOINT_NAME
        result, write_checkpoint = given_up or _trained(setting, trainer, trial, log, path)
    except BaseException:  # interrupted, or a fault of the machine: to be trained again
        folder.cleanup()
        log.abandon()
        raise
    log.end()

    def write() -> TrialResult:
        with folder as name:
            is_written = patiently(write_checkpoint, str(Path(name).parent))  # the disk may be full
            run_id = log.finish(result, Path(name) / CHECKPOINT_NAME if is_written else None)
        written = replace(result, run_id=run_id)
        announce_trial(written, setting.study.objective.metric)
        return written

    return write


def _given_up(setting: Setting, trial: Trial) -> tuple[TrialResult, Callable[[], bool]] | None:
    """The result of a trial that has taken its process down too often to be tried again, without a checkpoint."""
    death = setting.attempts.given_up(trial.key)
    if death is None:
        return None
    return TrialResult(trial, Status.FAILED, math.nan, 0, 0, 0, 0, 0.0, death.message), lambda: False


def _trained(
    setting: Setting, trainer: Trainer, trial: Trial, log: TrialLog, checkpoint: Path
) -> tuple[TrialResult, Callable[[], bool]]:
    """Train a trial, again where the host's memory ran out: another process may have taken it for a while."""
    started_at, said = time.monotonic(), ""
    for attempt in range(1, ALLOWED_DEATHS + 1):
        try:
            return _train(setting, trainer, trial, log, checkpoint)
        except MemoryError as error:
            said = str(error)
        # Outside the handler, whose traceback would keep alive what did not fit.
        gc.collect()
        logger.warning("trial %d · memory ran out · attempt %d of %d", trial.number, attempt, ALLOWED_DEATHS)
    final = MemoryError(f"{said or 'the host has none left'}, {ALLOWED_DEATHS} times")
    return _failed(trial, final, time.monotonic() - started_at), lambda: False


def _train(
    setting: Setting, trainer: Trainer, trial: Trial, log: TrialLog, checkpoint: Path
) -> tuple[TrialResult, Callable[[], bool]]:
    from nightune.models.engines.memory import peaks  # noqa: PLC0415 - Keras
    from nightune.models.training.loop import train  # noqa: PLC0415 - Keras
    from nightune.models.training.ranking import ranking_objective  # noqa: PLC0415 - Keras

    study, started_at, attempts = setting.study, time.monotonic(), setting.attempts

    def on_epoch(epoch: int, values: Mapping[str, float]) -> None:
        log.log_epoch(epoch, values)
        watch.check()
        announce_epoch(EpochEnded(trial.number, epoch, setting.epochs))

    condemn = attempts.condemn if is_supervised() else None
    try:
        with attempts.training(trial.key, trial.number), watched(study.limits, condemn) as watch:
            recipe = read_recipe(trial.params)
            keeper = RunKeeper(trainer.keeping, setting.store, trial, log, watch.count)
            outcome = train(
                trainer.engine,
                recipe,
                trainer.dataset,
                epochs=study.search.epochs,
                seed=trial.seed,
                monitor=study.objective.metric,
                direction=study.objective.direction,
                on_epoch=on_epoch,
                stopping=stopping_inputs(setting.store, setting.sweep, study, trial, recipe),
                until=setting.epochs,
                keeper=keeper,
                halted=trainer.halted.take(f"{setting.sweep.run_id} {trial.key}", setting.epochs),
            )
            trainer.halted.keep(f"{setting.sweep.run_id} {trial.key}", trainer.engine, outcome)
            objective = ranking_objective(trainer.engine, outcome, trainer.dataset, study.objective.metric)
            prepare = partial(trainer.checkpoints.prepare, outcome, checkpoint)
            write_checkpoint = patiently(prepare, str(checkpoint.parent.parent))
    except (MemoryError, OSError, StoreError):
        raise
    except Exception as error:  # the trial's own params or the user's own code: a result, not the end of the sweep
        return _failed(trial, error, time.monotonic() - started_at), lambda: False
    log.add_tags(outcome.tags)
    log.add_metrics(peaks())
    result = TrialResult(
        trial=trial,
        status=Status(outcome.status),
        objective=objective,
        best_epoch=outcome.best_epoch,
        epochs=outcome.epochs,
        updates=outcome.updates,
        examples=outcome.examples,
        seconds=outcome.seconds,
        message=outcome.message,
    )
    return result, write_checkpoint


def _failed(trial: Trial, error: Exception, seconds: float) -> TrialResult:
    lines = str(error).strip().splitlines()
    message = f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
    return TrialResult(trial, Status.FAILED, math.nan, 0, 0, 0, 0, seconds, message)
