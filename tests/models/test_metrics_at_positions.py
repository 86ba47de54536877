"""Metrics of a class at each position: mean IoU as scikit-learn and Keras have it, and functions of the user."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import jaccard_score

from nightune.models.data.dataset import Dataset, Purpose
from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.serving.predictor import Predictor
from nightune.tasks.load_study import load_study
from nightune.tasks.prepare_data import read_dataset
from nightune.tuning.errors import StudyError

LOADER = """
import numpy as np
random = np.random.default_rng(0)
x = random.random((60, 4, 4, 1))
mask = np.digitize(x, [0.3, 0.6]) + 5
mask[x < 0.1] = 255
def load(): return x, {result}
"""
OWN = """
import numpy as np

def share(y_true, y_pred, weights):
    known = y_true >= 0
    return float(np.average((y_pred.argmax(-1) == y_true)[known], weights=(known * weights[:, None, None])[known]))

def worst_row(y_true, y_pred):
    known = y_true >= 0
    return float((((y_pred.argmax(-1) == y_true) & known).sum((1, 2)) / known.sum((1, 2))).min())

def all_positions(y_true, y_pred):
    return float((y_pred.argmax(-1) == y_true).mean())
"""


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, Head, Named, OwnMetric, model_metric, own_model_metric, own_trivial_metric, truth
    import keras

    from nightune.models.networks.heads import Head
    from nightune.models.networks.named_metrics import Named
    from nightune.models.networks.own_baselines import own_model_metric, own_trivial_metric
    from nightune.models.networks.own_metrics import OwnMetric
    from nightune.models.networks.row_answers import model_metric
    from nightune.models.networks.truth import truth


def load(folder: Path, result: str = "mask") -> Dataset:
    (folder / "load.py").write_text(LOADER.replace("{result}", result))
    (folder / "own.py").write_text(OWN)
    settings = DataSettings("load.py:load", task="classification", ignore_class=255, split=Split("random"))
    return load_dataset(settings, folder)


def answers(dataset: Dataset) -> np.ndarray:
    """Logits that are often right, (rows, positions * classes)."""
    targets = dataset.validation.targets
    one_hot = np.eye(3)[np.maximum(targets, 0)]
    return (one_hot + np.random.default_rng(1).normal(0, 0.7, one_hot.shape)).reshape(len(targets), -1)


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.filterwarnings("ignore:Explicitly requested dtype int64")  # Keras' metric on JAX
def test_mean_iou_is_that_of_all_positions_with_a_class(is_weighted: bool, tmp_path: Path) -> None:
    dataset = load(tmp_path)
    outputs, targets = answers(dataset), dataset.validation.targets
    weights = np.random.default_rng(4).random(len(targets)) if is_weighted else None
    head = Head("positions", True, shape=(4, 4, 3))
    found = head.metrics("positions", outputs, targets, weights, Named(("mean_iou",)))["mean_iou"]
    known = targets.reshape(-1) >= 0
    predicted = outputs.reshape(-1, 3).argmax(axis=1)
    spread = None if weights is None else np.repeat(weights, 16)[known]
    wanted = jaccard_score(targets.reshape(-1)[known], predicted[known], average="macro", sample_weight=spread)
    assert found == pytest.approx(wanted)
    assert 0.3 < found < 0.95
    if weights is None:  # Keras' metric as a user compiles it
        theirs = keras.metrics.MeanIoU(num_classes=3, ignore_class=-1)
        theirs.update_state(targets.reshape(-1), predicted)
        assert found == pytest.approx(float(theirs.result()), rel=1e-6)


@pytest.fixture
def judged(tmp_path: Path) -> Any:
    """A predictor, its outputs on the validation rows, their true values and the data, with its folder."""
    dataset = load(tmp_path)
    description = {**dataset.description, "is_logits": True}
    rows: Any = dataset.validation
    return Predictor(None, None, description), answers(dataset), truth(dataset, rows), dataset, tmp_path


def test_the_gate_resamples_rows_and_computes_mean_iou_of_their_positions(judged: Any) -> None:
    predictor, outputs, wanted, dataset, _ = judged
    measured = model_metric(predictor, outputs, wanted, dataset, "val_mean_iou")
    counts = np.random.default_rng(0).integers(0, 3, (4, len(outputs))).astype(float)
    head = Head("positions", True, shape=(4, 4, 3))
    for weights, loss in zip(counts, measured(counts), strict=True):
        rows = np.repeat(np.arange(len(outputs)), weights.astype(int))
        targets = dataset.validation.targets[rows]
        found = head.metrics("positions", outputs[rows], targets, None, Named(("mean_iou",)))["mean_iou"]
        assert 1.0 - loss == pytest.approx(found)


@pytest.mark.parametrize("name", ["share", "worst_row"])
def test_a_function_of_the_user_gets_positions_in_their_shape(name: str, judged: Any) -> None:
    predictor, outputs, wanted, dataset, folder = judged
    own = OwnMetric.load(f"own.py:{name}", folder, "maximize")
    head = Head("positions", True, shape=(4, 4, 3))
    targets = dataset.validation.targets
    found = head.metrics("positions", outputs, targets, None, Named((), dataset.description, own))
    known = targets >= 0
    is_right = (outputs.reshape(len(outputs), 16, 3).argmax(axis=2) == targets) & known
    value = is_right[known].mean() if name == "share" else (is_right.sum(axis=1) / known.sum(axis=1)).min()
    assert found[name] == pytest.approx(value)
    assert np.isnan(head.metrics("positions", outputs * np.nan, targets, None, Named((), {}, own))[name])
    ones = np.ones((1, len(outputs)))
    assert own_model_metric(own, predictor, outputs, wanted, dataset)(ones)[0] == pytest.approx(1.0 - value)
    turned = Predictor(None, None, {**predictor.description, "classes": [7, 5, 6]})
    moved = outputs.reshape(len(outputs), 16, 3)[..., [2, 0, 1]].reshape(outputs.shape)
    assert own_model_metric(own, turned, moved, wanted, dataset)(ones)[0] == pytest.approx(1.0 - value)
    assert 0 < own_trivial_metric(own, dataset, wanted)(ones)[0] <= 1


STUDY = """
question = "?"
search = { trials = 1, epochs = 1 }
data = { source = "load.py:load", task = "classification", ignore_class = 255 }
objective = { metric = "METRIC" }
"""


def problems(folder: Path, metric: str) -> str:
    (folder / "study.toml").write_text(STUDY.replace('"METRIC"', metric))
    try:
        read_dataset(load_study(folder / "study.toml"))
    except StudyError as error:
        return str(error)
    return ""


def test_a_function_that_reads_positions_without_a_class_is_refused(tmp_path: Path) -> None:
    load(tmp_path)
    assert "y_true is -1" in problems(tmp_path, '"own.py:all_positions", direction = "maximize"')
    assert problems(tmp_path, '"own.py:worst_row", direction = "maximize"') == ""
    assert problems(tmp_path, '"val_mean_iou"') == ""


def test_a_last_axis_of_one_is_left_out_for_functions_of_the_user(tmp_path: Path) -> None:
    dataset = load(tmp_path, "mask[..., 0]")
    test = dataset.test.open(Purpose.GATE, lambda: None)
    own = OwnMetric.load("own.py:worst_row", tmp_path, "maximize")
    outputs = np.random.default_rng(0).normal(size=(len(test), 48))
    named = Named((), dataset.description, own)
    flat = Head("positions", True).metrics("positions", outputs, test.targets, None, named)["worst_row"]
    named = Named((), {**dataset.description, "target_shape": [4, 4, 1]}, own)
    assert Head("positions", True).metrics("positions", outputs, test.targets, None, named)["worst_row"] == flat
