"""Which trial is in training, so that one that takes its process down is known, tried again twice, and then given up.

A trial that ends its process (a crash in native code, the kernel's out-of-memory killer) cannot say so itself. It is
noted in a file beside the study's lock before it trains; whoever watches the process reads there whose death it was.
Nothing of a result is kept here: what a trial gave is in MLflow alone.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from nightune.settings import read_settings
from nightune.tasks.tracking.store.retry import retry_call

ALLOWED_DEATHS = 3
ENGINE_CHOICE = "engine choice"  # noted like a trial: it trains two of the trials, for a step


@dataclass(frozen=True)
class Death:
    """How often a trial has taken its process down. A trial over a limit of the study's is not tried again."""

    trial: int
    count: int
    reason: str
    is_final: bool

    @property
    def subject(self) -> str:
        """Whose death it was."""
        return ENGINE_CHOICE if self.trial < 0 else f"trial {self.trial}"

    @property
    def message(self) -> str:
        """What to tell of it."""
        times = "" if self.count == 1 else f", {self.count} times"
        return self.reason if self.is_final and self.count == 1 else f"took its process down{times}: {self.reason}"


@dataclass(frozen=True)
class Attempts:
    """The notes on one study's trials in a store: the one in training, and the deaths of its process."""

    folder: Path
    study: str
    _in_training: Path = field(init=False)
    _deaths: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_in_training", self.folder / f"{self.study}.training.json")
        object.__setattr__(self, "_deaths", self.folder / f"{self.study}.deaths.json")

    @contextmanager
    def training(self, key: str, number: int) -> Iterator[None]:
        """Note the trial while the block runs. The note stays if the process dies in it."""
        self._note({"key": key, "trial": number, "process": os.getpid(), "limit": ""})
        try:
            yield
        finally:
            self._in_training.unlink(missing_ok=True)

    @contextmanager
    def choosing_engine(self) -> Iterator[None]:
        """Note that trials are tried out to choose the engine while the block runs."""
        with self.training(ENGINE_CHOICE, -1):
            yield

    def condemn(self, reason: str) -> None:
        """Note that the trial in training is about to be ended with its process, and why: it is not tried again."""
        note = _read(self._in_training)
        if note:
            self._note({**note, "limit": reason})

    def record_death(self, process: int, reason: str) -> Death | None:
        """Count the death of a process against the trial it was training; None if it trained none."""
        note = _read(self._in_training)
        self._in_training.unlink(missing_ok=True)
        if note.get("process") != process:
            return None
        deaths, limit = _read(self._deaths), str(note["limit"])
        count = 1 + int(deaths.get(str(note["key"]), {}).get("count", 0))
        death = Death(int(note["trial"]), count, limit or reason, bool(limit) or count >= ALLOWED_DEATHS)
        _write(self._deaths, {**deaths, str(note["key"]): asdict(death)})
        return death

    def record_lost(self, reason: str) -> Death | None:
        """Count the death of a process that nobody waited for; None if the noted one lives, or none was noted."""
        process = _read(self._in_training).get("process")
        return None if process is None or psutil.pid_exists(process) else self.record_death(process, reason)

    def pardon(self) -> None:
        """Drop the note of the trial in training: its process was ended by somebody's wish."""
        self._in_training.unlink(missing_ok=True)

    def engine_deaths(self) -> int:
        """How often the choice of the engine has taken its process down."""
        return int(_read(self._deaths).get(ENGINE_CHOICE, {}).get("count", 0))

    def given_up(self, key: str) -> Death | None:
        """Return the last death of a trial that is not to be tried again; None where it may be trained."""
        noted = _read(self._deaths).get(key)
        death = Death(**noted) if noted else None
        return death if death is not None and death.is_final else None

    def forget(self) -> None:
        """Drop all notes: the sweep is complete."""
        self._in_training.unlink(missing_ok=True)
        self._deaths.unlink(missing_ok=True)

    def _note(self, values: dict[str, object]) -> None:
        _write(self._in_training, values)


def is_supervised() -> bool:
    """True in a process that is started again if a trial takes it down."""
    return read_settings().supervisor is not None


def attempts_of(store_root: Path, study: str) -> Attempts:
    """The notes of a study in a store; the folder is made if there is none."""
    folder = store_root / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return Attempts(folder, study)


def _read(path: Path) -> dict:  # type: ignore[type-arg] # JSON
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _write(path: Path, values: dict[str, object]) -> None:
    """Put the values in place whole: a death in the middle leaves the note that was there."""
    half = path.with_suffix(f".{os.getpid()}.half")

    def write() -> None:
        half.write_text(json.dumps(values), encoding="utf-8")
        half.replace(path)

    retry_call(write, str(path.parent))
