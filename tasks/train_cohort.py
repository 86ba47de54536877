"""Train a cohort: trials of one graph shape, one after the other, each logged to MLflow as it goes.

The one place where what is tuned (`tuning`) meets how it is trained (`models`).
"""

import itertools
import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from models.recipe import Recipe
from tasks.attempts import Attempts, attempts_of, is_supervised
from tasks.graph_keys import graph_key, training_order
from tasks.prepare_data import PreparedData
from tasks.progress import EpochEnded, announce_epoch, announce_trial
from tasks.stage import stage
from tasks.stopping_inputs import stopping_inputs
from tasks.tracking.store import Store
from tasks.tracking.sweeps import Sweep
from tasks.tracking.trials import TrialLog, open_trial
from tasks.trial_limits import watched
from tuning.study import Study
from tuning.trial import Status, Trial, TrialResult

if TYPE_CHECKING:
    from models.datasets import Dataset
    from models.training.engine import Engine

COHORT_TRIALS = 25  # keeps a flow of thousands of trials under Prefect's limit of about a thousand task runs


@dataclass(frozen=True)
class Setting:
    """What all trials of a sweep share."""

    store: Store
    sweep: Sweep
    study: Study
    data: PreparedData

    @property
    def attempts(self) -> Attempts:
        """The notes on the trial in training, and on those that took their process down."""
        return attempts_of(self.store.root, self.study.name)


@stage
def train_cohort(setting: Setting, trials: Sequence[Trial]) -> list[TrialResult]:
    """Train the trials in order and return how each ended; a bad trial is a result, a machine fault raises."""
    store, data, study = setting.store, setting.data, setting.study
    engine, dataset = _engine(setting.sweep.engine, data.folder, study.path.parent, store.compiled)
    return [train_trial(setting, engine, dataset, trial) for trial in trials]


@lru_cache(maxsize=1)
def _engine(name: str, data_folder: Path, study_folder: Path, compiled: Path) -> tuple["Engine", "Dataset"]:
    """The engine and its data, kept from cohort to cohort with the programs that it has compiled."""
    from models.backend import load_keras  # noqa: PLC0415 - Keras, only where something is trained
    from models.datasets import open_dataset  # noqa: PLC0415
    from models.training.engine import make_engine  # noqa: PLC0415

    load_keras(compiled)
    dataset = open_dataset(data_folder)
    return make_engine(name, dataset, study_folder), dataset


def train_trial(setting: Setting, engine: "Engine", dataset: "Dataset", trial: Trial) -> TrialResult:
    """Train one trial, log it with its best epoch's checkpoint, and say how it ended."""
    tags = {"nightune.engine": engine.name, **engine.tags}
    log = open_trial(setting.store, setting.sweep, trial, tags, setting.data)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "model.keras"
        try:
            result = _given_up(setting, trial) or _train(setting, engine, dataset, trial, log, checkpoint)
        except BaseException:  # interrupted, or a fault of the machine: to be trained again
            log.abandon()
            raise
        run_id = log.finish(result, checkpoint if checkpoint.exists() else None)
    result = replace(result, run_id=run_id)
    announce_trial(result, setting.study.objective.metric)
    return result


def cohorts(trials: Sequence[Trial]) -> Iterator[list[Trial]]:
    """Cut the trials into cohorts of one graph shape, so that what is compiled for one serves the next."""
    ordered = sorted(trials, key=training_order)
    for _, group in itertools.groupby(ordered, key=graph_key):
        members = list(group)
        for start in range(0, len(members), COHORT_TRIALS):
            yield members[start : start + COHORT_TRIALS]


def _given_up(setting: Setting, trial: Trial) -> TrialResult | None:
    """The result of a trial that has taken its process down too often to be tried again."""
    death = setting.attempts.given_up(trial.key)
    return None if death is None else TrialResult(trial, Status.FAILED, math.nan, 0, 0, 0, 0, 0.0, death.message)


def _train(
    setting: Setting, engine: "Engine", dataset: "Dataset", trial: Trial, log: TrialLog, checkpoint: Path
) -> TrialResult:
    from models.training.checkpoint import save_checkpoint  # noqa: PLC0415 - Keras
    from models.training.loop import train  # noqa: PLC0415 - Keras
    from models.training.ranking import ranking_objective  # noqa: PLC0415 - Keras

    study, started_at, attempts = setting.study, time.monotonic(), setting.attempts

    def on_epoch(epoch: int, values: Mapping[str, float]) -> None:
        log.log_epoch(epoch, values)
        watch.check()
        announce_epoch(EpochEnded(trial.number, epoch, study.search.epochs))

    condemn = attempts.condemn if is_supervised() else None
    try:
        with attempts.training(trial.key, trial.number), watched(study.limits, condemn) as watch:
            recipe = Recipe.from_params(trial.params)
            outcome = train(
                engine,
                recipe,
                dataset,
                epochs=study.search.epochs,
                seed=trial.seed,
                monitor=study.objective.metric,
                direction=study.objective.direction,
                on_epoch=on_epoch,
                stopping=stopping_inputs(setting.store, setting.sweep, study, trial, recipe),
            )
            objective = ranking_objective(engine, outcome, dataset, study.objective.metric)
            save_checkpoint(engine, outcome, checkpoint)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # the trial's own params or the user's own code: a result, not the end of the sweep
        return _failed(trial, error, time.monotonic() - started_at)
    return TrialResult(
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


def _failed(trial: Trial, error: Exception, seconds: float) -> TrialResult:
    lines = str(error).strip().splitlines()
    message = f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
    return TrialResult(trial, Status.FAILED, math.nan, 0, 0, 0, 0, seconds, message)
