"""Two machines on one tracking server over PostgreSQL: one runs the study, the other reports this, and takes over.

Requires PostgreSQL's programs, `psycopg2`, and the permission to give a process another host name.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.faults.conftest import TrackingServer, free_port
from tests.faults.sweeps import Sweep, wait_until

TRIALS = 60
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))

pytestmark = pytest.mark.nights


@pytest.fixture
def postgresql(tmp_path: Path) -> Iterator[str]:
    """The address of a new database; its server runs as the user `postgres`, as it refuses to run as root."""
    if not PROGRAMS or find_spec("psycopg2") is None or shutil.which("unshare") is None:
        pytest.skip("no PostgreSQL here")
    port, folder = free_port(), tmp_path / "postgresql"
    folder.mkdir()
    shutil.chown(folder, "postgres", "postgres")
    for parent in (folder, *folder.parents):
        parent.chmod(parent.stat().st_mode | 0o111)

    def as_postgres(program: str, *options: str) -> None:
        subprocess.run(["su", "postgres", "-c", " ".join([str(PROGRAMS[-1] / program), *options])], check=True)

    options = f"'-c port={port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}'"
    as_postgres("initdb", "-D", str(folder / "data"), "-A", "trust", ">", str(folder / "initdb.log"))
    as_postgres("pg_ctl", "-D", str(folder / "data"), "-w", "-l", str(folder / "log"), "-o", options, "start")
    as_postgres("createdb", "-h", "127.0.0.1", "-p", str(port), "mlflow")
    yield f"postgresql://postgres@127.0.0.1:{port}/mlflow"
    server = int((folder / "data" / "postmaster.pid").read_text().splitlines()[0])
    os.kill(server, signal.SIGQUIT)


@pytest.fixture
def shared_server(postgresql: str, tmp_path: Path) -> Iterator[TrackingServer]:
    folder = tmp_path / "server"
    folder.mkdir()
    server = TrackingServer(folder, free_port(), postgresql)
    server.start()
    yield server
    server.kill()


def on_machine(name: str, study: Path, server: TrackingServer, folder: Path) -> Sweep:
    """A sweep on a machine of this name, with its own folder."""
    given = {"MLFLOW_TRACKING_URI": server.address, "NIGHTUNE_STORE": str(folder / name)}
    before = ["unshare", "--uts", "sh", "-c", f'hostname {name} && exec "$@"', "sh"]
    return Sweep(study, "--engine", "fit", before=before, **given)


def test_only_one_of_two_machines_runs_and_the_other_takes_over_after_its_death(
    shared_server: TrackingServer, small_study: Path, tmp_path: Path
) -> None:
    import mlflow

    small_study.write_text(small_study.read_text().replace("trials = 4", f"trials = {TRIALS}"))
    first = on_machine("one", small_study, shared_server, tmp_path)
    first.wait_for_output("trial ")
    second = on_machine("two", small_study, shared_server, tmp_path)
    assert second.wait() == 3, second.output
    assert "another sweep of this study is running (process" in second.output
    assert "on one" in second.output
    first.process.kill()
    wait_until(lambda: first.process.poll() is not None)
    third = on_machine("two", small_study, shared_server, tmp_path)
    while third.wait() == 3:  # the dead machine's lease lasts two minutes
        assert "another sweep of this study is running" in third.output
        third = on_machine("two", small_study, shared_server, tmp_path)
    assert third.process.returncode == 0, third.output
    client = mlflow.MlflowClient(shared_server.address)
    experiment = client.get_experiment_by_name("flowers")
    runs = client.search_runs([experiment.experiment_id], "tags.`nightune.kind` = 'trial'")
    assert sorted(int(run.data.tags["nightune.trial_number"]) for run in runs) == list(range(TRIALS))
    assert {run.info.status for run in runs} == {"FINISHED"}
