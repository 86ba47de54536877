"""Two machines on one tracking server over PostgreSQL: one runs the study, the other reports this, and takes over.

Requires PostgreSQL's programs, `psycopg2`, and the permission to give a process another host name.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import TrackingServer, free_port
from tests.faults.sweeps import Sweep, wait_until
from tests.faults.team_store import postgresql_running

TRIALS = 60

pytestmark = pytest.mark.nights


@pytest.fixture
def shared_server(tmp_path: Path) -> Iterator[TrackingServer]:
    """A server on PostgreSQL, with its artifacts in a folder."""
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here, which gives a process another host name")
    with postgresql_running() as database:
        places = {
            "MLFLOW_BACKEND_STORE_URI": database.create("mlflow"),
            "MLFLOW_ARTIFACTS_DESTINATION": str(tmp_path / "artifacts"),
        }
        server = TrackingServer(tmp_path, free_port(), environment=database.environment | places)
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
