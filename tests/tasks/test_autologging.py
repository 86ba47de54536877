"""`mlflow.autolog()` in a user's file."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nightune.tasks.tracking.store import autologging
from nightune.tasks.tracking.store.autologging import WAS_OFF, without_autologging

NET = """
import mlflow
mlflow.autolog()
from mlflow import keras as flavor, sklearn
flavor.autolog(log_models=False)
sklearn.autolog()
import keras
def net(input_shape, output_size):
    mlflow.keras.autolog(disable=True)
    return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(output_size)])
"""
STUDY = """
question = "?"
[data]
source = "iris"
[model]
architecture = "net.py:net"
[search]
method = "random"
trials = 1
epochs = 1
"""


@pytest.fixture(autouse=True)
def is_used_as_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line ignores calls from its start on; commands of other tests ran in this process."""
    monkeypatch.setattr(autologging, "_is_ignored", False)
    monkeypatch.setattr(autologging, "_ignored", set())


@pytest.fixture
def experiment(tmp_path: Path) -> Iterator[str]:
    """An experiment of the user's, in a store of their own."""
    import mlflow

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    yield mlflow.set_experiment("mine").experiment_id
    mlflow.sklearn.autolog(disable=True)
    mlflow.set_tracking_uri(before)


def runs_after_a_fit(experiment: str) -> int:
    import mlflow
    from sklearn.linear_model import LinearRegression

    LinearRegression().fit(np.arange(6.0).reshape(3, 2), np.arange(3.0))
    return len(mlflow.MlflowClient().search_runs([experiment]))


@pytest.mark.filterwarnings("ignore")  # of MLflow, about versions of scikit-learn
def test_autologging_writes_nothing_in_the_block_and_goes_on_after_it(
    experiment: str, caplog: pytest.LogCaptureFixture
) -> None:
    import mlflow

    with caplog.at_level(logging.WARNING, "nightune"), without_autologging():
        mlflow.sklearn.autolog(log_models=False, log_datasets=False, silent=True)
        assert runs_after_a_fit(experiment) == 0
    assert [record.getMessage().split(" was off")[0] for record in caplog.records] == ["mlflow.autolog()"]
    assert runs_after_a_fit(experiment) == 1


def test_nothing_is_said_without_autologging(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "nightune"), without_autologging():
        pass
    assert not caplog.records


def test_a_call_that_was_ignored_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    used: list[str] = []
    module = SimpleNamespace(autologging_integration=lambda name: lambda autolog: autolog)
    autologging._make_ignorable(module)
    autolog = module.autologging_integration("sklearn")(lambda **options: used.append("called"))
    autolog()
    assert used == ["called"]
    autologging._is_ignored = True
    with caplog.at_level(logging.WARNING, "nightune"), without_autologging():
        autolog(disable=True)
        assert not autologging.was_autologging_ignored()
        autolog()
        autolog(silent=True)
    assert used == ["called"]
    assert [record.getMessage() for record in caplog.records] == [WAS_OFF]


@pytest.mark.slow
def test_a_command_ignores_autologging_of_a_users_file_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "study.toml").write_text(STUDY)
    code = "from nightune.flows.commands.main import main; main()"
    environment = {name: value for name, value in os.environ.items() if name != "NIGHTUNE_STORE"}
    command = [sys.executable, "-c", code, "check", "study.toml"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert (done.returncode, done.stderr.splitlines()[1:]) == (0, [WAS_OFF])  # after the building of models
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.py", "study.toml"]
