"""Create the databases of MLflow and Prefect from prepared scripts: their migrations of an empty one take seconds.

A script holds the tables, and the few rows, that all migrations of one version leave in an empty SQLite database.
`python tests/prepare_databases.py` writes the scripts of the installed versions.
"""

import sqlite3
from contextlib import closing
from importlib import metadata
from pathlib import Path

SCRIPTS = Path(__file__).with_name("prepared")


def place_prepared(package: str, database: Path) -> bool:
    """Create the empty database of the installed version of a package; False, and no file, without a script for it.

    The caller holds a lock. The file appears complete, or not at all. OSError if it cannot be written.
    """
    script = script_of(package)
    if not script.exists():
        return False
    with closing(sqlite3.connect(":memory:")) as made:
        made.executescript(script.read_text(encoding="utf-8"))
        content = made.serialize()
    part = database.with_name(f".{database.name}.new")  # a kill may leave it: the next start overwrites it
    try:
        part.write_bytes(content)
        part.replace(database)
    finally:
        part.unlink(missing_ok=True)
    return True


def script_of(package: str) -> Path:
    """Return where the script for the installed version of a package is, if there is one."""
    return SCRIPTS / f"{package}-{metadata.version(package)}.sql"
