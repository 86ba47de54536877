"""Studies small enough to be trained in a second or two, and the command line as a user starts it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nightune.tasks.reporting.sweep_report import SweepReport
from tests.conftest import kept_environment

SMALL_STUDY = """
question = "Which rate is best on flowers?"
seed = 11
[data]
source = "iris"
[model]
architecture = "mlp"
units = [[4]]
[space]
optimizer = ["sgd", "adam"]
learning_rate.peak = { low = 1e-3, high = 1e-1, scale = "log" }
batch_size.size = 30
[search]
method = "random"
trials = 4
epochs = 2
[objective]
metric = "val_loss"
"""

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True)
class Tuned:
    """A study that was tuned once for the tests of a module, which only read its store."""

    study: Path
    store: Path
    report: SweepReport


def tuned_in(folder: Path, empty_store: Path, study_text: str, **options: Any) -> Tuned:
    """Tune a study in its own store in the folder, without Prefect."""
    study, store = folder / "flowers.toml", folder / "mlruns"
    study.write_text(study_text)
    shutil.copytree(empty_store, store)
    with kept_environment(), pytest.MonkeyPatch.context() as patch:
        run_plainly(patch)
        from nightune.flows.tune import tune

        os.environ["NIGHTUNE_STORE"] = str(store)
        report = tune(study, **options)
    assert isinstance(report, SweepReport)
    return Tuned(study, store, report)


def run_plainly(patch: pytest.MonkeyPatch) -> None:
    """Run flows and their steps as functions, without Prefect, whose records each sweep waits for (decision 165).

    What Prefect adds is shown by test_tune, test_promote, test_flow_runs, test_interrupts and all started commands.
    """
    from nightune.flows import ablate, probe, promote, tune
    from nightune.tasks import step

    patch.setattr(step.Step, "__call__", lambda self, *given, **named: self.fn(*given, **named))
    for module, name in ((tune, "tune"), (promote, "promote"), (probe, "probe"), (ablate, "ablate")):
        patch.setattr(module, name, getattr(module, name).fn)
        patch.setattr(module, "wait_until_recorded", lambda: None)


@pytest.fixture
def plain_flows(monkeypatch: pytest.MonkeyPatch) -> None:
    run_plainly(monkeypatch)


@pytest.fixture
def small_study(tmp_path: Path) -> Path:
    path = tmp_path / "flowers.toml"
    path.write_text(SMALL_STUDY)
    return path


@pytest.fixture
def nightune(store_root: Path) -> Command:
    """Run the command line in its own process and return the result."""

    def run(*arguments: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command_line(*arguments),
            env=os.environ | {"NIGHTUNE_STORE": str(store_root)} | environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    return run


def command_line(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-c", "from nightune.flows.commands.main import main; main()", *map(str, arguments)]


def last_json(output: str) -> dict[str, Any]:
    value = json.loads(output.strip().splitlines()[-1])
    assert isinstance(value, dict)
    return value
