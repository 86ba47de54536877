"""Run the trials of a cohort: train each on the engine, and write it to MLflow while the next one trains."""

import gc
import logging
import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightune.models.recipe.params import read_recipe
from nightune.models.serving.predictor import MODEL
from nightune.models.serving.rebuilt_model import ARCHIVE
from nightune.phases import TRACKING, phase
from nightune.tasks.metric_problems import own_metric
from nightune.tasks.reporting.events import EpochEnded, announce_epoch, announce_trial
from nightune.tasks.reporting.ledger_keeper import counted_training, write_ledger_if_due
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.background_writer import BackgroundWriter
from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.tracking.store.retry import retry_call
from nightune.tasks.tracking.sweeps.ends import write_search_seconds
from nightune.tasks.tracking.trials.runs import unfinished_runs
from nightune.tasks.tracking.trials.trial_log import TrialLog
from nightune.tasks.trial.at_worker import AtWorker
from nightune.tasks.trial.crash_log import MAX_ATTEMPTS, CrashLog, is_supervised
from nightune.tasks.trial.failure import describe
from nightune.tasks.trial.further import further_values
from nightune.tasks.trial.hopeless import counted
from nightune.tasks.trial.interrupts import interrupts_raised, refuse_interrupted
from nightune.tasks.trial.limits import Watch, watched
from nightune.tasks.trial.model_limits import ModelLimits, OverLimitError
from nightune.tasks.trial.snapshots import RunKeeper, plan_snapshots
from nightune.tasks.trial.stopping_inputs import reads_earlier_curves, stopping_inputs
from nightune.tasks.trial.trainer import Trainer
from nightune.tasks.trial.turns import run_in_turn, run_side_by_side
from nightune.tuning.analysis.failures import common_failure
from nightune.tuning.search_budget import SearchEndedError
from nightune.tuning.study.population import POPULATION
from nightune.tuning.trial import Status, Trial, TrialResult

if TYPE_CHECKING:
    from nightune.models.training.engine import Engine
    from nightune.models.training.loop import Outcome

logger = logging.getLogger("nightune")

CHECKPOINT_NAMES = (MODEL, ARCHIVE)

WriteCheckpoint = Callable[[], bool]  # returns False without a checkpoint


def no_checkpoint() -> bool:
    """Write nothing: the trial has no checkpoint."""
    return False


@dataclass(frozen=True)
class TrainedTrial:
    """The result of a trained trial, and the function that writes its checkpoint.

    `own_seconds` are its share of the time of its epochs, where others were computed at once; it began after `begin`.
    """

    result: TrialResult
    write_checkpoint: WriteCheckpoint = no_checkpoint
    own_seconds: float = 0.0
    begin: int = 0


@dataclass(frozen=True)
class TrialToWrite:
    """A trained trial with its log, and the temporary folder of its checkpoint."""

    trained: TrainedTrial
    log: TrialLog
    folder: "tempfile.TemporaryDirectory[str]"


class TrialRunner:
    """Runs the trials of one cohort. A failed trial is a result; a machine fault is raised."""

    def __init__(self, setting: Setting, trainer: Trainer, crash_log: CrashLog, worker: AtWorker | None = None) -> None:
        self._setting, self._trainer, self._crash_log, self._worker = setting, trainer, crash_log, worker
        self._unfinished: Mapping[str, Any] = worker.unfinished if worker else {}
        self._snapshot_plan = plan_snapshots(self._unfinished)
        self._record_limit = crash_log.record_limit if is_supervised() else None  # asked once: settings are read anew
        self._ended: list[TrialResult] = []
        self._is_hopeless = False

    def run(self, trials: Sequence[Trial], ended: Sequence[TrialResult] = ()) -> list[TrialResult]:
        """Train the trials in order; write and announce each while the next one trains.

        At least one is trained. The others are not if it and all that ended before failed with one cause. None is that
        the search's budget does not admit. With a writer of the setting, results that are still to be written have no
        run's id.
        """
        self._ended, self._is_hopeless = list(ended), False
        setting = self._setting
        if self._worker is None and setting.known is None:
            self._unfinished = unfinished_runs(setting.store, setting.sweep)
            self._snapshot_plan = plan_snapshots(self._unfinished)
        with BackgroundWriter[TrialResult]() if setting.writer is None else nullcontext(setting.writer) as writer:
            trainings = [partial(self._train_and_submit, writer, trial) for trial in trials]
            if any(reads_earlier_curves(trial) for trial in trials):
                run_in_turn(self._trainer.engine, trainings)
            else:
                run_side_by_side(self._trainer.engine, trainings)
            return writer.results() if setting.writer is None else self._ended[len(ended) :]

    def _resumed_run(self, trial: Trial) -> Callable[[], Any | None]:
        known = self._setting.known
        if self._worker is None and known is not None:
            return known.resumed_run(trial)
        return partial(self._unfinished.get, trial.key)

    def train(self, trial: Trial, engine: "Engine") -> TrialToWrite:
        """Train one trial. An interrupted trial stays unfinished in MLflow, and a later process trains it again."""
        setting, tags = self._setting, {names.ENGINE: engine.name, **engine.tags, **self._promotion(trial)}
        attempt = self._worker.attempt if self._worker else None
        find_run = self._resumed_run(trial)
        log = TrialLog(setting.store, setting.sweep, trial, tags, setting.data, find_run, attempt)
        folder = tempfile.TemporaryDirectory()
        try:
            if self._worker is not None and self._worker.opens_first:
                log.open()
            trained = self._given_up(trial) or self._train(trial, engine, log, Path(folder.name) / MODEL)
        except BaseException:
            folder.cleanup()
            log.abandon()
            raise
        log.end()
        return TrialToWrite(trained, log, folder)

    def _promotion(self, trial: Trial) -> dict[str, str]:
        """Return the tag of a trial that continues after its first rung."""
        rung, first = self._setting.rung, self._setting.first_rung
        is_promoted = rung is not None and first is not None and rung > first and trial.is_searched
        return {names.PROMOTED_TO: str(rung)} if is_promoted else {}

    def write(self, ended: TrialToWrite) -> TrialResult:
        """Write a trained trial with the checkpoint of its best epoch, and announce it."""
        with ended.folder as name:
            is_written = retry_call(ended.trained.write_checkpoint, str(Path(name).parent))  # the disk may be full
            written = next((file for each in CHECKPOINT_NAMES if (file := Path(name) / each).exists()), None)
            run_id = ended.log.finish(ended.trained.result, written if is_written else None)
        result = replace(ended.trained.result, run_id=run_id)
        if self._setting.known is not None:
            self._setting.known.add(result)
        announce_trial(result, self._setting.study.objective.name)
        return result

    def _train_and_submit(self, writer: BackgroundWriter[TrialResult], trial: Trial, engine: "Engine") -> None:
        budget = self._setting.budget
        if self._is_hopeless or (budget is not None and not budget.admits(trial, self._setting.epochs)):
            return
        if reads_earlier_curves(trial):
            writer.wait()  # its rule reads curves that may not have been written yet
        try:
            with counted_training(trial, is_shared=engine is not self._trainer.engine) as training:
                to_write = self.train(trial, engine)
                training.begin, training.epochs = to_write.trained.begin, to_write.trained.result.epochs
                training.seconds = to_write.trained.own_seconds
        except SearchEndedError as end:
            logger.warning("trial %d · ended with the search, without a result: %s", trial.number, end)
            if budget is not None:
                budget.settle(trial, None)
            return
        if budget is not None:
            budget.settle(trial, to_write.trained.result, to_write.trained.own_seconds or None)
            if budget.is_record_due():
                write_search_seconds(self._setting.store, self._setting.sweep, budget.seconds)
        write_ledger_if_due()
        self._ended.append(to_write.trained.result)
        if self._setting.writer is not None and self._setting.known is not None:
            self._setting.known.add(to_write.trained.result)
        self._is_hopeless = trial.is_searched and common_failure(counted(self._ended)) is not None
        writer.submit(partial(self.write, to_write))

    def _given_up(self, trial: Trial) -> TrainedTrial | None:
        """Return the failed result of a trial that was given up after its crashes; None if it may be trained."""
        counted_elsewhere = self._worker.given_up.get(trial.key) if self._worker else None
        crash = counted_elsewhere or self._crash_log.final_crash(trial.key)
        return None if crash is None else TrainedTrial(_failed(trial, crash.message))

    def _train(self, trial: Trial, engine: "Engine", log: TrialLog, checkpoint: Path) -> TrainedTrial:
        """Train the trial; retry if the host is out of memory: another process may have used it for a while."""
        started_at, text, traceback = time.monotonic(), "", ""
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                with interrupts_raised():
                    return self._train_once(trial, engine, log, checkpoint)
            except MemoryError as error:
                text, traceback = str(error), describe(error, self._setting.study.path.parent).traceback
            # Outside the handler: its traceback keeps the arrays of the failed attempt alive.
            gc.collect()
            logger.warning("trial %d · out of memory · attempt %d of %d", trial.number, attempt, MAX_ATTEMPTS)
        message = f"MemoryError: {text or 'the host is out of memory'}, {MAX_ATTEMPTS} times"
        return TrainedTrial(_failed(trial, message, seconds=time.monotonic() - started_at, traceback=traceback))

    def _train_once(self, trial: Trial, engine: "Engine", log: TrialLog, checkpoint: Path) -> TrainedTrial:
        from nightune.models.engines.memory import peaks  # noqa: PLC0415 - Keras
        from nightune.models.training.folds import standard_error  # noqa: PLC0415 - Keras
        from nightune.models.training.ranking import ranking_objective  # noqa: PLC0415 - Keras

        trainer, study, started_at = self._trainer, self._setting.study, time.monotonic()
        limits = ModelLimits.of(trial, study.limits, study.objective.costs)
        try:
            with self._crash_log.training(trial.key, trial.number), watched(study.limits, self._record_limit) as watch:
                outcome, earlier, begin = self._outcome(trial, engine, log, watch, limits)
                own = own_metric(study)
                objective = ranking_objective(engine, outcome, trainer.dataset, study.objective.name, own)
                prepare = partial(trainer.checkpoints.prepare, outcome, checkpoint)
                write_checkpoint = retry_call(prepare, str(checkpoint.parent.parent))
                over = limits.problem_of_latency(engine, outcome, trainer.dataset)
                further = further_values(engine, outcome, trainer, study, limits.costs) if trial.is_searched else {}
        except OverLimitError as error:
            log.add_metrics(limits.costs)
            refused = _failed(trial, str(error), seconds=time.monotonic() - started_at)
            return TrainedTrial(replace(refused, status=Status.OVER_LIMIT))
        except (MemoryError, OSError, StoreError, SearchEndedError):
            raise
        except Exception as error:  # by the trial's params or the user's code: a result, not the end of the sweep
            failure = describe(error, study.path.parent)
            seconds = time.monotonic() - started_at
            return TrainedTrial(_failed(trial, failure.message, seconds=seconds, traceback=failure.traceback))
        log.add_tags(outcome.tags)
        log.add_metrics(peaks() | limits.costs | {f"{names.FURTHER}{name}": each for name, each in further.items()})
        spread = standard_error(outcome.curves, study.objective.name, outcome.best_epoch)
        if spread is not None:
            log.add_metrics({names.OBJECTIVE_ERROR: spread})
        result = replace(_result(trial, outcome, objective), further=further)
        if over and result.is_ranked:
            result = replace(result, status=Status.OVER_LIMIT, message=over)
        if trial.is_audit or trial.step is not None:
            write_checkpoint = no_checkpoint  # it measures, and no model is taken from it
        return TrainedTrial(result, write_checkpoint, sum(outcome.curves.get(names.SECONDS, ())[earlier:]), begin)

    def _outcome(
        self, trial: Trial, engine: "Engine", log: TrialLog, watch: Watch, limits: ModelLimits
    ) -> "tuple[Outcome, int, int]":
        """Train the trial by its recipe; resume it if an earlier rung or an earlier process left a state.

        Return the epochs, too, of the earlier rung or of the trial that it continues, and the one after which it began.
        """
        from nightune.models.training.loop import train  # noqa: PLC0415 - Keras

        setting, trainer, study = self._setting, self._trainer, self._setting.study
        recipe, training = read_recipe(trial.params), f"{setting.sweep.run_id} {trial.key}"
        engine = trainer.of_trial(engine, trial)
        halted = trainer.halted.take(training, setting.epochs)
        earlier = 0 if halted is None else len(halted.history)
        run = self._resumed_run(trial)() if halted is None else None  # else no snapshot is read
        keeper = RunKeeper(
            self._snapshot_plan if run is None else plan_snapshots({trial.key: run}),
            setting.store,
            trial,
            log,
            watch.add_seconds,
            keeps_halts=study.search.method == POPULATION and trial.is_searched,
        )
        outcome = train(
            engine,
            recipe,
            trainer.dataset,
            epochs=study.search.epochs,
            seed=trial.seed,
            monitor=study.objective.name,
            direction=study.objective.direction,
            on_epoch=partial(self._log_epoch, trial, log, watch),
            stopping=stopping_inputs(setting, trial, recipe),
            until=setting.epochs,
            keeper=keeper,
            halted=halted,
            report=(*study.objective.report, *study.objective.further_curves),
            own=own_metric(study),
            check=limits.refuse_weights,
        )
        trainer.halted.keep(training, engine, outcome)
        return outcome, max(earlier, keeper.inherited), max(earlier, keeper.resumed)

    def _log_epoch(self, trial: Trial, log: TrialLog, watch: Watch, epoch: int, values: Mapping[str, float]) -> None:
        with phase(TRACKING):
            log.log_epoch(epoch, values)
        write_ledger_if_due()
        refuse_interrupted()
        watch.check()
        if self._setting.budget is not None and epoch < self._setting.epochs:
            self._setting.budget.check()
        announce_epoch(EpochEnded(trial.number, epoch, self._setting.epochs))


def _failed(trial: Trial, message: str, seconds: float = 0.0, traceback: str = "") -> TrialResult:
    return TrialResult(trial, Status.FAILED, math.nan, 0, 0, 0, 0, seconds, message, traceback=traceback)


def _result(trial: Trial, outcome: "Outcome", objective: float) -> TrialResult:
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
