"""Copy a store that a module of tests has filled once, in place of training its sweep again in each test."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path


def copy_store(template: Path, folder: Path) -> None:
    """Copy a folder with a store `mlruns`, study and data into another one that is empty or does not exist.

    MLflow keeps absolute paths: those below the template become paths below the new folder. It also remembers where
    the artifacts of a run are, by the run's ID.
    """
    from mlflow.tracking._tracking_service import utils

    utils._artifact_repos_cache.clear()
    shutil.copytree(template, folder, dirs_exist_ok=True)
    with closing(sqlite3.connect(folder / "mlruns" / "mlflow.db")) as database, database:
        for table, column in _texts(database):
            database.execute(
                f'update "{table}" set "{column}" = replace("{column}", ?, ?) where instr("{column}", ?)',
                (str(template), str(folder), str(template)),
            )


def _texts(database: sqlite3.Connection) -> list[tuple[str, str]]:
    """Return the tables and columns of texts."""
    return database.execute(
        "select tables.name, columns.name from sqlite_master as tables, pragma_table_info(tables.name) as columns"
        " where tables.type = 'table' and (columns.type like '%CHAR%' or columns.type like '%TEXT%')"
    ).fetchall()
