"""Write the scripts from which new stores are created: run it after a change of the pinned MLflow or Prefect.

python tests/prepare_databases.py
"""

import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from nightune.tasks.tracking.store.prepared_databases import SCRIPTS, script_of

MIGRATED_BY_MLFLOW = """
import sys
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
SqlAlchemyStore(f"sqlite:///{sys.argv[1]}", sys.argv[2])
"""
MIGRATED_BY_PREFECT = """
import asyncio
from prefect.server.database import provide_database_interface
asyncio.run(provide_database_interface().create_db())
"""
CLEARED = {"mlflow": "delete from experiments", "prefect": ""}  # MLflow's holds a folder: it creates one when it opens


def main() -> None:
    """Replace all scripts by those of the installed versions."""
    SCRIPTS.mkdir(exist_ok=True)
    for left in SCRIPTS.glob("*.sql"):
        left.unlink()
    for package in CLEARED:
        script_of(package).write_text(migrated(package), encoding="utf-8")


def migrated(package: str) -> str:
    """Return the script of an empty database that the package's own migrations have made."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "made.db"
        address = f"sqlite+aiosqlite:///{file.as_posix()}"
        settings = os.environ | {"PREFECT_HOME": name, "PREFECT_SERVER_DATABASE_CONNECTION_URL": address}
        code = {"mlflow": MIGRATED_BY_MLFLOW, "prefect": MIGRATED_BY_PREFECT}[package]
        subprocess.run([sys.executable, "-c", code, str(file), name], env=settings, check=True, capture_output=True)
        with closing(sqlite3.connect(file)) as database, database:
            database.executescript(CLEARED[package])
            return "\n".join([*database.iterdump(), ""])


if __name__ == "__main__":
    main()
