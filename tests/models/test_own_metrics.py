"""A metric of the user: what it gets, and what is said when it fails."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from nightune.models.data.dataset import Examples
from nightune.models.errors import InputError
from nightune.models.networks.named_metrics import Named
from nightune.models.networks.own_metrics import OwnMetric, answers_of, some_rows

ROWS = 50
generator = np.random.default_rng(5)
TWO = generator.integers(0, 2, ROWS)
LOGIT = (TWO[:, None] + generator.normal(size=(ROWS, 1))).astype(np.float32)
CLASSES = generator.integers(0, 4, ROWS)
LOGITS = generator.normal(size=(ROWS, 4)).astype(np.float32)
LABELS = generator.integers(0, 2, (ROWS, 3))
QUANTITIES = generator.normal(size=(ROWS, 2)).astype(np.float32)
COUNTS = generator.integers(0, 4, ROWS).astype(np.float32)

FILE = """
import numpy as np
from sklearn.metrics import roc_auc_score


def area(y_true, y_pred):
    return roc_auc_score(y_true, y_pred)


def mean_error(y_true, y_pred, weights):
    y_pred -= y_true  # a copy
    return np.average(np.abs(y_pred).reshape(len(y_pred), -1).mean(axis=1), weights=weights)


def scaled(y_true, y_pred, factor=10.0):
    return factor * float(np.mean(y_true))


def shapes(y_true, y_pred):
    return int(f"{y_true.ndim}{y_pred.ndim}{y_pred.shape[-1]}")


def fails(y_true, y_pred):
    return y_pred["price"]


def leaves(y_true, y_pred):
    raise SystemExit("no")


def rows(y_true, y_pred):
    return y_true == y_true


def nothing(y_true, y_pred):
    pass


def one(y_true):
    return 1.0


def later(y_true, y_pred):
    import neighbour

    return neighbour.VALUE
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own.py").write_text(FILE)
    (tmp_path / "neighbour.py").write_text("VALUE = 3\n")
    return tmp_path


def own(folder: Path, name: str) -> OwnMetric:
    return OwnMetric.load(f"own.py:{name}", folder, "maximize")


def test_a_function_of_scikit_learn_gets_rows_by_their_weights(folder: Path) -> None:
    probability = 1 / (1 + np.exp(-LOGIT[:, 0].astype(np.float64)))
    expected = sklearn_metrics.roc_auc_score(TWO, probability, sample_weight=COUNTS)
    direct = own(folder, "roc_auc_score")
    assert (own(folder, "area").weights_name, direct.weights_name) == ("", "sample_weight")
    for metric in (own(folder, "area"), direct):
        found = Named(own=metric).values("binary", LOGIT, TWO, True, COUNTS)
        assert found == {metric.name: pytest.approx(expected)}
    shares = Named(own=direct).values("binary", probability[:, None], TWO, False, COUNTS)
    assert shares == {"roc_auc_score": pytest.approx(expected)}


def test_weights_are_an_argument_and_a_function_may_change_what_it_gets(folder: Path) -> None:
    before = QUANTITIES.copy()
    description = {"target_scale": {"mean": [1.0, 2.0], "deviation": [3.0, 3.0]}}
    for weights in (None, COUNTS):
        found = Named((), description, own(folder, "mean_error")).values(
            "regression", QUANTITIES, 0 * QUANTITIES, False, weights
        )
        errors = 3 * np.abs(QUANTITIES).mean(axis=1)
        assert found["mean_error"] == pytest.approx(np.average(errors, weights=weights))
    np.testing.assert_array_equal(QUANTITIES, before)


@pytest.mark.parametrize(
    ("task", "outputs", "targets", "shapes"),
    [
        ("binary", LOGIT, TWO, 1150),
        ("binary", LOGITS[:, :2], TWO, 1150),
        ("multiclass", LOGITS, CLASSES, 124),
        ("multilabel", LOGITS[:, :3], LABELS, 223),
        ("regression", QUANTITIES, QUANTITIES, 222),
        ("regression", QUANTITIES[:, :1], QUANTITIES[:, 0], 1150),
    ],
)
def test_values_have_one_form_per_task(
    folder: Path, task: str, outputs: np.ndarray, targets: np.ndarray, shapes: int
) -> None:
    found = Named(own=own(folder, "shapes")).values(task, outputs, targets, task != "regression", None)
    assert found == {"shapes": shapes}
    true, answers = answers_of(task, outputs, targets, task != "regression", {})
    assert (true.dtype, answers.dtype) == (np.float64 if task == "regression" else np.int64, np.float64)
    if task != "regression":
        assert 0 <= answers.min() < answers.max() <= 1
    if task == "multiclass":
        np.testing.assert_allclose(answers.sum(axis=1), 1)
        np.testing.assert_array_equal(answers.argmax(axis=1), LOGITS.argmax(axis=1))


def test_a_third_argument_of_another_name_keeps_its_default(folder: Path) -> None:
    assert own(folder, "scaled").value(TWO, TWO, None) == pytest.approx(10 * TWO.mean())


def test_files_beside_it_can_be_imported_when_it_runs(folder: Path) -> None:
    assert own(folder, "later").value(TWO, TWO, None) == 3.0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fails", r"fails\(\) of own.py raised IndexError.*line \d+ of own.py"),
        ("leaves", r"SystemExit.*line \d+ of own.py"),
        ("rows", r"ndarray of shape \(50,\) .*one number.*line \d+"),
        ("nothing", "NoneType .*one number"),
        ("one", r"own.py:one must take \(y_true, y_pred\)"),
        ("profit", "unknown function 'profit'"),
    ],
)
def test_a_function_that_fails_is_named_with_its_line(folder: Path, name: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        own(folder, name).value(TWO, LOGIT[:, 0], None)
    assert caught.value.key == "objective.metric"


def test_lost_outputs_and_rows_without_weight_have_no_value(folder: Path) -> None:
    named = Named(own=own(folder, "area"))
    assert np.isnan(named.values("binary", LOGIT * np.nan, TWO, True, None)["area"])
    assert np.isnan(named.values("binary", LOGIT, TWO, True, 0 * COUNTS)["area"])


def test_the_key_of_several_objectives_is_named(folder: Path) -> None:
    own = OwnMetric.load("own.py:fails", folder, "maximize", key="objective.metrics")
    with pytest.raises(InputError) as caught:
        own.value(np.zeros(2), np.zeros(2), None)
    assert caught.value.key == "objective.metrics"
    with pytest.raises(InputError) as caught:
        OwnMetric.load("own.py:one", folder, "maximize", key="objective.metrics")
    assert caught.value.key == "objective.metrics"


def test_of_many_positions_some_rows_with_a_weight_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightune.models.networks.own_metrics.MOST_NUMBERS", 30)
    dataset: Any = SimpleNamespace(task="positions", output_count=6)
    weights = np.zeros(100, np.float32)
    weights[[31, 47, 52, 90]] = 1.0
    every = Examples(np.arange(100), np.zeros((100, 2), np.int32))
    assert some_rows(dataset, every).inputs.tolist() == [0, 24, 49, 74, 99]
    assert some_rows(dataset, replace(every, weights=weights)).inputs.tolist() == [31, 47, 52, 90]


def test_a_resample_without_a_value_is_nan_and_all_rows_raise(folder: Path) -> None:
    loss = own(folder, "fails").loss(TWO, LOGIT[:, 0])
    assert np.isnan(loss(np.array([np.arange(ROWS) > 3], float))).all()
    with pytest.raises(InputError, match="IndexError"):
        loss(np.ones((1, ROWS)))
