"""Commit to a store's SQLite database without a wait for the disk.

SQLite waits by default until each commit is on the disk: 2 to 7 ms, and the record of a trial is six commits. In a
database with a write-ahead log (`PRAGMA synchronous=NORMAL`) it waits where it moves the log into the file. A process
that is killed loses nothing; a machine that loses its power may lose the last commits, whose trials train again.
"""

import sqlite3
from functools import partial
from pathlib import Path
from typing import Any


def commit_without_waiting(tracking_uri: str) -> None:
    """Let this process's later connections to a store's database not wait for the disk, if it is one of SQLite."""
    if not tracking_uri.startswith("sqlite:"):
        return
    from sqlalchemy import event  # noqa: PLC0415 - as MLflow, which imports it: takes a moment
    from sqlalchemy.engine import Engine, make_url  # noqa: PLC0415

    if file := make_url(tracking_uri).database:
        event.listen(Engine, "connect", partial(_prepare, Path(file).resolve()))


def _prepare(database: Path, connection: Any, _record: object) -> None:
    """Prepare a new connection. Without a write-ahead log, a loss of power could damage the file: nothing changes."""
    if isinstance(connection, sqlite3.Connection):
        _, _, file = connection.execute("PRAGMA database_list").fetchone()
        if file and Path(file) == database and connection.execute("PRAGMA journal_mode").fetchone() == ("wal",):
            connection.execute("PRAGMA synchronous=NORMAL")
