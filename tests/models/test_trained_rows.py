"""The gate compares models in the loss that the candidate was trained with, whatever form their outputs have."""

from typing import Any

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset, Examples
from nightune.models.errors import InputError
from nightune.models.serving.predictor import Predictor


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global ExampleLoss, Head, TrainedLoss, TrainedMeasure, Truth, losses_of_outputs, named_loss, trivial_losses
    from nightune.models.networks.heads import Head
    from nightune.models.networks.losses import ExampleLoss, TrainedLoss, named_loss
    from nightune.models.networks.row_losses import losses_of_outputs, trivial_losses
    from nightune.models.networks.trained_rows import TrainedMeasure
    from nightune.models.networks.truth import Truth


RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(0, 2, (40, 3))
CLASSES = ("a", "b", "c")
SCALE = {"target_scale": {"mean": [10.0], "deviation": [2.0]}}
LEVELS = (0.1, 0.5, 0.9)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def dataset(task: str, targets: np.ndarray, **description: Any) -> Dataset:
    part = Examples(np.zeros((len(targets), 1), np.float32), targets)
    classes = None if task == "regression" else CLASSES[: 2 if task == "binary" else 3]
    return Dataset(part, part, part, task, classes, "0" * 16, (), None, description)  # type: ignore[arg-type]


def predictor(**description: Any) -> Predictor:
    return Predictor(None, None, {"classes": None, "output_size": 1, "is_logits": False, **description})


def focal(kind: str, is_logits: bool) -> "Head":
    return Head(kind, is_logits, named_loss("focal", kind, is_logits, ()))


def measure(head: "Head", data: Dataset) -> "TrainedMeasure":
    found = TrainedMeasure.of(head, data)
    assert found is not None
    return found


def test_the_default_loss_has_no_measure_of_its_own() -> None:
    head = Head("classes", True, named_loss("crossentropy", "classes", True, ()))
    assert TrainedMeasure.of(head, dataset("multiclass", np.arange(6) % 3)) is None


def test_classes_are_compared_whatever_outputs_and_order_a_model_has() -> None:
    targets = np.arange(40, dtype=np.int32) % 3
    ours, truth = (
        measure(focal("classes", True), dataset("multiclass", targets)),
        Truth(np.array(CLASSES)[targets], False),
    )
    shares = softmax(LOGITS)
    chosen = shares[np.arange(40), targets]
    expected = -((1 - chosen) ** 2) * np.log(chosen)
    turned = [2, 0, 1]
    for outputs, description in (
        (LOGITS, {"classes": list(CLASSES), "is_logits": True}),
        (shares, {"classes": list(CLASSES), "is_logits": False}),
        (LOGITS[:, turned], {"classes": ["c", "a", "b"], "is_logits": True}),
    ):
        found = losses_of_outputs(predictor(task="multiclass", **description), outputs, truth, ours)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    outputs = LOGITS.copy()
    outputs[3, 1] = np.nan
    known = predictor(task="multiclass", classes=list(CLASSES), is_logits=True)
    assert np.flatnonzero(np.isnan(losses_of_outputs(known, outputs, truth, ours))).tolist() == [3]


@pytest.mark.parametrize("is_logits", [True, False])
def test_labels_are_compared_by_name_and_unknown_ones_are_never_predicted(is_logits: bool) -> None:
    targets = (RANDOM.random((40, 3)) < 0.4).astype(np.int32)
    ours, truth = measure(focal("labels", is_logits), dataset("multilabel", targets)), Truth(targets, False, CLASSES)
    shares = 1 / (1 + np.exp(-LOGITS))
    right = np.where(targets == 1, shares, 1 - shares)
    expected = -((1 - right) ** 2) * np.log(right)
    for outputs, description in (
        (LOGITS, {"classes": list(CLASSES), "is_logits": True}),
        (shares, {"classes": list(CLASSES), "is_logits": False}),
        (shares[:, ::-1], {"classes": list(CLASSES[::-1]), "is_logits": False}),
    ):
        found = losses_of_outputs(predictor(task="multilabel", **description), outputs, truth, ours)
        np.testing.assert_allclose(found, expected.mean(axis=1), rtol=1e-3, atol=1e-6)
    fewer = predictor(task="multilabel", classes=["a", "b"], is_logits=True)
    found = losses_of_outputs(fewer, LOGITS[:, :2], truth, ours)
    lost = np.where(targets[:, 2] == 1, -np.log(1e-7), 0.0)
    np.testing.assert_allclose(found, (expected[:, :2].sum(axis=1) + lost) / 3, rtol=1e-3, atol=1e-5)


def test_quantities_are_compared_in_the_candidates_scale_order_and_quantiles() -> None:
    targets = RANDOM.normal(size=(40, 1))
    head = Head("quantities", False, named_loss("pinball", "quantities", False, LEVELS), LEVELS)
    ours, truth = measure(head, dataset("regression", targets, **SCALE)), Truth(10.0 + 2.0 * targets, True)
    outputs = targets + np.array([[-1.0, 0.5, 2.0]])
    same = predictor(task="regression", quantiles=list(LEVELS), output_size=3, **SCALE)
    np.testing.assert_allclose(losses_of_outputs(same, outputs, truth, ours), (0.1 + 0.25 + 0.2) / 3, rtol=1e-4)
    plain = predictor(task="regression", target_scale={"mean": [0.0], "deviation": [4.0]})
    one = (10.0 + 2.0 * targets + 2.0) / 4.0  # too high by one of the candidate's deviations
    np.testing.assert_allclose(losses_of_outputs(plain, one, truth, ours), (0.9 + 0.5 + 0.1) / 3, rtol=1e-4)
    other = predictor(task="regression", quantiles=[0.5, 0.8], output_size=2)
    with pytest.raises(InputError, match="quantiles"):
        losses_of_outputs(other, outputs[:, :2], truth, ours)
    assert losses_of_outputs(same, outputs, truth, "absolute error").tolist() == pytest.approx([1.0] * 40)

    pairs = np.concatenate([targets, 5.0 + targets], axis=1)
    mae = measure(Head("quantities", False, named_loss("mae", "quantities", False, ())), dataset("regression", pairs))
    turned = predictor(task="regression", outputs=["q", "p"], output_size=2)
    found = losses_of_outputs(turned, pairs[:, ::-1], Truth(pairs, True, names=("p", "q")), mae)
    np.testing.assert_allclose(found, 0.0, atol=1e-6)


def test_the_baseline_is_the_best_constant_of_the_loss() -> None:
    skewed = RANDOM.exponential(size=(200, 1))
    data, truth = dataset("regression", skewed), Truth(skewed, True)
    mae = measure(Head("quantities", False, named_loss("mae", "quantities", False, ())), data)
    assert trivial_losses(data, truth, mae).mean() == pytest.approx(np.abs(skewed - np.median(skewed)).mean(), rel=1e-2)
    levels = measure(Head("quantities", False, named_loss("pinball", "quantities", False, (0.9,)), (0.9,)), data)
    errors = skewed - np.quantile(skewed, 0.9)
    expected = np.maximum(0.9 * errors, -0.1 * errors).mean()
    assert trivial_losses(data, truth, levels).mean() == pytest.approx(expected, rel=1e-3)

    targets = (np.arange(200) % 4 == 0).astype(np.int32)  # the best constant of the absolute error is 0, not the share
    loss = TrainedLoss("mae", "", ExampleLoss("mae", lambda y_true, y_pred: abs(y_true - y_pred)))
    data, truth = dataset("binary", targets), Truth(np.array(CLASSES)[targets], False)
    constant = trivial_losses(data, truth, measure(Head("two classes", False, loss), data))
    assert constant.mean() == pytest.approx(0.25, abs=1e-3)
    rows = (RANDOM.random((300, 3)) < [0.1, 0.5, 0.9]).astype(np.int32)
    data, truth = dataset("multilabel", rows), Truth(rows, False, CLASSES)
    found = trivial_losses(data, truth, measure(Head("labels", False, loss), data)).mean()
    shares = rows.mean(axis=0)
    assert found == pytest.approx(np.minimum(shares, 1 - shares).mean(), abs=5e-3)
