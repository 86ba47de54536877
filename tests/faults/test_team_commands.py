"""All commands on the stores of a team, from two machines, and their back-up restored to other places."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightune.tasks.child_server import health_status
from tests.faults.conftest import free_port
from tests.faults.sweeps import Sweep, wait_until
from tests.faults.team_store import (
    ACCESS_KEY,
    BUCKET,
    PASSWORD,
    SECRET_KEY,
    TeamStore,
    served,
    team_store,
)
from tests.flows.conftest import command_line, last_json

__all__ = ["team_store"]

pytestmark = pytest.mark.nights
SECTIONS = "\n[confirmation]\nfinalists = 1\n[promotion]\nreplicates = 2\n"
LIMIT_SECONDS = 600.0  # of one command, on a busy machine
START_SECONDS = 300.0  # of Prefect's server: its first start creates the tables in PostgreSQL


@pytest.fixture
def prefect_of_the_team(team_store: TeamStore, tmp_path: Path) -> Iterator[str]:
    """Prefect's server on PostgreSQL, by the command of docs/stores.md."""
    database, port = team_store.postgresql, free_port()
    address = database.create("prefect").replace("postgresql://", "postgresql+asyncpg://")
    given = {"PREFECT_API_DATABASE_CONNECTION_URL": address, "PREFECT_HOME": str(tmp_path / "prefect")}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (team_store.mlflow.folder / "prefect.log").open("wb") as log:
        server = subprocess.Popen(command, env=os.environ | database.environment | given, stdout=log, stderr=log)
    try:
        wait_until(lambda: health_status(f"http://127.0.0.1:{port}/api/health", 2.0) == 200, START_SECONDS)
        yield f"http://127.0.0.1:{port}/api"
    finally:
        server.terminate()
        server.wait()


class Machine:
    """A training machine with its own folder: it knows the addresses of two servers, and no key."""

    def __init__(self, folder: Path, mlflow: str, prefect: str) -> None:
        self.folder = folder
        self.environment = {"NIGHTUNE_STORE": str(folder), "MLFLOW_TRACKING_URI": mlflow, "PREFECT_API_URL": prefect}

    def run(self, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        """Run a command, and require that it ends well."""
        command = command_line(*arguments)
        done = subprocess.run(
            command,
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done

    def start(self, study: Path) -> Sweep:
        """Start a sweep."""
        return Sweep(study, "--engine", "fit", **self.environment)


def test_two_machines_tune_promote_serve_roll_back_and_restore(
    team_store: TeamStore, prefect_of_the_team: str, small_study: Path, tmp_path: Path
) -> None:
    text = small_study.read_text().replace("trials = 4", "trials = 2") + SECTIONS
    small_study.write_text(text)
    other = small_study.with_name("blossoms.toml")
    other.write_text(text.replace("seed = 11", "seed = 12"))
    one, two = (Machine(tmp_path / name, team_store.mlflow.address, prefect_of_the_team) for name in ("one", "two"))
    sweeps = [one.start(small_study), two.start(other)]
    assert [sweep.wait(LIMIT_SECONDS) for sweep in sweeps] == [0, 0], [sweep.output for sweep in sweeps]

    assert last_json(two.run("show", small_study, "--json").stdout)["trials"]["finished"] == 2
    one.run("report", small_study, "--output", tmp_path / "report.html")
    two.run("promote", small_study, "--force", "--because", "the first")  # it has not prepared this study's data yet
    one.run("tune", small_study, "--engine", "fit", "--fresh")
    two.run("promote", small_study, "--force", "--because", "the second")
    assert served_labels(team_store.mlflow.address) == 3
    one.run("rollback", "flowers", "--because", "a test")
    versions = last_json(two.run("models", "flowers", "--json").stdout)["versions"]
    assert [version["aliases"] for version in versions] == [["champion"], []]
    assert "1 checkpoints deleted" in one.run("prune", other, "--keep", "1").stdout
    assert last_json(two.run("doctor", "--json").stdout)["problems"] == 0

    restored = restore(team_store, tmp_path)
    third = Machine(tmp_path / "three", restored, prefect_of_the_team)
    assert last_json(third.run("show", small_study, "--json").stdout) == last_json(
        one.run("show", small_study, "--json").stdout
    )
    assert served_labels(restored) == 3
    assert found_secrets(tmp_path, team_store.mlflow.folder) == []


def restore(team: TeamStore, folder: Path) -> str:
    """Back up database and bucket, restore both under other names, and return the address of a server on them."""
    copy = folder / "mlflow.dump"
    team.postgresql.run("pg_dump", "-Fc", "-f", str(copy), "mlflow")
    artifacts = team.s3.create("nightune-copy")
    team.s3.copy(BUCKET, "nightune-copy")
    address = team.postgresql.create("restored")
    team.postgresql.run("pg_restore", "-d", "restored", str(copy))
    return served(team.mlflow.folder, team.postgresql, team.s3, address, artifacts).address


def served_labels(address: str) -> int:
    """Load the champion in a fresh process that knows only the server's address; return how many rows it answers."""
    code = """
import mlflow, pandas
from sklearn.datasets import load_iris
model = mlflow.pyfunc.load_model("models:/flowers@champion")
print(len(model.predict(load_iris(as_frame=True).data.head(3))))
"""
    given = {"MLFLOW_TRACKING_URI": address, "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | given,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=True,
    )
    return int(done.stdout.strip().splitlines()[-1])


def found_secrets(*folders: Path) -> list[Path]:
    """Return the files, logs and reports among them, that contain a password or a key."""
    secrets = [secret.encode() for secret in (PASSWORD, SECRET_KEY, ACCESS_KEY)]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and os.access(path, os.R_OK)]
    return [path for path in files if any(secret in path.read_bytes() for secret in secrets)]
