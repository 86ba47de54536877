"""docs/backup.md: a copy made while a sweep writes is complete, opens elsewhere, and resumes."""

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.faults.conftest import free_port
from tests.faults.sweeps import Sweep, run_states, trial_numbers, wait_until
from tests.flows.conftest import Command, command_line, last_json


def back_up(store: Path, target: Path) -> None:
    """Copy the databases first, by SQLite's backup; then the files, written before the rows that name them."""
    target.mkdir(parents=True)
    for name in ("mlflow.db", "prefect/prefect.db"):
        if (store / name).exists():
            (target / name).parent.mkdir(exist_ok=True)
            with closing(sqlite3.connect(store / name)) as source, closing(sqlite3.connect(target / name)) as copy:
                source.backup(copy)
    for name in ("artifacts", "data", "logs"):
        if (store / name).exists():
            shutil.copytree(store / name, target / name)


@pytest.mark.nights
def test_a_backup_of_a_running_sweep_is_restored_elsewhere_and_resumes(
    nightune: Command, prefect_server: str, store_root: Path, small_study: Path, tmp_path: Path
) -> None:
    import keras

    sweep = Sweep(small_study, "--trials", "40", "--engine", "fit", PREFECT_API_URL=prefect_server)
    wait_until(lambda: len(trial_numbers(store_root / "mlflow.db")) >= 5, 200)
    back_up(store_root, tmp_path / "copy")
    sweep.process.terminate()
    sweep.wait()
    shutil.rmtree(store_root)
    restored = tmp_path / "another place" / "mlruns"
    shutil.copytree(tmp_path / "copy", restored)
    assert sqlite3.connect(restored / "mlflow.db").execute("pragma integrity_check").fetchone() == ("ok",)
    elsewhere = {"NIGHTUNE_STORE": str(restored)}
    shown = nightune("show", small_study, "--json", **elsewhere)
    assert shown.returncode == 0, shown.stderr
    held = last_json(shown.stdout)["trials"]["finished"]
    assert 0 < held < 40
    options = ("--trials", "40", "--engine", "fit", "--json")
    done = nightune("tune", small_study, *options, PREFECT_API_URL=prefect_server, **elsewhere)
    assert done.returncode == 0, done.stderr
    assert trial_numbers(restored / "mlflow.db") == list(range(40))
    assert "RUNNING" not in run_states(restored / "mlflow.db")
    checkpoints = list(restored.glob("artifacts/flowers/*/artifacts/checkpoint/model.keras"))
    assert len(checkpoints) == 40
    for path in checkpoints:
        keras.saving.load_model(path)
    assert runs_in_the_ui(restored) == 41  # and the sweep


def runs_in_the_ui(store: Path) -> int:
    """Count the runs of the study that the server of `nightune ui` finds in a store."""
    environment = os.environ | {"NIGHTUNE_STORE": str(store)}
    command = command_line("ui", "--port", str(free_port()))
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            address = next(line for line in process.stderr if line.startswith("http")).partition("#")[0]
            pages = MlflowClient(address)
            study = pages.get_experiment_by_name("flowers")
            runs = pages.search_runs([study.experiment_id])
        finally:
            process.terminate()
            process.stderr.read()
    assert process.returncode == 0
    return len(runs)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="SQLite's command line is not installed")
def test_the_command_of_the_documentation_copies_a_database_that_is_written_to(store_root: Path) -> None:
    with closing(sqlite3.connect(store_root / "mlflow.db")) as writer:
        writer.execute("begin immediate")
        writer.execute("update experiments set name = 'half' where experiment_id = 0")
        subprocess.run(["sqlite3", str(store_root / "mlflow.db"), ".backup copy.db"], cwd=store_root, check=True)
        writer.rollback()
    with closing(sqlite3.connect(store_root / "copy.db")) as copy:
        assert copy.execute("pragma integrity_check").fetchone() == ("ok",)
        assert copy.execute("select name from experiments").fetchall() == [("Default",)]
