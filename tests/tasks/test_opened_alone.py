"""A version in a fresh process is compared with the model that was trained, also in its probabilities."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nightune.models.data.dataset import UnsealedExamples
from nightune.models.serving.predictor import DESCRIPTION
from nightune.tasks.opened_alone import opens_alone, problem_alone
from nightune.tasks.tracking.registry.fresh_process import Opened
from nightune.tasks.tracking.registry.model_folder import parts_of

OUTPUTS = np.array([[0.25], [0.5]])
RIGHT = np.array([[0.75, 0.25], [0.5, 0.5]])


@pytest.mark.parametrize(
    ("classes", "probabilities", "word"),
    [
        (("no", "yes"), RIGHT, ""),
        (("yes", "no"), RIGHT, "probabilities"),
        (("no", "yes"), RIGHT[:, ::-1], "probabilities"),
        (("no", "yes"), None, "probabilities"),
    ],
)
def test_probabilities_of_the_fresh_process_are_those_of_its_outputs(
    classes: tuple[str, ...],
    probabilities: np.ndarray | None,
    word: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts_of(tmp_path).mkdir(parents=True)
    description = {"task": "binary", "classes": ["no", "yes"], "is_logits": False}
    (parts_of(tmp_path) / DESCRIPTION).write_text(json.dumps(description))
    opened = Opened(OUTPUTS, "", (), classes, probabilities)
    monkeypatch.setattr("nightune.tasks.opened_alone.open_in_fresh_process", lambda *_: opened)
    monkeypatch.setattr("nightune.tasks.opened_alone.devices", lambda: ("", ["CPU:0"]))
    problem = problem_alone(tmp_path, np.zeros((2, 3)), OUTPUTS.astype(np.float32))
    assert (problem.said if problem else "").find(word) >= 0
    assert (problem is None) == (word == "")


def test_a_version_without_finite_outputs_is_refused_for_these_and_not_for_a_fresh_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = SimpleNamespace(outputs=lambda inputs: np.where(inputs > 0, np.nan, inputs))
    monkeypatch.setattr("nightune.tasks.opened_alone.Predictor.open", lambda _: predictor)
    monkeypatch.setattr("nightune.tasks.opened_alone.open_in_fresh_process", lambda *_: pytest.fail("was opened"))
    test = UnsealedExamples(np.array([[0.0], [1.0]]), np.zeros(2))
    guard = opens_alone(Any, Any, tmp_path, test)  # type: ignore[arg-type] - neither study nor data is read
    assert (guard.passed, guard.is_vital) == (False, True)
    assert "finite" in guard.said


def test_rows_that_weigh_nothing_are_left_out_as_in_the_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = SimpleNamespace(outputs=lambda inputs: inputs)
    held = UnsealedExamples(np.arange(4.0)[:, None], np.zeros(4), weights=np.array([0.0, 1.0, 0.0, 2.0]))
    dataset: Any = SimpleNamespace(
        version="1", description={"task": "regression"}, test=SimpleNamespace(open=lambda *_, **__: held)
    )
    parts_of(tmp_path).mkdir(parents=True)
    (parts_of(tmp_path) / DESCRIPTION).write_text(json.dumps(dataset.description))
    monkeypatch.setattr("nightune.tasks.opened_alone.Predictor.open", lambda _: predictor)
    monkeypatch.setattr("nightune.tasks.opened_alone.read_dataset", lambda _: dataset)
    monkeypatch.setattr("nightune.tasks.opened_alone.devices", lambda: ("", ["CPU:0"]))
    monkeypatch.setattr("nightune.tasks.opened_alone.open_in_fresh_process", lambda _, rows: Opened(rows, "", ()))
    assert opens_alone(Any, dataset, tmp_path, held.weighing()).passed  # type: ignore[arg-type] - no study is read
