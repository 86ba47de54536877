"""The stores of a team on loopback: PostgreSQL, an S3 server, and MLflow's server between them and Nightune.

PostgreSQL is Debian's package; moto answers S3's calls from memory, so that nothing is said about durability. Passwords
and keys reach the servers by their environment alone.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import TrackingServer, free_port

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
USER, PASSWORD = "nightune", "hunter2-postgresql"
ACCESS_KEY, SECRET_KEY = "AKIAHUNTER2NIGHTUNE", "hunter2-s3-secret-key"
BUCKET = "nightune"


def require_postgresql() -> None:
    """Skip a test without PostgreSQL's programs or MLflow's driver for it."""
    if not PROGRAMS or find_spec("psycopg2") is None:
        pytest.skip("no PostgreSQL here: apt-get install postgresql, pip install psycopg2-binary")


def require_s3() -> None:
    """Skip a test without a server and a client of S3."""
    if find_spec("moto") is None or find_spec("boto3") is None:
        pytest.skip("no S3 server here: pip install 'moto[s3]' boto3")


@dataclass(frozen=True)
class PostgreSQL:
    """A running server with password authentication; `environment` has the password, and no address has it."""

    folder: Path
    port: int
    environment: dict[str, str] = field(default_factory=lambda: {"PGPASSWORD": PASSWORD})

    def create(self, name: str) -> str:
        """Create a database and return its address, without a password."""
        self.run("createdb", name)
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{name}"

    def run(self, program: str, *options: str) -> None:
        """Run one of PostgreSQL's client programs."""
        place = ("-h", "127.0.0.1", "-p", str(self.port), "-U", USER)
        subprocess.run([PROGRAMS[-1] / program, *place, *options], check=True, env=os.environ | self.environment)

    def stop(self, kind: str = "fast") -> None:
        """Stop the server."""
        _as_owner("pg_ctl", "-D", self.folder / "data", "-m", kind, "-w", "stop")

    def start(self) -> None:
        """Start the server."""
        options = f"-c port={self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder}"
        options += " -c fsync=off"  # no power cut is tested
        _as_owner("pg_ctl", "-D", self.folder / "data", "-w", "-l", self.folder / "log", "-o", options, "start")


@contextmanager
def postgresql_running() -> Iterator[PostgreSQL]:
    """Run a new server in a temporary folder; it refuses to run as root, and runs as `postgres` then."""
    require_postgresql()
    with tempfile.TemporaryDirectory(prefix="postgresql-") as name:
        folder = Path(name)
        password = folder / "password"
        password.write_text(PASSWORD)
        if os.geteuid() == 0:
            for place in (folder, password):
                shutil.chown(place, "postgres", "postgres")
        given = ("-A", "scram-sha-256", f"--pwfile={password}", "--no-sync")
        _as_owner("initdb", "-D", folder / "data", "-U", USER, *given)
        server = PostgreSQL(folder, free_port())
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")


def _as_owner(program: str, *options: str | Path) -> None:
    owner = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    command = [*owner, PROGRAMS[-1] / program, *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")


@dataclass(frozen=True)
class S3:
    """A running S3 server with buckets; `environment` is what MLflow's server needs to use it."""

    address: str

    @property
    def environment(self) -> dict[str, str]:
        """The variables of boto3 and MLflow."""
        return {
            "MLFLOW_S3_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def create(self, bucket: str) -> str:
        """Create a bucket and return its address."""
        self._client().create_bucket(Bucket=bucket)
        return f"s3://{bucket}/mlflow"

    def keys(self, bucket: str) -> list[str]:
        """Return the keys of a bucket."""
        pages = self._client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [each["Key"] for page in pages for each in page.get("Contents", [])]

    def delete(self, bucket: str, *words: str) -> None:
        """Delete the objects whose keys have all of these words."""
        for key in self.keys(bucket):
            if all(word in key for word in words):
                self._client().delete_object(Bucket=bucket, Key=key)

    def copy(self, bucket: str, other: str) -> None:
        """Copy all objects of a bucket to another one, as `aws s3 sync` does."""
        for key in self.keys(bucket):
            self._client().copy_object(Bucket=other, Key=key, CopySource={"Bucket": bucket, "Key": key})

    def _client(self) -> Any:
        import boto3

        keys = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY}
        return boto3.client("s3", endpoint_url=self.address, region_name="us-east-1", **keys)


@contextmanager
def s3_running() -> Iterator[S3]:
    """Run moto's server in this process, on a free port."""
    require_s3()
    from moto.server import ThreadedMotoServer

    port = free_port()
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    try:
        yield S3(f"http://127.0.0.1:{port}")
    finally:
        server.stop()


@dataclass(frozen=True)
class TeamStore:
    """All servers of one team, and the folder with their logs."""

    postgresql: PostgreSQL
    s3: S3
    mlflow: TrackingServer


@contextmanager
def team_store_running(folder: Path) -> Iterator[TeamStore]:
    """Run the three servers as docs/stores.md says: addresses without passwords, the rest in the environment."""
    require_s3()
    with postgresql_running() as database, s3_running() as s3:
        server = served(folder, database, s3, database.create("mlflow"), s3.create(BUCKET))
        try:
            yield TeamStore(database, s3, server)
        finally:
            server.kill()


@pytest.fixture(scope="session")
def team_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamStore]:
    """The servers of a team, for all tests of a run."""
    with team_store_running(tmp_path_factory.mktemp("team")) as running:
        yield running


def served(folder: Path, database: PostgreSQL, s3: S3, address: str, artifacts: str) -> TrackingServer:
    """Start MLflow's server on a database and a bucket."""
    places = {"MLFLOW_BACKEND_STORE_URI": address, "MLFLOW_ARTIFACTS_DESTINATION": artifacts}
    server = TrackingServer(folder, free_port(), environment=database.environment | s3.environment | places)
    server.start()
    return server
