import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from nightune.tasks.tracking.store import prepared_databases, store
from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.tracking.store.prepared_databases import place_prepared, script_of
from nightune.tasks.tracking.store.store import client, open_store
from tests.prepare_databases import CLEARED, migrated

KILLED = """
import os, pathlib, signal, sys
from nightune.tasks.tracking.store.store import open_store
pathlib.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
open_store(pathlib.Path(sys.argv[1]))
"""


def objects(database: sqlite3.Connection) -> list[object]:
    """Tables, indexes and versions of a database. Migrations write the constraints of a table in any order."""
    objects = database.execute("select type, name, tbl_name, coalesce(sql, '') from sqlite_master")
    lines = [(*names, sorted(line.strip(" ,\t") for line in sql.splitlines())) for *names, sql in objects]
    return sorted([*lines, *database.execute("select * from alembic_version")], key=str)


def objects_of(script: str) -> list[object]:
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(script)
        return objects(database)


def rows_of(script: str) -> list[str]:
    return sorted(line for line in script.splitlines() if line.startswith("INSERT"))


@pytest.mark.nights
def test_prepared_script_makes_what_the_migrations_of_the_installed_prefect_make() -> None:
    script, expected = script_of("prefect").read_text(encoding="utf-8"), migrated("prefect")
    assert objects_of(script) == objects_of(expected)
    assert rows_of(script) == rows_of(expected)


def rows_without_experiments(root: Path) -> list[str]:
    with closing(sqlite3.connect(root / "mlflow.db")) as made, closing(sqlite3.connect(":memory:")) as database:
        made.backup(database)
        database.executescript(CLEARED["mlflow"])
        return rows_of("\n".join(database.iterdump()))


@pytest.mark.nights
def test_store_is_the_same_with_and_without_a_prepared_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the script makes what the migrations of the installed MLflow make."""
    prepared, script = open_store(tmp_path / "prepared"), script_of("mlflow").read_text(encoding="utf-8")
    monkeypatch.setattr(prepared_databases.metadata, "version", lambda name: "999")
    assert not place_prepared("mlflow", tmp_path / "new.db")
    assert not list(tmp_path.glob("*new*"))
    other = open_store(tmp_path / "migrated")
    assert rows_of(script) == rows_without_experiments(other.root)
    tables = []
    for opened in (prepared, other):
        with closing(sqlite3.connect(opened.root / "mlflow.db")) as database:
            tables.append(objects(database))
        assert [(each.experiment_id, each.name) for each in client(opened).search_experiments()] == [("0", "Default")]
        created = client(opened).create_experiment(
            "one", artifact_location=(opened.root / "artifacts" / "one").as_uri()
        )
        assert created == "1"
    assert tables[0] == tables[1]


@pytest.mark.parametrize(("name", "table"), [("prefect", "flow_run"), ("mlflow", "runs")])
def test_database_of_the_installed_version_is_placed_complete(name: str, table: str, tmp_path: Path) -> None:
    """What its migrations make is compared at night."""
    assert place_prepared(name, tmp_path / f"{name}.db")
    with closing(sqlite3.connect(tmp_path / f"{name}.db")) as opened:
        assert opened.execute("pragma integrity_check").fetchone() == ("ok",)
        assert opened.execute(f"select count(*) from {table}").fetchone() == (0,)
    assert [file.name for file in tmp_path.iterdir()] == [f"{name}.db"]


def test_no_database_of_another_version_is_placed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared_databases.metadata, "version", lambda name: "999")
    assert not place_prepared("mlflow", tmp_path / "new.db")
    assert not list(tmp_path.iterdir())


def test_kill_before_the_database_has_its_name_leaves_a_folder_that_becomes_a_store(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "mlflow.db").exists()
    assert [each.name for each in client(open_store(tmp_path)).search_experiments()] == ["Default"]
    assert not list(tmp_path.glob(".*.new"))


def test_full_disk_while_a_store_is_created_is_an_error_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> bool:
        raise OSError(os.strerror(28))

    monkeypatch.setattr(store, "place_prepared", full)
    with pytest.raises(StoreError, match="No space left"):
        open_store(tmp_path)
