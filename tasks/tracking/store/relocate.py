"""A store that was moved or copied: MLflow keeps absolute addresses of artifacts, which then point at the old place."""

import sqlite3
from contextlib import closing
from pathlib import Path

# Where MLflow's tables hold addresses of artifacts.
ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
OURS = "select name, artifact_location from experiments where artifact_location like 'file://%'"


def relocate(root: Path) -> str | None:
    """Let the addresses in a store's database point into the folder that it lies in; return the old one, if another.

    One transaction: a kill leaves the old addresses, and the next start does it.
    """
    with closing(sqlite3.connect(root / "mlflow.db")) as database, database:
        old = _old_place(database, root)
        if old is None:
            return None
        tables = {name for (name,) in database.execute("select name from sqlite_master where type = 'table'")}
        for table, column in ADDRESSES:
            if table in tables:
                database.execute(
                    f"update {table} set {column} = ? || substr({column}, ?) where {column} like ? escape '\\'",
                    (_address(root), len(old) + 1, f"{_literal(old)}/%"),
                )
    return old


def _old_place(database: sqlite3.Connection, root: Path) -> str | None:
    """The address of the folder that our experiments' artifacts were in, if it is not this one."""
    for name, location in database.execute(OURS):
        place = str(location).removesuffix(f"/{name}")
        if place != location and place.endswith("/artifacts") and place != _address(root):
            return place
    return None


def _address(root: Path) -> str:
    return (root / "artifacts").as_uri()


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
