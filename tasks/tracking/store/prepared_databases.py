"""Keep the empty databases of MLflow and of Prefect for the next new stores: their migrations take seconds.

A database is kept in a folder of the user, under the name of its package with the versions that made it and a digest
of its content. One of other versions is never used; a damaged one is deleted and made anew.
"""

import hashlib
import os
import sqlite3
import tempfile
from contextlib import closing, suppress
from importlib import metadata
from pathlib import Path

DIGEST_BYTES = 16


def place_prepared(package: str, database: Path) -> bool:
    """Write the package's kept database to a file that does not exist; False if none is kept, and nothing is written.

    The caller holds a lock, so that one process creates the file. OSError if the file cannot be written.
    """
    content = _kept(package)
    if content is None:
        return False
    part = database.with_name(f".{database.name}.{os.getpid()}")
    try:
        part.write_bytes(content)
        part.replace(database)
    finally:
        part.unlink(missing_ok=True)
    return True


def keep_prepared(package: str, database: Path, statement: str = "") -> None:
    """Keep a copy of an empty database that the package has just made, after an SQL statement on the copy.

    Where the user's folder cannot be written nothing is kept.
    """
    with suppress(OSError, sqlite3.Error, RuntimeError):  # RuntimeError: no home
        folder = _folder()
        folder.mkdir(parents=True, exist_ok=True)
        opened, name = tempfile.mkstemp(prefix=f".{package}-", dir=folder)
        os.close(opened)
        part = Path(name)
        try:
            with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(part)) as copy:
                source.backup(copy)
                copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
                with copy:
                    copy.execute(statement)
            part.replace(folder / _name(package, part.read_bytes()))
        finally:
            part.unlink(missing_ok=True)


def _kept(package: str) -> bytes | None:
    """Return the content of the package's kept database, or None; delete those that are damaged."""
    with suppress(OSError, RuntimeError):
        for kept in _folder().glob(f"{_versions(package)}-*.db"):
            content = kept.read_bytes()
            if kept.name == _name(package, content):
                return content
            kept.unlink()
    return None


def _folder() -> Path:
    """The user's folder for what can be made anew; RuntimeError if the user has no home."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(named) if Path(named).is_absolute() else Path.home() / ".cache") / "nightune" / "databases"


def _versions(package: str) -> str:
    """The versions on which the content of a new database depends."""
    parts = [f"{name}-{metadata.version(name)}" for name in (package, "alembic", "sqlalchemy")]
    return "-".join([*parts, f"sqlite-{sqlite3.sqlite_version}"])


def _name(package: str, content: bytes) -> str:
    return f"{_versions(package)}-{hashlib.blake2b(content, digest_size=DIGEST_BYTES).hexdigest()}.db"
