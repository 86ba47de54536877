"""A Dask cluster on loopback, as a person starts one: a scheduler and two workers, each with its nanny."""

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from nightune.tasks.child_environment import child_environment
from tests.faults.conftest import free_port

ENTRY = "nightune.flows.runtime.worker_process"


class Cluster:
    """Its processes run in a folder; the machine of each worker has a store of its own there."""

    def __init__(self, folder: Path, workers: int = 2, **variables: str) -> None:
        self.folder, self.tls = folder, make_certificate(folder)
        self._variables = self.tls | variables
        self.address = f"tls://127.0.0.1:{free_port()}"
        self.scheduler = self._start("scheduler", "--protocol", "tls", "--port", self.address.rpartition(":")[2])
        self.workers = [self.add_worker(f"w{number}") for number in range(1, workers + 1)]

    def add_worker(self, name: str, *options: str, scheduler: str = "", **variables: str) -> "subprocess.Popen[bytes]":
        """Start a worker. It reaches the scheduler at its address, or at another one that leads there."""
        words = ("--name", name, "--nthreads", "1", "--death-timeout", "30")
        return self._start("worker", scheduler or self.address, *words, *options, **variables)

    def trainings(self, *workers: "subprocess.Popen[bytes]") -> list[psutil.Process]:
        """Return the processes that train for flows, of all workers or of some."""
        found = []
        for worker in workers or self.workers:
            with suppress(psutil.Error):
                found += psutil.Process(worker.pid).children(recursive=True)
        return [each for each in found if _is_training(each)]

    def wait_until_idle(self, seconds: float = 60.0) -> None:
        """Wait until no process trains for a flow."""
        until = time.monotonic() + seconds
        while self.trainings():
            assert time.monotonic() < until, self.trainings()
            time.sleep(0.2)

    def close(self) -> None:
        """Kill all processes."""
        for process in (*self.workers, self.scheduler):
            with suppress(psutil.Error):
                for child in psutil.Process(process.pid).children(recursive=True):
                    with suppress(psutil.Error):
                        child.kill()
            process.kill()
            process.wait()

    def log(self) -> str:
        """Return what the processes have written."""
        return "".join(file.read_text() for file in sorted(self.folder.glob("*.log")))

    def _start(self, role: str, *options: str, **variables: str) -> "subprocess.Popen[bytes]":
        name = options[2] if role == "worker" else role
        command = [sys.executable, "-m", f"distributed.cli.dask_{role}", *options, "--host", "127.0.0.1"]
        command += ["--dashboard-address", "127.0.0.1:0", *(["--memory-limit", "0"] if role == "worker" else [])]
        own: dict[str, Any] = {"NIGHTUNE_STORE": str(self.folder / f"store-of-{name}")}
        environment = {key: value for key, value in child_environment().items() if key != "NIGHTUNE_DASK"}
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                command, env=environment | own | self._variables | variables, cwd=self.folder, stdout=log, stderr=log
            )


def make_certificate(folder: Path) -> dict[str, str]:
    """Make a certificate as docs/operations.md does; return the variables that Dask reads it by."""
    certificate, key = str(folder / "dask-cert.pem"), str(folder / "dask-key.pem")
    options = ("-x509", "-newkey", "rsa:3072", "-nodes", "-days", "365", "-subj", "/CN=nightune")
    command = ["openssl", "req", *options, "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    prefix = "DASK_DISTRIBUTED__COMM__TLS__"
    files = {f"{prefix}CA_FILE": certificate, "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true"}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        files |= {f"{prefix}{role}__CERT": certificate, f"{prefix}{role}__KEY": key}
    return files


def _is_training(process: psutil.Process) -> bool:
    with suppress(psutil.Error):  # it has ended
        return ENTRY in process.cmdline()
    return False
