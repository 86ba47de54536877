"""Write one trial to MLflow: in batches while it trains, and the rest when it ends."""

import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.artifacts import put_artifact
from nightune.tasks.tracking.store.entities import (
    BATCH_METRICS,
    BATCH_PARAMS,
    chunks,
    dataset_input,
    number,
    packed,
    param,
)
from nightune.tasks.tracking.store.errors import RefusedRequestError, StoreError
from nightune.tasks.tracking.store.retry import retry_limit
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials.attempts import (
    Attempt,
    claimable_run,
    keep_newest_run,
    own_attempt,
    require_own,
)
from nightune.tasks.tracking.trials.runs import finish_halted, unfinished_runs
from nightune.tasks.tracking.trials.snapshots import drop_snapshots, keep_snapshot
from nightune.tasks.tracking.trials.trial_tags import (
    DESCRIBED,
    attempts_of,
    description,
    final_tags,
    identity_tags,
    run_name,
)
from nightune.tuning.trial import Status, Trial, TrialResult

if TYPE_CHECKING:
    from nightune.tasks.prepared_data import PreparedData

FLUSH_SECONDS = 8.0  # so that MLflow's pages show an epoch within ten seconds


class TrialLog:
    """Writes one trial to MLflow: in batches while it trains, and the rest when it ends.

    The first write creates the run, so that a short trial costs few calls. A run that a kill left unfinished is
    resumed, and only its missing epochs are written: the first write asks `find_run` for it, or the store.

    `attempt` is that of a worker. Another one may have taken its trial: OvertakenError before each write that counts.
    """

    def __init__(
        self,
        store: Store,
        sweep: Sweep,
        trial: Trial,
        tags: Mapping[str, str],
        data: "PreparedData",
        find_run: Callable[[], Any | None] | None = None,
        attempt: Attempt | None = None,
    ) -> None:
        self._store, self._sweep, self._trial, self._data = store, sweep, trial, data
        self._tags = dict(tags)
        self._find_run, self._attempt = find_run, attempt
        self._run_id = self._artifact_uri = ""
        self._params: list[Any] = []  # written with the first batch
        self._logged_epoch = 0
        self._logged_once: dict[str, int] = {}  # by an earlier process: name → epoch
        self._has_snapshot = False
        self._waiting: list[tuple[int, int, dict[str, float]]] = []  # epoch, time in ms, values
        self._flushed_at = time.monotonic()
        self._started_ms = _now_ms()
        self._once: dict[str, float] = {}
        self._ended_ms: int | None = None  # None: the time of writing
        self._has_own_description = False  # written by people

    def log_epoch(self, epoch: int, values: Mapping[str, float]) -> None:
        """Queue the curves' values of an epoch, counted from 1; they are written within seconds."""
        curves = {name: value for name, value in values.items() if name not in names.ONCE}
        self._waiting.append((epoch, _now_ms(), curves))
        if time.monotonic() - self._flushed_at > FLUSH_SECONDS:
            self.open()
            self._require_own()
            self._flush([], [])

    def keep(self, snapshot: Path, epoch: int) -> None:
        """Store a snapshot of the trial after an epoch with its run, until the trial ends."""
        self.open()
        self._require_own()
        self._flush([], [])
        keep_snapshot(self._store, self._run_id, snapshot, epoch)
        self._has_snapshot = True

    @property
    def kept_run(self) -> str:
        """The run that holds a snapshot of this process; empty without one."""
        return self._run_id if self._has_snapshot else ""

    def add_tags(self, tags: Mapping[str, str]) -> None:
        """Add tags that are known only after the trial's start."""
        self._tags |= tags

    def add_metrics(self, values: Mapping[str, float]) -> None:
        """Add single metrics, no curves; they are written when the trial is finished."""
        self._once |= values

    def end(self) -> None:
        """Record the time of the trial's end; it is written later."""
        self._ended_ms = _now_ms()

    def finish(self, result: TrialResult, checkpoint: Path | None) -> str:
        """Write the checkpoint, then the rest, and mark the run finished; return the run's id."""
        self.open()
        self._require_own()
        if checkpoint is not None:
            put_artifact(self._store, self._artifact_uri, checkpoint, names.CHECKPOINT_FOLDER)
        if result.traceback:
            self._put_error(result.traceback)
        metrics = _final_metrics(result, self._once)
        final = [metric for metric in metrics if self._logged_once.get(metric.key) != metric.step]
        described = {} if self._has_own_description else description(result, self._sweep.metric)
        self._flush(final, list((self._tags | final_tags(result) | described).items()))
        state = "FAILED" if result.status is Status.FAILED else "FINISHED"
        client(self._store).set_terminated(self._run_id, state, self._ended_ms)
        if self._has_snapshot and result.status is not Status.NOT_PROMOTED:
            drop_snapshots(self._store, self._run_id)  # last: a kill before it must not lose the training
        return self._run_id

    def _put_error(self, text: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / names.ERROR
            file.write_text(text, encoding="utf-8")
            put_artifact(self._store, self._artifact_uri, file)

    def abandon(self) -> None:
        """Mark an interrupted run, to be resumed."""
        if self._run_id:
            with retry_limit(2.0), suppress(StoreError):  # stop soon; the next start closes the run
                self._require_own()
                if finish_halted(self._store, client(self._store).get_run(self._run_id)):
                    return
                client(self._store).set_tag(self._run_id, names.STATUS, "interrupted")
                client(self._store).set_terminated(self._run_id, "KILLED")

    def open(self) -> None:
        """Create the trial's run, or take the one to resume; the first write does it where nothing else has."""
        if not self._run_id:
            if (run := self._found()) is None:
                self._describe(self._new_run())
            else:
                self._resume(run)

    def _found(self) -> Any | None:
        """Return the run to resume. A worker asks when it opens its run: others may have worked on the trial since."""
        if self._attempt is not None:
            return claimable_run(self._store, self._sweep, self._trial.key, self._attempt)
        if self._find_run is not None:
            return self._find_run()
        return unfinished_runs(self._store, self._sweep).get(self._trial.key)

    def _require_own(self) -> None:
        if self._attempt is not None:
            require_own(self._store, self._run_id, self._attempt)

    def _new_run(self) -> Any:
        run = client(self._store).create_run(
            self._sweep.experiment_id,
            start_time=self._started_ms,
            tags=self._identity | {names.ATTEMPT: "1"},
            run_name=run_name(self._trial),
        )
        if self._attempt is not None:
            keep_newest_run(self._store, self._sweep, self._trial.key, str(run.info.run_id), self._attempt)
        return run

    def _describe(self, run: Any) -> None:
        """Write the data to a run and prepare the params; on a resumed run both are the same as before."""
        self._run_id, self._artifact_uri = str(run.info.run_id), str(run.info.artifact_uri)
        written = run.data.params  # of a run to resume: a kill may have prevented it
        self._params = [param(name, value) for name, value in self._trial.params.items() if name not in written]
        if not run.inputs.dataset_inputs:
            self._log_data()

    def _log_data(self) -> None:
        """Record the data of the run. MLflow refuses one of two workers that name it first at once: it asks again."""
        inputs = [dataset_input(self._data)]
        try:
            client(self._store).log_inputs(self._run_id, inputs)
        except RefusedRequestError as error:
            if "unique constraint" not in str(error).lower():  # of SQLite and of PostgreSQL
                raise
            client(self._store).log_inputs(self._run_id, inputs)

    def _resume(self, run: Any) -> None:
        mlflow_client = client(self._store)
        self._describe(run)
        self._has_snapshot = names.SNAPSHOT in run.data.tags
        self._has_own_description = not run.data.tags.get(names.MLFLOW_NOTE, DESCRIBED).startswith(DESCRIBED)
        if names.LOSS in run.data.metrics:
            self._logged_epoch = self._last_step(names.LOSS)
        self._logged_once = {
            name: self._last_step(name)
            for name in run.data.metrics
            if name in (*names.ONCE, *names.PEAKS, *names.MODEL_COSTS, names.OBJECTIVE_ERROR)
            or name.startswith(names.FURTHER)
        }
        is_promoted = run.data.tags.get(names.STATUS) == Status.NOT_PROMOTED
        attempt = attempts_of(run) + (not is_promoted)
        self._flush([], list((self._identity | {names.ATTEMPT: str(attempt)}).items()))
        mlflow_client.update_run(self._run_id, status="RUNNING")

    def _last_step(self, name: str) -> int:
        return int(client(self._store).get_metric_history(self._run_id, name)[-1].step)

    @property
    def _identity(self) -> dict[str, str]:
        return identity_tags(self._trial, self._sweep, (self._attempt or own_attempt()).token) | self._tags

    def _flush(self, metrics: list[Any], tags: list[tuple[str, str]]) -> None:
        from mlflow.entities import Metric, RunTag  # noqa: PLC0415

        self.open()
        groups: list[list[Any]] = []
        for epoch, milliseconds, values in self._waiting:
            if epoch > self._logged_epoch:
                groups.append([Metric(name, number(value), milliseconds, epoch) for name, value in values.items()])
                self._logged_epoch = epoch
        self._waiting.clear()
        self._write([*packed([*groups, metrics], BATCH_METRICS)], [RunTag(*tag) for tag in tags])
        self._flushed_at = time.monotonic()

    def _write(self, metrics: list[list[Any]], tags: list[Any]) -> None:
        """Write in few calls, since one costs as much as a hundred points. The tags are written last."""
        calls: list[tuple[Any, Any]] = [*zip_longest(chunks(self._params, BATCH_PARAMS), metrics, fillvalue=[])] or [
            ([], [])
        ]
        for params, points in calls[:-1]:
            client(self._store).log_batch(self._run_id, metrics=points, params=params)
        params, points = calls[-1]
        if params or points or tags:
            client(self._store).log_batch(self._run_id, metrics=points, params=params, tags=tags)
        self._params = []


def _final_metrics(result: TrialResult, more: Mapping[str, float]) -> list[Any]:
    from mlflow.entities import Metric  # noqa: PLC0415

    values: dict[str, float] = {name: float(getattr(result, name)) for name in names.ONCE}
    if not result.best_epoch:
        del values[names.OBJECTIVE]
    return [Metric(name, number(value), _now_ms(), result.epochs) for name, value in {**values, **more}.items()]


def _now_ms() -> int:
    return int(time.time() * 1000)
