"""The store is created once, sweeps resume or restart, and one process at a time runs a study."""

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from nightune.tasks.tracking.store.errors import StoreError, StudyBusyError, SweepNotFoundError
from nightune.tasks.tracking.store.lock import study_lock
from nightune.tasks.tracking.store.store import Store, client, open_store
from nightune.tasks.tracking.sweeps.find_sweeps import find_sweep
from nightune.tasks.tracking.sweeps.links import leaderboard_address
from nightune.tasks.tracking.sweeps.sweeps import Sweep, finish_sweep, interrupt_sweep, open_sweep
from nightune.tasks.tracking.ui_server import PASSWORD, Access, serve_ui, ui_command
from tests.tasks.conftest import SmallStudy

OPEN = """
import pathlib, sys
from nightune.tasks.tracking.store.store import client, open_store
client(open_store(pathlib.Path(sys.argv[1]))).search_experiments(max_results=1)
"""
HOLD = """
import pathlib, sys, time
from nightune.tasks.tracking.store.store import open_store
from nightune.tasks.tracking.store.lock import study_lock
with study_lock(open_store(pathlib.Path(sys.argv[1])), "flowers"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_several_processes_create_one_store_at_the_same_time(tmp_path: Path) -> None:
    starts = [subprocess.Popen([sys.executable, "-c", OPEN, str(tmp_path / "new")]) for _ in range(2)]
    assert [process.wait(timeout=240) for process in starts] == [0, 0]


KILLED_IN_THE_MAKING = """
import os, pathlib, signal, sys
import mlflow.store.db.utils as utils
from nightune.tasks.tracking.store import store
from nightune.tasks.tracking.store.store import open_store
store.place_prepared = lambda *_: False  # as with another version of MLflow
utils._upgrade_db = lambda engine: os.kill(os.getpid(), signal.SIGKILL)  # the first tables are there, the rest is not
open_store(pathlib.Path(sys.argv[1]))
"""


def test_a_kill_while_the_tables_are_created_leaves_nothing_behind(tmp_path: Path) -> None:
    root = tmp_path / "mlruns"
    killed = subprocess.run([sys.executable, "-c", KILLED_IN_THE_MAKING, str(root)], check=False)
    assert killed.returncode == -signal.SIGKILL
    store = open_store(root)
    assert [each.name for each in client(store).search_experiments()] == ["Default"]
    assert not list(root.glob(".making-*"))
    with closing(sqlite3.connect(root / "mlflow.db")) as database:
        assert database.execute("pragma journal_mode").fetchone() == ("wal",)


def test_a_file_that_is_not_a_database_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database, but long enough to be one")
    with pytest.raises(StoreError, match=r"mlflow\.db: not an SQLite database.*NIGHTUNE_STORE"):
        open_store(tmp_path)


def test_reopening_the_store_keeps_the_locks_of_this_process(store_root: Path) -> None:
    other = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('select count(*) from experiments').fetchall()"
    with closing(sqlite3.connect(store_root / "mlflow.db")) as connection:
        connection.execute("select count(*) from experiments").fetchall()
        open_store(store_root)
        subprocess.run([sys.executable, "-c", other, str(store_root / "mlflow.db")], check=True)
        assert (
            store_root / "mlflow.db-wal"
        ).exists()  # the last process to close removes it, and the other one is not the last


def test_a_folder_that_cannot_be_created_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot be written.*NIGHTUNE_STORE"):
        open_store(tmp_path / "file" / "mlruns")


def test_a_study_held_by_a_process_is_refused_and_free_after_its_death(store: Store) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(store.root)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with (
        pytest.raises(StudyBusyError, match=rf"flowers: another sweep.*process {holder.pid}"),
        study_lock(store, "flowers"),
    ):
        pass
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with study_lock(store, "flowers"):
        assert (store.root / "locks" / "flowers.json").read_text().find(str(os.getpid())) > 0


def again(store: Store, study: SmallStudy, *, fresh: bool = False, data: str = "data-1") -> Sweep:
    return open_sweep(store, study, data, fresh=fresh, planned_trials=3)  # type: ignore[arg-type]


def test_an_unfinished_sweep_of_the_same_content_is_resumed(store: Store, study: SmallStudy, sweep: Sweep) -> None:
    interrupt_sweep(store, sweep)
    assert client(store).get_run(sweep.run_id).info.status == "KILLED"
    assert again(store, study) == sweep
    assert again(store, study, fresh=True) == sweep
    assert client(store).get_run(sweep.run_id).info.status == "RUNNING"


def test_a_complete_sweep_is_shown_and_fresh_starts_the_next(store: Store, study: SmallStudy, sweep: Sweep) -> None:
    finish_sweep(store, sweep, "rank\n1\n", [{"rank": 1, "units": [8, 4]}])
    assert again(store, study) == replace(sweep, status=again(store, study).status)
    assert again(store, study).is_complete
    assert (again(store, study, fresh=True).id, sweep.id) == ("flowers-1", "flowers-0")


@pytest.mark.parametrize("change", ["content", "data"])
def test_changed_content_or_another_data_version_starts_the_next_sweep(
    store: Store, study: SmallStudy, sweep: Sweep, change: str
) -> None:
    if change == "content":
        study.digest = "another"
    later = again(store, study, data="data-2" if change == "data" else "data-1")
    assert (later.number, later.status) == (1, "running")


def test_a_sweep_is_found_by_its_id_or_as_the_latest(store: Store, study: SmallStudy, sweep: Sweep) -> None:
    later = again(store, study, data="data-2")
    assert find_sweep(store, "flowers") == later
    assert find_sweep(store, "flowers", "flowers-0") == sweep
    with pytest.raises(SweepNotFoundError, match=r"no sweep 'flowers-7' \(known: flowers-0, flowers-1\)"):
        find_sweep(store, "flowers", "flowers-7")
    with pytest.raises(SweepNotFoundError, match="nightune tune"):
        find_sweep(store, "trees")


def test_the_sweeps_run_holds_study_leaderboard_and_environment(store: Store, sweep: Sweep) -> None:
    finish_sweep(store, sweep, "rank\n1\n", [{"rank": 1, "units": [8, 4]}])
    names = {file.path for folder in ("", "study") for file in client(store).list_artifacts(sweep.run_id, folder)}
    assert {
        "study/flowers.toml",
        "study/content.json",
        "environment.json",
        "leaderboard.csv",
        "leaderboard.json",
    } <= names
    run = client(store).get_run(sweep.run_id)
    assert run.data.params == {"seed": "7", "method": "random", "trials": "3", "epochs": "2"}
    assert run.data.tags["mlflow.note.content"] == "Which rate is best?"


def test_a_sweep_killed_during_its_creation_is_described_when_it_resumes(store: Store, study: SmallStudy) -> None:
    plain = client(store)
    made = open_sweep(store, study, "data-1", fresh=False, planned_trials=3)  # type: ignore[arg-type]
    shutil.rmtree(plain.get_run(made.run_id).info.artifact_uri.removeprefix("file://"))
    open_sweep(store, study, "data-1", fresh=False, planned_trials=3)  # type: ignore[arg-type]
    names = {file.path for folder in ("", "study") for file in plain.list_artifacts(made.run_id, folder)}
    assert {"study/flowers.toml", "study/content.json", "environment.json"} <= names


def test_a_sweeps_params_hold_no_key_that_may_change_while_it_continues(store: Store, study: SmallStudy) -> None:
    searches = [{"method": "random", "hours": hours, "audit": hours / 10, "until": f"0{hours}:00"} for hours in (1, 2)]
    study.search.values = searches[0]
    made = open_sweep(store, study, "data-1", fresh=False, planned_trials=3)  # type: ignore[arg-type]
    shutil.rmtree(client(store).get_run(made.run_id).info.artifact_uri.removeprefix("file://"))  # killed meanwhile
    study.search.values = searches[1]
    assert open_sweep(store, study, "data-1", fresh=False, planned_trials=3).id == made.id  # type: ignore[arg-type]
    assert client(store).get_run(made.run_id).data.params == {"seed": "7", "method": "random"}


def test_the_ui_is_served_on_loopback_only(store: Store) -> None:
    command = " ".join(ui_command(store, Access(port=5123)))
    assert "--host 127.0.0.1 --port 5123" in command
    assert store.tracking_uri not in command  # it may have a password, and a command line is open to all users


def test_a_store_behind_a_server_has_its_pages_there(tmp_path: Path) -> None:
    said: list[str] = []
    serve_ui(Store(tmp_path, "http://mlflow.example:5000"), Access(), said.append)
    assert "http://mlflow.example:5000" in said[0]


def test_the_link_to_the_leaderboard_sorts_the_best_first(sweep: Sweep) -> None:
    assert "orderByAsc=true" in leaderboard_address("http://127.0.0.1:5000/", sweep)
    address = leaderboard_address("http://127.0.0.1:5000", replace(sweep, direction="maximize"))
    assert "orderByAsc=false" in address
    assert address.startswith(f"http://127.0.0.1:5000/#/experiments/{sweep.experiment_id}/runs?")


def test_the_ui_is_asked_at_the_address_that_it_is_served_on() -> None:
    assert Access("0.0.0.0").reached_at == Access().reached_at == "127.0.0.1"
    assert Access("::").reached_at == Access("::1").reached_at == "[::1]"
    assert Access("192.0.2.7").reached_at == "192.0.2.7"


@pytest.mark.parametrize("host", ["203.0.113.7", "nosuch.invalid"])  # an address of documentation (RFC 5737)
def test_a_host_that_is_not_this_machine_is_said_before_a_server_starts(
    store: Store, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD, "long enough, they say")
    with pytest.raises(StoreError, match=rf"--host {host}: no address of this machine .*0\.0\.0\.0"):
        serve_ui(store, Access(host, 5123, ("tuner",)), print)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_port_in_use_is_said_before_a_server_starts(store: Store, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD, "long enough, they say")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StoreError, match=rf"port {port}: something answers"):
            serve_ui(store, Access(host, port, ("tuner",)), print)


@pytest.mark.parametrize(("password", "names"), [("", ("tuner",)), ("long enough, they say", ())])
def test_serving_on_the_network_requires_a_password_and_host_names(
    store: Store, password: str, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD, password)
    with pytest.raises(StoreError, match=r"open to the network\. Set NIGHTUNE_UI_PASSWORD .*--allowed-host"):
        serve_ui(store, Access("0.0.0.0", 5123, names), print)
