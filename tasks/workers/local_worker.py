"""The process of a worker: it imports Keras, joins the flow's scheduler, and trains what the flow sends."""

import asyncio
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightune.models.backend import load_keras
from nightune.models.kept_code import code_kept
from nightune.tasks.tracking.store.autologging import without_autologging
from nightune.tasks.workers.stopping import stop

# Nothing here decides about trials: Dask neither kills a worker for its memory, nor sends a cohort a second time, nor
# moves one from worker to worker. It serves no pages, and does not look into the threads that train.
DASK: dict[str, Any] = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-ttl": None,
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.worker.profile.enabled": False,
    "distributed.comm.timeouts.connect": "30s",
    "distributed.admin.tick.limit": "1h",  # a warning of Dask's where the interpreter was busy
    "distributed.admin.low-level-log-length": 100,  # entries of its logs, of which some hold the job that was sent
    "distributed.admin.log-length": 100,
}
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Start:
    """What a worker needs to begin: the scheduler's address, the keys of its connections, its name.

    A name is its place's and the number of its process: the next process in the same place has another one.
    """

    address: str
    keys: dict[str, str]
    name: str
    compiled: Path


def serve(start: Start) -> None:
    """Train what the scheduler sends until it has ended, or this process is stopped by SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal: the flow stops this one
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop())
    with code_kept(), without_autologging():
        load_keras(start.compiled)
        asyncio.run(_serve(start))


async def _serve(start: Start) -> None:
    import dask  # noqa: PLC0415 - an extra
    from distributed import Worker  # noqa: PLC0415
    from distributed.security import Security  # noqa: PLC0415

    with dask.config.set(DASK):
        worker = Worker(
            start.address,
            name=start.name,
            nthreads=1,
            host=LOOPBACK,
            dashboard_address=f"{LOOPBACK}:0",
            memory_limit=0,
            security=Security(require_encryption=True, **start.keys),
            silence_logs=50,
        )
        async with worker:
            await worker.finished()
