"""Start the processes of workers, and be one: `python -m nightune.flows.runtime.worker_process`."""

import os
import pickle
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from nightune.flows.runtime.processes import follow
from nightune.settings import SUPERVISOR, read_settings
from nightune.tasks.child_environment import child_environment

if TYPE_CHECKING:
    from nightune.tasks.workers.sweep_workers import CrewOfSweep

MODULE = "nightune.flows.runtime.worker_process"
COMMAND = (sys.executable, "-P", "-m", MODULE)  # -P: without the working folder


def worker_environment() -> dict[str, str]:
    """Return the environment of a worker: this process replaces it where it dies, and ends it by ending itself."""
    return child_environment() | {SUPERVISOR: str(os.getpid())}


def provided_workers(
    environments: Sequence[Mapping[str, str]], cluster: str | None, compiled: Path
) -> AbstractContextManager["CrewOfSweep | None"]:
    """Provide the workers of a cluster, or local ones, each with its part of the environment; None for one process."""
    from nightune.tasks.workers.sweep_workers import cluster_workers, local_workers  # noqa: PLC0415 - not for a child

    if cluster is not None:
        return cluster_workers(cluster, MODULE)
    return local_workers(COMMAND, [worker_environment() | dict(each) for each in environments], compiled)


def main() -> None:
    """Serve the flow, or the host of a cluster's worker, that has started this process, and end with it."""
    parent = read_settings().supervisor
    assert parent is not None, "started by a flow only"
    follow(parent)
    from nightune.flows.runtime.environment import prepare_environment  # noqa: PLC0415 - after the parent is followed
    from nightune.tasks.workers.hosted import serve_hosted  # noqa: PLC0415
    from nightune.tasks.workers.local_worker import Start, serve  # noqa: PLC0415

    prepare_environment(creates_store=False, asks_store=False)
    start = pickle.load(sys.stdin.buffer)  # from the parent alone
    serve(start) if isinstance(start, Start) else serve_hosted(start)


if __name__ == "__main__":
    main()
