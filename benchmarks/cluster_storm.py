"""Kill parts of a Dask cluster and the command that uses it, and check that nothing was lost or done twice.

    python benchmarks/cluster_storm.py [--kills 20] [--seed 1] [--study STUDY] [--folder FOLDER]

First the study is tuned and promoted once by one process, without a kill. Then `tune` runs on a cluster of two workers
with nannies, on loopback. Once a training process is there, a part is killed by SIGKILL every few seconds: a training
process, Dask's worker, its nanny, the scheduler, or the command; each second one when a trial has been trained.
What a person keeps running is started again, and so is the command, until the sweep is complete; then the next empty
store follows, until the kills are used up. Every store must then equal the uninterrupted one: kill_checks.py.
"""

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
from storm import Kills, finish, log_of, run_storm, start

TRAINING, WORKER = "nightune.flows.runtime.worker_process", "distributed.cli.dask_worker"
TRAINED = "· completed ·".encode()
WORDS = ("--nthreads", "1", "--memory-limit", "0", "--death-timeout", "20")
QUIET_SECONDS = (0.5, 8.0)  # between two kills


def main() -> None:
    """Run the storm and print the findings; the exit code is 1 if a store differs."""
    run_storm(__doc__, 20, storm)


class Cluster:
    """A scheduler and two workers that are started again when they have died."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.address = folder, ""
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "scheduler.json"
        self._parts: dict[str, subprocess.Popen[bytes]] = {}
        self.keep_up()

    def keep_up(self) -> None:
        """Start what does not run."""
        if "scheduler" not in self._parts or self._parts["scheduler"].poll() is not None:
            self._file.unlink(missing_ok=True)
            self._start("scheduler", "distributed.cli.dask_scheduler", "--port", "0", "--scheduler-file", self._file)
            while not self._file.exists():
                time.sleep(0.1)
            self.address = str(json.loads(self._file.read_text(encoding="utf-8"))["address"])
            for name in ("w1", "w2"):
                self._kill(name)
        for name in ("w1", "w2"):
            if name not in self._parts or self._parts[name].poll() is not None:
                self._start(name, WORKER, self.address, "--name", name, *WORDS)

    def parts(self) -> dict[str, list[psutil.Process]]:
        """Return the processes by what they are."""
        nannies = [psutil.Process(self._parts[name].pid) for name in ("w1", "w2")]
        below = [child for nanny in nannies for child in nanny.children(recursive=True)]
        trainings = [each for each in below if TRAINING in _words(each)]
        parents = {each.ppid() for each in trainings}
        workers = [each for each in below if each.pid in parents]
        scheduler = [psutil.Process(self._parts["scheduler"].pid)]
        return {"training": trainings, "worker": workers, "nanny": nannies, "scheduler": scheduler}

    def close(self) -> None:
        """End all processes."""
        for name in ("w1", "w2", "scheduler"):
            self._kill(name)

    def _kill(self, name: str) -> None:
        if (process := self._parts.pop(name, None)) is None:
            return
        with suppress(psutil.Error):
            for child in psutil.Process(process.pid).children(recursive=True):
                with suppress(psutil.Error):
                    child.kill()
        process.kill()
        process.wait()

    def _start(self, name: str, module: str, *words: object) -> None:
        command = [sys.executable, "-m", module, *map(str, words)]
        command += ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]
        environment = os.environ | {"NIGHTUNE_STORE": str(self._folder / f"store-of-{name}")}
        with (self._folder / f"{name}.log").open("ab") as log:
            self._parts[name] = subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def storm(study: Path, store: Path, kills: Kills) -> None:
    """Tune on a cluster with kills until the sweep is complete, then promote."""
    cluster, log = Cluster(store.with_name(f"{store.name}-cluster")), log_of(store)
    try:
        while True:
            cluster.keep_up()
            before = log.stat().st_size if log.exists() else 0
            process = start("tune", study, store, NIGHTUNE_DASK=cluster.address)
            while process.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(kills.moments.uniform(*QUIET_SECONDS))
                cluster.keep_up()
                is_due = kills.are_left and (kills.hits.total() % 2 == 0 or TRAINED in log.read_bytes()[before:])
                if is_due and process.poll() is None and cluster.parts()["training"]:
                    kills.hits[_kill_one(cluster, process, kills)] += 1
            if process.returncode == 0:
                break
            time.sleep(1)
    finally:
        cluster.close()
    finish("promote", study, store)


def _kill_one(cluster: Cluster, command: "subprocess.Popen[bytes]", kills: Kills) -> str:
    """Kill the part that was hit least so far, if there is one now; return what it was."""
    parts = cluster.parts() | {"command": [psutil.Process(command.pid)]}
    aim = min(
        (name for name, some in parts.items() if some), key=lambda name: (kills.hits[name], kills.moments.random())
    )
    victim = kills.moments.choice(parts[aim])
    with suppress(psutil.Error):
        victim.kill()
    if aim == "command":
        command.wait()
    else:
        psutil.wait_procs([victim], timeout=10)
    return aim


def _words(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()
    return []


if __name__ == "__main__":
    main()
