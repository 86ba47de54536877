"""Relocate a moved or copied store: MLflow stores absolute artifact addresses, which then point to the old folder."""

import sqlite3
from contextlib import closing
from pathlib import Path

# The tables and columns of MLflow that hold artifact addresses.
ADDRESS_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
EXPERIMENT_ADDRESSES = "select name, artifact_location from experiments where artifact_location like 'file://%'"


def relocate(root: Path) -> str | None:
    """Rewrite the addresses in a store's database to its present folder; return the old address if it differs.

    One transaction: after a kill the old addresses remain, and the next start rewrites them.
    """
    with closing(sqlite3.connect(root / "mlflow.db")) as database, database:
        old = _old_address(database, root)
        if old is None:
            return None
        tables = {name for (name,) in database.execute("select name from sqlite_master where type = 'table'")}
        for table, column in ADDRESS_COLUMNS:
            if table in tables:
                database.execute(
                    f"update {table} set {column} = ? || substr({column}, ?) where {column} like ? escape '\\'",
                    (_address(root), len(old) + 1, f"{_literal(old)}/%"),
                )
    return old


def _old_address(database: sqlite3.Connection, root: Path) -> str | None:
    """Return the address of the folder that held our experiments' artifacts, or None if it is the present one."""
    for name, location in database.execute(EXPERIMENT_ADDRESSES):
        place = str(location).removesuffix(f"/{name}")
        if place != location and place.endswith("/artifacts") and place != _address(root):
            return place
    return None


def _address(root: Path) -> str:
    return (root / "artifacts").as_uri()


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
