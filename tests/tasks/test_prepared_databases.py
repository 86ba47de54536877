import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from nightune.tasks.tracking.store import prepared_databases
from nightune.tasks.tracking.store.prepared_databases import keep_prepared, place_prepared
from nightune.tasks.tracking.store.store import client, open_store


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "nightune" / "databases"


def database_of(folder: Path, value: int = 1) -> Path:
    database = folder / "made.db"
    with closing(sqlite3.connect(database)) as made, made:
        made.execute("create table numbers (value integer)")
        made.execute("insert into numbers values (?)", (value,))
    return database


def values(database: Path) -> list[int]:
    with closing(sqlite3.connect(database)) as opened:
        return [value for (value,) in opened.execute("select value from numbers")]


def test_kept_database_is_placed(cache: Path, tmp_path: Path) -> None:
    assert not place_prepared("mlflow", tmp_path / "new.db")
    keep_prepared("mlflow", database_of(tmp_path))
    assert place_prepared("mlflow", tmp_path / "new.db")
    assert values(tmp_path / "new.db") == [1]
    assert not place_prepared("prefect", tmp_path / "other.db")
    assert len(list(cache.iterdir())) == 1


def test_statement_changes_the_copy_only(cache: Path, tmp_path: Path) -> None:
    made = database_of(tmp_path)
    keep_prepared("mlflow", made, "delete from numbers")
    place_prepared("mlflow", tmp_path / "new.db")
    assert values(tmp_path / "new.db") == []
    assert values(made) == [1]


@pytest.mark.parametrize("damage", [b"", b"SQLite format 3\0 and no more", None])
def test_damaged_database_is_deleted_and_not_used(cache: Path, tmp_path: Path, damage: bytes | None) -> None:
    keep_prepared("mlflow", database_of(tmp_path))
    (kept,) = cache.iterdir()
    content = bytearray(kept.read_bytes())
    content[-1] ^= 1
    kept.write_bytes(content if damage is None else damage)
    assert not place_prepared("mlflow", tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()
    assert not list(cache.iterdir())


def test_database_of_another_version_is_not_used(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_prepared("mlflow", database_of(tmp_path))
    monkeypatch.setattr(prepared_databases.metadata, "version", lambda name: "999")
    assert not place_prepared("mlflow", tmp_path / "new.db")
    assert len(list(cache.iterdir())) == 1


def test_folder_that_cannot_be_written_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    keep_prepared("mlflow", database_of(tmp_path))
    assert not place_prepared("mlflow", tmp_path / "new.db")


def test_two_writers_leave_one_database_that_can_be_placed(cache: Path, tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for number, folder in enumerate(folders):
        folder.mkdir()
        database_of(folder, number)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda folder: keep_prepared("mlflow", folder / "made.db"), folders * 5))
    assert place_prepared("mlflow", tmp_path / "new.db")
    assert values(tmp_path / "new.db") in ([0], [1])
    assert not [file for file in cache.iterdir() if file.name.startswith(".")]


def test_stores_made_from_a_kept_database_have_addresses_of_their_own(cache: Path, tmp_path: Path) -> None:
    first, second = open_store(tmp_path / "first"), open_store(tmp_path / "second")
    assert len(list(cache.iterdir())) == 1
    tables = []
    for store in (first, second):
        client(store).create_experiment("one", artifact_location=(store.root / "artifacts" / "one").as_uri())
        experiments = {each.experiment_id: each.name for each in client(store).search_experiments()}
        assert experiments == {"0": "Default", "1": "one"}
        with closing(sqlite3.connect(store.root / "mlflow.db")) as opened:
            tables.append(sorted(opened.execute("select name, sql from sqlite_master").fetchall()))
            assert not opened.execute("select * from experiments where artifact_location like '%.making%'").fetchall()
    assert tables[0] == tables[1]
