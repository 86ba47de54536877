"""The store's database commits to its write-ahead log without a wait for the disk; other databases are left alone."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from nightune.tasks.tracking.store.commits import commit_without_waiting
from nightune.tasks.tracking.store.store import Store, client

NORMAL, FULL = 1, 2


def synchronous_of(database: Path) -> int:
    with create_engine(f"sqlite:///{database.as_posix()}").connect() as connection:
        return int(connection.execute(text("PRAGMA synchronous")).scalar_one())


def test_the_store_of_a_command_does_not_wait(store: Store) -> None:
    client(store).search_experiments(max_results=1)
    assert synchronous_of(store.root / "mlflow.db") == NORMAL


@pytest.mark.parametrize(("mode", "expected"), [("wal", NORMAL), ("delete", FULL)])
def test_a_database_that_is_named_does_not_wait_if_it_has_a_write_ahead_log(
    tmp_path: Path, mode: str, expected: int
) -> None:
    named, other = tmp_path / "named.db", tmp_path / "other.db"
    for database in (named, other):
        with closing(sqlite3.connect(database)) as connection:
            connection.execute(f"PRAGMA journal_mode={mode}")
    commit_without_waiting(f"sqlite:///{named.as_posix()}")
    assert (synchronous_of(named), synchronous_of(other)) == (expected, FULL)
