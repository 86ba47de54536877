"""Local workers: processes on this machine, and a scheduler of Dask in the flow's process, all on loopback."""

import logging
import pickle
import queue
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nightune.tasks.setting import Setting
from nightune.tasks.trial.crash_log import Crash, open_crash_log, signal_name
from nightune.tasks.workers.contract import FUTILE_STARTS, Ending, Place, WorkersLostError
from nightune.tasks.workers.dask_client import DaskClient
from nightune.tasks.workers.host import HANG_SECONDS, HELLO_SECONDS
from nightune.tasks.workers.job import Job, train_job
from nightune.tasks.workers.local_worker import DASK, LOOPBACK, Start
from nightune.tasks.workers.relay import TOPIC
from nightune.tasks.workers.silence import Silence

logger = logging.getLogger("nightune")

CLOSE_SECONDS = 1.0
LOOK_SECONDS = 1.0  # between two looks at the workers
GRACE_SECONDS = 3.0  # for stopped workers to end an epoch and to write what they have trained


@dataclass
class LocalWorker(Place):
    """A place for a worker, and the process that fills it now."""

    process: "subprocess.Popen[bytes]" = field(kw_only=True)


class LocalCrew:
    """Processes of this machine. They start with the first cohort, and are replaced where they die."""

    def __init__(self, command: Sequence[str], environments: Sequence[Mapping[str, str]], compiled: Path) -> None:
        """`command` starts a process that reads a pickled `Start` from its standard input and serves it.

        There is a worker for each environment.
        """
        self._command, self._environments, self._compiled = command, environments, compiled
        self.workers: list[LocalWorker] = []
        self.inbox: queue.SimpleQueue[logging.LogRecord | Ending] = queue.SimpleQueue()
        self._cluster: Any = None  # Dask's, which only the extra brings
        self._dask: DaskClient | None = None
        self._dask_settings = ExitStack()
        self._keys: dict[str, str] = {}
        self._looked_at = 0.0
        self._starting = Silence()  # of the processes that have not joined yet

    def start(self, _setting: Setting) -> None:
        """Start scheduler and workers, once."""
        if self._cluster is not None:
            return
        import dask  # noqa: PLC0415 - an extra
        from distributed import Client, LocalCluster  # noqa: PLC0415
        from distributed.security import Security  # noqa: PLC0415

        self._dask_settings.enter_context(dask.config.set(DASK))  # of the whole process: a notebook may use Dask itself
        keys = Security.temporary()
        names = ("tls_ca_file", *(f"tls_{role}_{part}" for role in ("client", "worker") for part in ("cert", "key")))
        self._keys = {name: getattr(keys, name) for name in names}
        self._cluster = LocalCluster(
            n_workers=0,
            host=LOOPBACK,
            protocol="tls://",
            dashboard_address=f"{LOOPBACK}:0",
            security=keys,
            silence_logs=logging.CRITICAL,
        )
        self._dask = DaskClient(Client(self._cluster, set_as_default=False), self.inbox, HANG_SECONDS)
        self._dask.subscribe(TOPIC)
        names_of_places = [f"worker-{place}" for place in range(1, len(self._environments) + 1)]
        self.workers = [LocalWorker(name, process=self._spawn(name)) for name in names_of_places]
        logger.info("%d workers start, each a process of its own", len(self.workers))

    def join(self) -> None:
        """Note the addresses of workers that have joined since, and kill those that hang."""
        if self._dask is None or time.monotonic() - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = time.monotonic()
        if (here := self._dask.workers()) is None:
            return
        addresses = {str(about["name"]): address for address, about in here.items()}
        for worker in self.workers:
            worker.address = worker.address or addresses.get(_process_name(worker.name, worker.process), "")
            silent = self._silent_seconds(worker, worker.address in here)
            if silent and worker.process.poll() is None:
                logger.warning("%s hangs: no sign of life for %.0f s", worker.name, silent)
                self.cut_off(worker)

    def _silent_seconds(self, worker: LocalWorker, is_here: bool) -> float:
        """Return the time without a sign of life after which a worker hangs; 0 for one that does not."""
        if worker.address:
            return 0.0 if is_here else HANG_SECONDS
        waited = self._starting.seconds(_process_name(worker.name, worker.process), "")
        return HELLO_SECONDS if waited > HELLO_SECONDS else 0.0

    def send(self, worker: LocalWorker, job: Job) -> Ending:
        """Send a job to a worker that has joined; the future comes into the inbox when it has ended."""
        assert self._dask is not None
        future = self._dask.submit(train_job, job, at=worker.address)
        future.add_done_callback(self.inbox.put)
        ending: Ending = future
        return ending

    def cut_off(self, worker: LocalWorker) -> None:
        """Kill a worker that does not answer, if it lives at all."""
        worker.process.kill()

    def dead(self) -> list[LocalWorker]:
        """Return the workers whose process has ended."""
        return [worker for worker in self.workers if worker.process.poll() is not None]

    def crash(self, worker: LocalWorker, setting: Setting, _job: Job | None) -> tuple[str, Crash | None]:
        """Return how a worker's process ended, and the crash that the record beside the study's lock tells."""
        code = worker.process.returncode
        cause = signal_name(-code) if code < 0 else f"exit code {code}"
        log = open_crash_log(setting.store.root, setting.study.name, worker.name)
        return cause, log.record_crash(worker.process.pid, cause)

    def replace(self, worker: LocalWorker, is_futile: bool) -> None:
        """Start a process in a dead worker's place; after several futile starts the place stays empty."""
        worker.futile_starts = worker.futile_starts + 1 if is_futile else 0
        worker.address = ""
        worker.held.clear()
        if worker.futile_starts < FUTILE_STARTS:
            worker.process = self._spawn(worker.name)
            return
        self.workers.remove(worker)
        if not self.workers:
            raise WorkersLostError(
                "no worker is left; each ended before it trained. Finished trials are kept. "
                "The lines above say why; correct the cause, or leave out --workers, and run the same command again"
            )

    def close(self) -> None:
        """End all workers within seconds: what they train stays unfinished, what they have trained is written."""
        until = time.monotonic() + GRACE_SECONDS
        for worker in self.workers:
            worker.process.terminate()
        try:
            for worker in self.workers:
                with suppress(subprocess.TimeoutExpired):
                    worker.process.wait(max(0.0, until - time.monotonic()))
        finally:
            for worker in self.workers:
                worker.process.kill()
                worker.process.wait()
            self._show_last_records()
            self._close_scheduler()

    def _spawn(self, name: str) -> "subprocess.Popen[bytes]":
        assert self._cluster is not None
        environment = self._environments[int(name.rpartition("-")[2]) - 1]
        process = subprocess.Popen(self._command, stdin=subprocess.PIPE, env=environment)
        start = Start(self._cluster.scheduler_address, self._keys, _process_name(name, process), self._compiled)
        assert process.stdin is not None
        with suppress(BrokenPipeError), process.stdin as sent:  # it has ended already
            sent.write(pickle.dumps(start))
        return process

    def _show_last_records(self) -> None:
        while not self.inbox.empty():
            if isinstance(record := self.inbox.get(), logging.LogRecord):
                logger.handle(record)

    def _close_scheduler(self) -> None:
        if self._dask is not None:
            self._dask.close(CLOSE_SECONDS)
        if self._cluster is not None:
            with suppress(Exception):  # the sweep has ended, and its processes are gone
                self._cluster.close(timeout=CLOSE_SECONDS)
        self._dask = self._cluster = None
        self._dask_settings.close()


def _process_name(place: str, process: "subprocess.Popen[bytes]") -> str:
    return f"{place}-{process.pid}"
