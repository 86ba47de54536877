"""Record which trial is training, so that a trial that crashes its process can be retried twice and then given up.

A trial that ends its process (a crash in native code, the kernel's out-of-memory killer) cannot report it. A file
beside the study's lock names the trial before it trains; the supervisor of the process reads there which trial crashed.
The files hold no results: those are in MLflow alone.
"""

import json
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from nightune.settings import read_settings
from nightune.tasks.tracking.store.retry import retry_call
from nightune.tuning.analysis.failures import CRASHED

MAX_ATTEMPTS = 3
ENGINE_CHOICE = "engine choice"  # recorded like a trial: it trains two of the trials for a step


@dataclass(frozen=True)
class Crash:
    """The last crash of a trial and the number of its crashes. If `is_final`, the trial is not retried."""

    trial: int
    count: int
    reason: str
    is_final: bool

    @property
    def subject(self) -> str:
        """The cause of the crash: the trial with its number, or the choice of the engine."""
        return ENGINE_CHOICE if self.trial < 0 else f"trial {self.trial}"

    @property
    def message(self) -> str:
        """The message for the user: the limit that the trial exceeded, or the cause and number of its crashes."""
        times = "" if self.count == 1 else f" {self.count} times"
        return self.reason if self.is_final and self.count == 1 else f"{CRASHED}{times}: {self.reason}"

    @property
    def attempt(self) -> str:
        """What follows from the crash: the attempt that failed, or that there is no further one."""
        return "given up" if self.is_final else f"attempt {self.count} of {MAX_ATTEMPTS}"


@dataclass(frozen=True)
class CrashLog:
    """The files of one study in a store: the trial in training, and the crashes of each trial.

    A worker has a record of its own of the trial in training, by its name; its flow counts the crashes of all.
    """

    folder: Path
    study: str
    worker: str = ""
    _in_training: Path = field(init=False)
    _crashes: Path = field(init=False)

    def __post_init__(self) -> None:
        owner = f"{self.study}.{self.worker}" if self.worker else self.study
        object.__setattr__(self, "_in_training", self.folder / f"{owner}.training.json")
        object.__setattr__(self, "_crashes", self.folder / f"{self.study}.deaths.json")

    @contextmanager
    def training(self, key: str, number: int) -> Iterator[None]:
        """Record the trial as in training while the block runs. The record remains if the process dies in the block."""
        _write(self._in_training, {"key": key, "trial": number, "process": os.getpid(), "limit": ""})
        try:
            yield
        finally:
            self._in_training.unlink(missing_ok=True)

    @contextmanager
    def choosing_engine(self) -> Iterator[None]:
        """Record, while the block runs, that trials are trained for a step to choose the engine."""
        with self.training(ENGINE_CHOICE, -1):
            yield

    def record_limit(self, reason: str) -> None:
        """Record the limit for which the process of the trial in training is about to be killed: it is not retried."""
        record = _read(self._in_training)
        if record:
            _write(self._in_training, {**record, "limit": reason})

    def record_crash(self, process: int, reason: str) -> Crash | None:
        """Count the crash of a process for the trial that it was training; return None if it trained none."""
        record = self.take_training(process)
        if record is None:
            return None
        crashes, limit = _read(self._crashes), str(record["limit"])
        count = 1 + int(crashes.get(str(record["key"]), {}).get("count", 0))
        crash = Crash(int(record["trial"]), count, limit or reason, bool(limit) or count >= MAX_ATTEMPTS)
        _write(self._crashes, {**crashes, str(record["key"]): asdict(crash)})
        return crash

    def take_training(self, process: int) -> dict[str, Any] | None:
        """Return and delete the record of the trial that a process was training: key, trial, limit; None without."""
        record = _read(self._in_training)
        self._in_training.unlink(missing_ok=True)
        return record if record.get("process") == process else None

    def record_unsupervised_crash(self, reason: str) -> Crash | None:
        """Count the crash of a process without supervisor; None if the process still runs or no trial was training."""
        process = _read(self._in_training).get("process")
        return None if process is None or psutil.pid_exists(process) else self.record_crash(process, reason)

    def clear_training(self) -> None:
        """Delete the records of trials in training: their processes were stopped on purpose, which is no crash."""
        self._in_training.unlink(missing_ok=True)
        for left in self.folder.glob(f"{self.study}.worker-*.training.json"):
            left.unlink(missing_ok=True)

    def engine_crashes(self) -> int:
        """Return how many times the choice of the engine has crashed its process."""
        return int(_read(self._crashes).get(ENGINE_CHOICE, {}).get("count", 0))

    def final_crash(self, key: str) -> Crash | None:
        """Return the last crash of a trial that has been given up; None if the trial may be trained."""
        values = _read(self._crashes).get(key)
        crash = Crash(**values) if values else None
        return crash if crash is not None and crash.is_final else None

    def has_crashes(self) -> bool:
        """Return whether any trial, or the choice of the engine, has crashed its process and may be trained again."""
        return bool(_read(self._crashes))

    def clear_crashes(self, keys: Iterable[str]) -> None:
        """Forget the crashes of these trials, and of the choice of the engine: they may be trained again."""
        gone = {*keys, ENGINE_CHOICE}
        if crashes := _read(self._crashes):
            _write(self._crashes, {key: value for key, value in crashes.items() if key not in gone})

    def clear(self) -> None:
        """Delete all records: the sweep is complete."""
        self.clear_training()
        self._crashes.unlink(missing_ok=True)


def signal_name(number: int) -> str:
    """Return the name of a signal that killed a process, with its usual reason."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"{name}, perhaps out of memory" if number == signal.SIGKILL else name


def is_supervised() -> bool:
    """Return True in a process that is restarted if a trial crashes it."""
    return read_settings().supervisor is not None


def open_crash_log(store_root: Path, study: str, worker: str = "") -> CrashLog:
    """Return the crash log of a study in a store, or that of a worker; create its folder if it is missing."""
    folder = store_root / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return CrashLog(folder, study, worker)


def _read(path: Path) -> dict:  # type: ignore[type-arg] # JSON
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _write(path: Path, values: dict[str, object]) -> None:
    """Replace the file atomically: a crash while writing leaves the previous file."""
    half = path.with_suffix(f".{os.getpid()}.half")

    def write() -> None:
        half.write_text(json.dumps(values), encoding="utf-8")
        half.replace(path)

    retry_call(write, str(path.parent))
