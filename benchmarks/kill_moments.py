"""The phases of a sweep and a promotion, detected by changes in the store, so that kills can be aimed at them."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

Sign = Callable[[Path], object]
AT_ONCE, SOON, WIDE = 0.05, 0.5, 5.0  # a kill comes at most so many seconds after the sign


@dataclass(frozen=True)
class Phase:
    """A phase begins when its sign changes; once `over` is true of a store, it does not recur.

    A moment has the same function for both: the phase follows it, in the process that causes it.
    """

    name: str
    stage: str
    sign: Sign
    over: Sign
    spread_seconds: float

    @property
    def is_moment(self) -> bool:
        """True for a phase that begins where others would be over, and for one that begins with its process."""
        return self.over is self.sign


def ask(store: Path, question: str) -> list[tuple[object, ...]]:
    """Query the store's database without writing to it; return an empty list while it cannot answer."""
    database = store / "mlflow.db"
    if not database.exists():
        return []
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=0.1)) as connection:
            return connection.execute(question).fetchall()
    except sqlite3.Error:
        return []


def answer(question: str) -> Sign:
    """Return the result of a query as a sign."""
    return lambda store: ask(store, question)


def tagged(name: str, value: str) -> Sign:
    """Return the number of runs with this value of our tag as a sign; it is false for none."""
    question = f"select 1 from tags where key = 'nightune.{name}' and value = '{value}'"
    return lambda store: len(ask(store, question))


def entries(pattern: str) -> Sign:
    """Return the names of the files that match a pattern as a sign."""
    return lambda store: sorted(path.name for path in store.glob(pattern))


def contents(pattern: str) -> Sign:
    """Return the contents of the files that match a pattern as a sign; files may disappear."""

    def read(store: Path) -> list[str]:
        try:
            return [path.read_text(encoding="utf-8") for path in store.glob(pattern)]
        except OSError:
            return []

    return read


def never(_store: Path) -> bool:
    """Return False: the phase occurs in every process."""
    return False


IS_COMPLETE = tagged("status", "complete")  # of a sweep; a trial is "completed"
HAS_VERSION = answer("select 1 from model_versions")
IS_STUDIED = answer("select 1 from experiments where name <> 'Default'")

PHASES = (
    Phase("start", "tune", never, never, WIDE),
    Phase("store creation", "tune", answer("select count(*) from sqlite_master"), IS_STUDIED, SOON),
    Phase("data preparation", "tune", entries("data/*"), entries("data/[!.]*"), AT_ONCE),
    Phase("training", "tune", contents("locks/*.training.json"), IS_COMPLETE, AT_ONCE),
    Phase("checkpoint", "tune", entries("artifacts/*/*/artifacts/checkpoint"), IS_COMPLETE, AT_ONCE),
    Phase("logging", "tune", answer("select count(*) from metrics"), IS_COMPLETE, AT_ONCE),
    Phase("confirmation", "tune", tagged("kind", "replicate"), IS_COMPLETE, SOON),
    Phase("end of the sweep", "tune", IS_COMPLETE, IS_COMPLETE, AT_ONCE),
    Phase("start of promotion", "promote", never, never, WIDE),
    Phase("verdict", "promote", answer("select value from tags where key = 'nightune.test_reads'"), never, SOON),
    Phase("model", "promote", answer("select 1 from logged_models"), HAS_VERSION, SOON),
    Phase("version", "promote", HAS_VERSION, HAS_VERSION, SOON),
    Phase(
        "alias",
        "promote",
        answer("select 1 from model_version_tags"),
        answer("select 1 from registered_model_aliases"),
        AT_ONCE,
    ),
)


def begins_at_once(phase: Phase) -> bool:
    """True for a phase without a sign: it begins with the process."""
    return phase.sign is never
