"""Lock a study: one sweep at a time."""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from nightune.tasks.tracking.store.errors import StudyBusyError
from nightune.tasks.tracking.store.lease import study_lease
from nightune.tasks.tracking.store.retry import retry_call
from nightune.tasks.tracking.store.store import Store, client, study_experiment

STUDY_LOCK_SECONDS = 2.0  # a killed holder takes a moment to exit


@contextmanager
def study_lock(store: Store, study_name: str) -> Iterator[None]:
    """Hold the study while the block runs; StudyBusyError if another process does.

    On one machine it is a lock of the operating system, released as soon as its holder exits in any way. In a store
    that machines share, a lease excludes other machines, too.
    """
    folder = store.root / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / f"{study_name}.json"
    try:
        with FileLock(folder / f"{study_name}.lock", timeout=STUDY_LOCK_SECONDS):
            holder = {"process": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%F %T")}
            try:
                retry_call(lambda: note.write_text(json.dumps(holder), encoding="utf-8"), str(store.root))
                with _lease(store, study_name):
                    yield
            finally:  # only a kill leaves it, which `nightune doctor` reports
                with suppress(OSError):
                    note.unlink(missing_ok=True)
    except Timeout:
        raise StudyBusyError(
            f"{study_name}: another sweep of this study is running ({_holder(note)}). "
            "Wait until it ends, or stop it; then run the same command again."
        ) from None


def _lease(store: Store, study_name: str) -> AbstractContextManager[None]:
    if store.is_local:
        return nullcontext()
    return study_lease(client(store), study_experiment(store, study_name), study_name)


def _holder(note: Path) -> str:
    try:
        held = json.loads(note.read_text(encoding="utf-8"))
        return f"process {held['process']} on {held['host']} since {held['since']}"
    except (OSError, ValueError, KeyError):
        return "by an unknown process"
