"""The workers of a standing Dask cluster, as a feed uses them: each trains in a process that its host starts."""

import logging
import pickle
import queue
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from nightune.models.errors import InputError
from nightune.settings import read_settings, variables_of_results
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.trials.attempts import next_attempt, own_attempt
from nightune.tasks.tracking.trials.deaths import Deaths, count_death, trial_in_training
from nightune.tasks.trial.crash_log import Crash
from nightune.tasks.workers.contract import FUTILE_STARTS, Ending, Place, WorkersLostError
from nightune.tasks.workers.dask_client import ANSWER_SECONDS, DaskClient
from nightune.tasks.workers.host import (
    Died,
    Sending,
    StartLostError,
    Tracking,
    begin,
    shared_facts,
    topic_of,
    train_at,
)
from nightune.tasks.workers.job import Job
from nightune.tasks.workers.marks import leave_mark, sees
from nightune.tasks.workers.sent_files import SentFiles

logger = logging.getLogger("nightune")

VARIABLE = "NIGHTUNE_DASK"
CONNECT_SECONDS = 10.0
CLOSE_SECONDS = 2.0
PATIENCE_SECONDS = 60.0  # without any worker, before the sweep ends
START_SECONDS = 300.0  # in which one of the workers that are there can train: they start, or train for another flow
POLL_SECONDS = 0.2  # while the first workers start
SILENCE_SECONDS = 120.0  # without a heartbeat of a worker
LOOK_SECONDS = 1.0  # between two looks at the cluster's workers
# The client asks an idle cluster in vain no longer than this, and leaves memory and processes of workers alone.
DASK: dict[str, Any] = {"distributed.comm.timeouts.connect": f"{CONNECT_SECONDS:.0f}s"}


@dataclass
class ClusterWorker(Place):
    """A worker of the cluster, with the lease of its training process; `death` says how it ended."""

    at: str = ""
    lease: Any = None
    view: Any = None  # whether it sees the flow's folder
    death: Died | None = None


@dataclass(frozen=True)
class HostedEnding:
    """The future of a job of the cluster: its answer is pickled by the training process."""

    future: Any
    worker: ClusterWorker

    @property
    def key(self) -> Any:
        """The key of the future."""
        return self.future.key

    def result(self, timeout: float) -> Any:
        """Return what the job has returned, or raise its error; None where the training process has died."""
        answer = pickle.loads(self.future.result(timeout=timeout))
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, Died):
            self.worker.death = answer
            return None
        return answer

    def release(self) -> object:
        """Let the result go."""
        return self.future.release()


class ClusterCrew:
    """The workers of the cluster at an address. Those that come later train, too; those that leave are missed."""

    def __init__(self, address: str, module: str) -> None:
        """`module` is the training process that workers start: it reads a pickled `HostedStart`."""
        self._address, self._module = address, module
        self._flow = own_attempt().flow
        self.workers: list[ClusterWorker] = []
        self.inbox: queue.SimpleQueue[logging.LogRecord | Ending] = queue.SimpleQueue()
        self._dask: DaskClient | None = None
        self._dask_settings = ExitStack()
        self._sending: Sending | None = None
        self._files: SentFiles | None = None
        self._looked_at = self._alone_since = 0.0
        self._refused: dict[str, str] = {}  # why, by address

    def start(self, setting: Setting) -> None:
        """Connect, and find the workers, once; InputError names those that cannot train as this machine does."""
        if self._dask is not None:
            return
        self._sending = self._say(setting)
        self._dask = self._connect()
        self._dask.subscribe(topic_of(self._flow))
        self._files = SentFiles(setting)
        self._alone_since = time.monotonic()
        self._wait_for_workers()
        logger.info("%d workers of the cluster at %s train", self._ready, self._address)

    def join(self) -> None:
        """Lease workers that have joined since, and see which can train. WorkersLostError without any for a while."""
        dask = self._connected()
        if time.monotonic() - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = time.monotonic()
        here = dask.workers()
        if here is None:
            return
        known = {worker.at for worker in self.workers}
        for at, about in here.items():
            if at not in known and at not in self._refused:
                self.workers.append(self._leased(str(about["name"]), at))
        for worker in list(self.workers):
            self._look_at(worker, is_here=worker.at in here)
        self._alone_since = time.monotonic() if self._ready else self._alone_since
        patience = START_SECONDS if self.workers else PATIENCE_SECONDS
        if time.monotonic() - self._alone_since > patience:
            raise WorkersLostError(self._lost(f"for {patience:.0f} s no worker could train"))

    def send(self, worker: ClusterWorker, job: Job) -> Ending:
        """Send a job to a worker that can train; the ending comes into the inbox."""
        assert self._files is not None
        message = self._files.message_of(job)
        future = self._connected().submit(train_at, self._flow, message, job.attempt.token, at=worker.at)
        ending = HostedEnding(future, worker)
        future.add_done_callback(lambda _future: self.inbox.put(ending))
        return ending

    def cut_off(self, worker: ClusterWorker) -> None:
        """Give up a worker whose answer does not come, or whose training process has died.

        With the scheduler all futures are lost, and no worker has died.
        """
        self._connected()
        worker.death = worker.death or Died("it does not answer")

    def dead(self) -> list[ClusterWorker]:
        """Return the workers that have left the cluster, or whose training process has died."""
        found = [worker for worker in self.workers if worker.death is not None]
        if found:
            self._connected()
        return found

    def crash(self, worker: ClusterWorker, setting: Setting, job: Job | None) -> tuple[str, Crash | None]:
        """Return how a worker ended, and count its death on the run of the trial that it was training.

        A fault of its machine is no trial's death.
        """
        assert worker.death is not None
        death = worker.death
        trial = next((each for each in (job.trials if job else ()) if each.key == death.key), None)
        if trial is None and job is not None and not death.key and not death.is_fault:
            trial = trial_in_training(setting.store, setting.sweep, job.trials, job.attempt)
        if trial is None:
            return death.cause, None
        added = Deaths(1, death.limit or death.cause, is_final=bool(death.limit))
        counted = count_death(setting.store, setting.sweep, trial, added, next_attempt())
        if counted is None:
            return death.cause, None
        return death.cause, Crash(trial.number, counted.count, counted.reason, counted.is_final)

    def replace(self, worker: ClusterWorker, is_futile: bool) -> None:
        """Let the worker start another training process, if it is there and its starts are not futile."""
        self.workers.remove(worker)
        worker.lease.release()
        starts = worker.futile_starts + 1 if is_futile else 0
        if starts >= FUTILE_STARTS:
            assert worker.death is not None
            self._refuse(worker.at, worker.name, worker.death.cause)
            return
        if worker.at in (self._connected().workers() or {}):
            self.workers.append(replace(self._leased(worker.name, worker.at), futile_starts=starts))

    def close(self) -> None:
        """Let all workers go: each ends its training at its next epoch, and what it has trained is written."""
        for worker in self.workers:
            worker.lease.release()
        if self._dask is not None:
            self._dask.close(CLOSE_SECONDS)
        self._dask = None
        self._dask_settings.close()

    @property
    def _ready(self) -> int:
        return sum(bool(worker.address) for worker in self.workers)

    def _connected(self) -> DaskClient:
        """Return the client; WorkersLostError once the scheduler is lost."""
        if self._dask is None or not self._dask.is_connected:
            raise WorkersLostError(self._lost("its scheduler has gone"))
        return self._dask

    def _connect(self) -> DaskClient:
        import dask  # noqa: PLC0415 - an extra
        from distributed import Client  # noqa: PLC0415

        self._dask_settings.enter_context(dask.config.set(DASK))
        try:
            client = Client(self._address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            remedy = "start `dask scheduler` there, or correct the address"
            if self._address.startswith("tls:"):
                remedy += "; the certificates of tls:// are those of Dask's configuration (distributed.comm.tls)"
            raise InputError(VARIABLE, f"no Dask scheduler answers at {self._address} ({reason}); {remedy}") from error
        return DaskClient(client, self.inbox, SILENCE_SECONDS)

    def _say(self, setting: Setting) -> Sending:
        facts = shared_facts(read_settings().keras_backend)
        mark = leave_mark(setting.store.root)
        tracking = _tracking_of(setting.store, setting.sweep.run_id)
        return Sending(self._flow, self._module, variables_of_results(), facts, setting.study.name, tracking, mark)

    def _wait_for_workers(self) -> None:
        """Wait until each worker can train or is refused, for a minute, then for the first one that can.

        InputError if any is refused.
        """
        until = time.monotonic() + PATIENCE_SECONDS
        while not self._ready or (self._ready < len(self.workers) and time.monotonic() < until):
            time.sleep(POLL_SECONDS)
            self._looked_at = 0.0
            self.join()
            for worker in self.dead():
                self.replace(worker, is_futile=True)
            if self._refused:
                raise InputError(VARIABLE, "; ".join(self._refused.values()))

    def _leased(self, name: str, at: str) -> ClusterWorker:
        assert self._sending is not None
        dask = self._connected()
        lease = dask.submit(begin, self._sending, at=at)
        return ClusterWorker(name, at=at, lease=lease, view=dask.submit(sees, self._sending.mark, at=at))

    def _look_at(self, worker: ClusterWorker, is_here: bool) -> None:
        """Note that a worker can train, is refused, or has gone."""
        status = worker.lease.status
        if not is_here or (worker.address and status != "finished"):
            worker.death = worker.death or Died("it has left the cluster, hangs, or is cut off")
        elif status == "finished" and not worker.address and worker.view.status == "finished":
            self._admit(worker, _answered(worker.view.result))
        elif status == "error":
            self._give_up(worker, _answered(worker.lease.exception))

    def _admit(self, worker: ClusterWorker, sees_folder: bool | None) -> None:
        if sees_folder is None:
            return
        if not sees_folder:
            assert self._files is not None
            self._files.bring_to_others()
        worker.address = worker.at

    def _give_up(self, worker: ClusterWorker, error: BaseException | None) -> None:
        """Note that a training process has died while it started, or that the worker cannot train at all."""
        if error is None:
            return
        if isinstance(error, StartLostError):
            worker.death = worker.death or Died(str(error))
            return
        self.workers = [each for each in self.workers if each is not worker]
        self._refuse(worker.at, worker.name, f"{error}" if not isinstance(error, ImportError) else _missing(error))

    def _refuse(self, at: str, name: str, reason: str) -> None:
        self._refused[at] = f"worker {name} at {at}: {reason}"
        logger.warning("worker %s at %s is left out: %s", name, at, reason)

    def _lost(self, reason: str) -> str:
        said = "".join(f"; {each}" for each in self._refused.values())
        return (
            f"{self._address}: {reason}{said}. Finished trials are kept; start the cluster, or `dask worker "
            f"{self._address}` where Nightune is installed, and run the same command again"
        )


def _tracking_of(store: Store, sweep_run: str) -> Tracking:
    """Return what the workers need to know of a store. A database on a server may have its artifacts in a folder."""
    artifacts = str(client(store).get_run(sweep_run).info.artifact_uri)
    is_file = not store.is_served or urlsplit(artifacts).scheme in {"", "file"}
    return Tracking(store.tracking_uri, sweep_run, is_file)


def _answered(ask: Callable[..., Any]) -> Any | None:
    """Return a worker's answer; None where it does not come now: a worker that hangs is missed by its silence."""
    try:
        return ask(timeout=ANSWER_SECONDS)
    except (TimeoutError, CancelledError):
        return None


def _missing(error: ImportError) -> str:
    return f"Nightune is not installed there, or in another version ({error})"
