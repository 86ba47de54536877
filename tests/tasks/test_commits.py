"""Records of trials are committed without a wait for the disk, all else with one; other databases are left alone."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, text

from nightune.tasks.tracking.store.background_writer import BackgroundWriter
from nightune.tasks.tracking.store.commits import prepare_commits, without_waiting
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.ends import end_search
from nightune.tasks.tracking.sweeps.sweeps import Sweep, interrupt_sweep

NORMAL, FULL = 1, 2


def synchronous_of(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("PRAGMA synchronous")).scalar_one())


@contextmanager
def commits() -> Iterator[list[int]]:
    """Note how each commit of the block to MLflow's database waits."""
    found: list[int] = []

    def note(connection: Any) -> None:
        found.append(int(connection.exec_driver_sql("PRAGMA synchronous").scalar_one()))

    event.listen(Engine, "commit", note)
    try:
        yield found
    finally:
        event.remove(Engine, "commit", note)


def test_what_a_command_announces_waits_for_the_disk_and_a_record_does_not(store: Store, sweep: Sweep) -> None:
    tag = partial(client(store).set_tag, sweep.run_id, "place", "hall")
    with BackgroundWriter[None]() as writer, commits() as of_records:
        writer.submit(tag)
        writer.wait()
    with commits() as of_the_command:  # by connections that wrote records, too
        end_search(store, sweep, "hours", 8, 3)
        interrupt_sweep(store, sweep)
        client(store).create_registered_model("flowers")
    assert set(of_records) == {NORMAL}
    assert set(of_the_command) == {FULL}


@pytest.mark.parametrize(("mode", "expected"), [("wal", NORMAL), ("delete", FULL)])
def test_a_database_that_is_named_does_not_wait_if_it_has_a_write_ahead_log(
    tmp_path: Path, mode: str, expected: int
) -> None:
    named, other = tmp_path / "named.db", tmp_path / "other.db"
    for database in (named, other):
        with closing(sqlite3.connect(database)) as connection:
            connection.execute(f"PRAGMA journal_mode={mode}")
    prepare_commits(f"sqlite:///{named.as_posix()}")
    engines = [create_engine(f"sqlite:///{database.as_posix()}") for database in (named, other)]
    found = []
    for block in (without_waiting(), nullcontext(), without_waiting()):
        with block:
            found.append([synchronous_of(engine) for engine in engines])
    assert found == [[expected, FULL], [FULL, FULL], [expected, FULL]]
