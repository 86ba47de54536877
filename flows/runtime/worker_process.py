"""Start the processes of local workers, and be one: `python -m nightune.flows.runtime.worker_process`."""

import os
import pickle
import sys

from nightune.flows.runtime.processes import child_environment, follow
from nightune.settings import SUPERVISOR, read_settings

COMMAND = (sys.executable, "-P", "-m", "nightune.flows.runtime.worker_process")  # -P: without the working folder


def worker_environment() -> dict[str, str]:
    """Return the environment of a worker: this process replaces it where it dies, and ends it by ending itself."""
    return child_environment() | {SUPERVISOR: str(os.getpid())}


def main() -> None:
    """Serve the flow that has started this process, and end with it."""
    parent = read_settings().supervisor
    assert parent is not None, "started by a flow only"
    follow(parent)
    from nightune.flows.runtime.environment import prepare_environment  # noqa: PLC0415 - after the parent is followed
    from nightune.tasks.workers.process import serve  # noqa: PLC0415

    prepare_environment(creates_store=False, asks_store=False)
    serve(pickle.load(sys.stdin.buffer))  # from the flow alone


if __name__ == "__main__":
    main()
