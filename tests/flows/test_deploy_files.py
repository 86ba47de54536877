"""The files in deploy/ work as they are: units that systemd reads, and a job of SLURM that leaves nothing behind."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster import make_certificate
from tests.faults.test_killed_clusters import PATIENCE_SECONDS
from tests.faults.test_killed_workers import statuses

pytestmark = pytest.mark.nights

DEPLOY = Path(__file__).parents[2] / "deploy"
SRUN = """#!/bin/bash
trap 'kill $(jobs -p) 2>/dev/null' EXIT TERM
for task in 0 1; do "$@" --host 127.0.0.1 & done
wait
"""


def test_systemd_reads_the_units(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here: apt-get install systemd")
    for unit, instance in (("dask-scheduler.service", ""), ("dask-worker@.service", "0")):
        text = (DEPLOY / unit).read_text().replace("/opt/nightune/bin/dask", sys.executable)
        file = tmp_path / unit.replace("@", f"@{instance}")
        file.write_text(text)
        done = subprocess.run(["systemd-analyze", "verify", file], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_job_of_slurm_tunes_a_study_and_ends_its_processes(
    tmp_path: Path, store_root: Path, small_study: Path
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "srun").write_text(SRUN)
    (programs / "srun").chmod(0o755)
    path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    own = {"PATH": path, "SLURM_JOB_ID": "7", "SLURM_TMPDIR": str(tmp_path / "node")}
    own |= {"MLFLOW_TRACKING_URI": f"sqlite:///{store_root}/mlflow.db"} | make_certificate(tmp_path)
    kept = {name: value for name, value in os.environ.items() if name != "USER"}  # a container may have none
    command = ["bash", DEPLOY / "slurm.sh", small_study]
    done = subprocess.run(
        command, env=kept | own, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    assert statuses(store_root) == ["completed"] * 4
    assert not list(tmp_path.glob(".dask-*"))
