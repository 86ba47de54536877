"""Open a version's folder in a fresh process, which knows neither the study's folder nor Nightune."""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.data.storage import parquet_form
from nightune.models.serving.input_trees import ArrayTree, is_several, named_arrays
from nightune.settings import read_settings

if TYPE_CHECKING:
    import pandas as pd

PROGRAM = Path(__file__).with_name("open_alone.py")
LIMIT_SECONDS = 900


@dataclass(frozen=True, eq=False)
class Opened:
    """The outputs (rows, size), or None and the reason why there are none; and the files that were read elsewhere.

    `probabilities` (rows, classes) are those of `classes`; None for a regression.
    """

    outputs: np.ndarray | None
    problem: str
    outside: tuple[str, ...]
    classes: tuple[Any, ...] = ()
    probabilities: np.ndarray | None = None


def open_in_fresh_process(folder: Path, rows: "pd.DataFrame | ArrayTree") -> Opened:
    """Load a version's folder by MLflow in a process of its own, on the CPU, and compute the outputs of raw rows.

    The process has the installed packages and the folder; `PYTHONPATH` and the folder of the study are unknown to it.
    """
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        if is_several(rows):
            file = place / ("rows.npz" if isinstance(rows, dict) else "ordered.npz")
            np.savez(file, allow_pickle=False, **{f"_{name}": array for name, array in named_arrays(rows)})
        elif isinstance(rows, np.ndarray):
            file = place / "rows.npy"
            np.save(file, rows, allow_pickle=False)
        else:
            file = place / "rows.parquet"
            table: Any = rows
            parquet_form(table).to_parquet(file, engine="pyarrow")
        try:
            ended = _run([str(folder.resolve()), str(file), str(place / "result")], place)
        except subprocess.TimeoutExpired:
            return Opened(None, f"it did not open within {LIMIT_SECONDS} seconds", ())
        return _read(place, ended)


def _run(arguments: list[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-P", str(PROGRAM), *arguments],
        cwd=folder,
        env=_environment(),
        capture_output=True,
        text=True,
        errors="replace",
        timeout=LIMIT_SECONDS,
        check=False,
    )


def _environment() -> dict[str, str]:
    hidden = ("PYTHONPATH", "PYTHONSTARTUP", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    on_cpu = {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    return {**kept, **on_cpu, **quiet, "KERAS_BACKEND": read_settings().keras_backend}


def _read(place: Path, ended: "subprocess.CompletedProcess[str]") -> Opened:
    report = place / "result.json"
    if not report.exists():
        last = ([line.strip() for line in ended.stderr.splitlines() if line.strip()] or ["no message"])[-1]
        return Opened(None, f"its process ended with code {ended.returncode} ({last[:300]})", ())
    found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    problem = found["error"] + (f" ({found['line']})" if found["line"] else "")
    if problem:
        return Opened(None, problem, tuple(found["outside"]))
    file = place / "result-probabilities.npy"
    return Opened(
        np.load(place / "result.npy", allow_pickle=False),
        problem,
        tuple(found["outside"]),
        tuple(found["classes"] or ()),
        np.load(file, allow_pickle=False) if file.exists() else None,
    )
