"""Studies small enough to be trained in a second or two, and the command line as a user starts it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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


@pytest.fixture
def small_study(tmp_path: Path) -> Path:
    path = tmp_path / "flowers.toml"
    path.write_text(SMALL_STUDY)
    return path


@pytest.fixture
def nightune(store_root: Path) -> Command:
    """Run the command line in a process of its own and return what it said."""

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
