"""A table of 200 rows, and questions of the gate about its test rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nightune.models.data.dataset import Dataset, Purpose
from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.serving.predictor import Predictor
from nightune.tasks.gate_question import Question

random = np.random.default_rng(0)
ROWS = 200
TABLE = pd.DataFrame(
    {
        "size": random.normal(50, 10, ROWS),
        "patient": np.arange(ROWS) // 5,
        "label": np.where(random.random(ROWS) < 0.3, "yes", "no"),
        "price": random.normal(300, 50, ROWS),
    }
)
BY_PATIENT = Split(kind="group", column="patient")


def loaded(folder: Path, table: pd.DataFrame = TABLE, target: str = "label", **keys: Any) -> Dataset:
    table.to_csv(folder / "t.csv", index=False)
    dropped = tuple({"label", "price"} - {target})
    return load_dataset(DataSettings("t.csv", target=target, drop=dropped, **keys), folder)


def asked(dataset: Dataset, objective: str) -> Question:
    from nightune.models.networks.heads import Head

    return Question.of(dataset, dataset.test.open(Purpose.GATE, lambda: None), objective, Head("classes", True))


def ones(question: Question) -> np.ndarray:
    return np.ones((1, question.rows.count))


def with_labels(labels: list[str]) -> pd.DataFrame:
    return TABLE.assign(label=labels)


def weighted(folder: Path, target: str, **keys: Any) -> Dataset:
    """The data set with whole weights of rows, some of them 0."""
    return loaded(folder, TABLE.assign(w=np.arange(ROWS) % 4), target, weight="w", **keys)


def opened(monkeypatch: pytest.MonkeyPatch, outputs: np.ndarray, **description: Any) -> None:
    made = Predictor(lambda inputs, training: outputs, None, {"is_logits": True, **description})
    monkeypatch.setattr(Predictor, "open", lambda *_: made)
