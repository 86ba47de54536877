"""Trials whose replicates begin with the same weights: found, and said with the confirmation and the verdict."""

import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from nightune.flows.commands.tables import print_confirmation
from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.storage import save_dataset
from nightune.tasks.confirm_finalists import fixed_weights
from nightune.tasks.judge_winner import _notes_on_start
from nightune.tasks.tracking.sweeps.confirmations import confirmation_rows
from nightune.tuning.analysis.confirmation import Finalist, confirm
from nightune.tuning.trial import Status, Trial, TrialResult

NET = """
import keras
import numpy as np


def own(shape, dtype=None):
    return np.random.default_rng(0).normal(size=shape)


def build(input_shape, output_size, last: str = "glorot_uniform"):
    last = keras.layers.Dense(output_size, kernel_initializer=own if last == "own" else last)
    first = keras.layers.Dense(4, name="first", kernel_initializer=own)
    return keras.Sequential([keras.Input(input_shape), first, last])
"""


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The parts of a setting that building a trial's model needs."""
    folder = tmp_path_factory.mktemp("alike")
    (folder / "net.py").write_text(NET)
    data = save_dataset(load_dataset(DataSettings("iris"), folder), folder / "data")
    return SimpleNamespace(
        store=SimpleNamespace(compiled=None),
        data=SimpleNamespace(folder=data),
        study=SimpleNamespace(path=folder / "study.toml"),
    )


def result(**params: Any) -> TrialResult:
    given = {"optimizer": "adam", "model.architecture": "net.py:build", **params}
    return TrialResult(Trial(3, given, 5, "0" * 16), Status.COMPLETED, 1.0, 1, 1, 1, 1, 1.0, run_id="r")


@pytest.mark.parametrize(("last", "are_all"), [("own", True), ("glorot_uniform", False)])
def test_weights_set_by_the_model_function_are_noted_in_the_verdict(setting: Any, last: str, are_all: bool) -> None:
    trial = result(**{"model.last": last})
    assert fixed_weights(setting, trial).are_all is are_all
    (note,) = _notes_on_start(setting, trial)
    assert "initial weights of first" in note


def test_built_in_models_and_functions_that_are_gone_are_not_noted(setting: Any) -> None:
    assert _notes_on_start(setting, result(**{"model.architecture": "mlp"})) == []
    assert _notes_on_start(setting, result(**{"model.architecture": "lost.py:build"})) == []


def test_a_confirmation_without_an_interval_says_why_and_shows_none() -> None:
    finalists = [Finalist(trial, f"{trial:016x}", "run", 0.5, (0.1 + trial,) * 3, 10, 1.0) for trial in (0, 1)]
    confirmation = confirm(finalists, "minimize", "parameters", 0.95, seed=0)
    rows = confirmation_rows(confirmation)
    assert [row["is_winner"] for row in rows] == [True, False]
    assert {row[name] for row in rows for name in ("low", "high", "best_probability")} == {None}
    console = Console(record=True, width=160, file=io.StringIO())
    report: Any = SimpleNamespace(confirmation=confirmation, sweep=SimpleNamespace(metric="val_loss"), metric_text="")
    print_confirmation(console, report)
    text = console.export_text()
    assert "0 *" in text
    assert "equal scores" in text
    assert "nan" not in text
    assert "1.00 " not in text
