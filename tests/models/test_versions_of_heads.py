"""Versions of models with several heads: their answers, and what the promotion gate compares."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset, Purpose
from nightune.models.serving.predictor import DESCRIPTION, MODEL, Predictor
from nightune.tasks.gate_guards import check_schema
from nightune.tasks.gate_question import Question
from tests.models.head_models import NET, PAIRED, load, settled


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(NET)
    return tmp_path


def version(folder: Path, dataset: Dataset, function: str = "build", **training: Any) -> tuple[Any, Any]:
    """Return the predictor of a version's folder, and the settled head of its model."""
    from nightune.models.training.checkpoint import save

    model, head = settled(folder, function, dataset, **training)
    parts = folder / "parts"
    parts.mkdir()
    save(model, parts / MODEL)
    (parts / DESCRIPTION).write_text(json.dumps({**dataset.description, **head.description}))
    return Predictor.open(parts), head


def test_a_version_answers_with_a_column_for_each_head_or_a_dictionary(folder: Path) -> None:
    import keras

    dataset = load(folder, "(x, {'kind': kind, 'pair': pair, 'tags': tags})", scale_target=True)
    (folder / "net.py").write_text(NET + PAIRED)
    predictor, head = version(folder, dataset, "paired")
    x = dataset.train.inputs[:7]
    outputs = keras.saving.load_model(folder / "parts" / MODEL)(x)
    answers = predictor.predict(x)
    assert answers.columns.tolist() == ["kind", "pair_u", "pair_v", "tags_0", "tags_1"]
    scale = dataset.heads[1].described["target_scale"]
    wanted = np.asarray(outputs["pair"]) * scale["deviation"] + scale["mean"]
    np.testing.assert_allclose(answers[["pair_u", "pair_v"]], wanted, rtol=1e-5)
    assert answers["kind"].tolist() == [dataset.heads[0].classes[place] for place in np.argmax(outputs["kind"], axis=1)]  # type: ignore[index]
    np.testing.assert_array_equal(answers[["tags_0", "tags_1"]], np.asarray(outputs["tags"]) > 0)
    probabilities = predictor.predict(x, output="probabilities")
    assert probabilities.columns.tolist() == ["kind_high", "kind_low", "kind_middle", "tags_0", "tags_1"]
    np.testing.assert_allclose(probabilities[["kind_high", "kind_low", "kind_middle"]], outputs["kind"], rtol=1e-5)
    assert head.description["output_size"] == predictor.outputs(x).shape[1] == 7


def test_a_version_with_a_shaped_head_answers_with_arrays(folder: Path) -> None:
    dataset = load(folder)
    predictor, _ = version(folder, dataset, "listed")
    answers = predictor.predict(dataset.train.inputs[:5])
    assert {name: array.shape for name, array in answers.items()} == {"kind": (5,), "amount": (5,), "mask": (5, 4, 2)}
    assert predictor.predict(dataset.train.inputs[:5], output="probabilities").shape == (5, 3 + 8)


def test_the_gate_compares_the_sum_of_the_losses_or_one_head(folder: Path) -> None:
    dataset = load(folder, scale_target=True)
    predictor, head = version(folder, dataset, loss={"amount": "mae"}, loss_weights={"amount": 0.5})
    test = dataset.test.open(Purpose.GATE, record=lambda: None)
    outputs, wanted = predictor.outputs(test.inputs), head.targets(test.targets)
    summed = Question.of(dataset, test, "val_loss", head)
    losses = summed.side(folder / "parts", (), test.inputs).losses
    np.testing.assert_allclose(losses[0], head.make_loss().call(wanted, outputs), rtol=1e-4)
    assert "0.5 training loss mae of amount" in summed.loss
    assert np.isfinite(summed.baseline.losses).all()
    kind = Question.of(dataset, test, "val_kind_accuracy", head)
    errors = kind.side(folder / "parts", (), test.inputs).losses[0]
    expected = np.argmax(head.part("kind").outputs(outputs), axis=1) != test.targets[:, 0]
    np.testing.assert_array_equal(errors, expected)
    assert (kind.loss, kind.direction) == ("error of kind", "maximize")
    area = Question.of(dataset, test, "val_mask_f1_micro", head)
    assert area.loss == "1 - f1_micro of mask"
    value = 1 - area.side(folder / "parts", (), test.inputs).metrics[0](np.ones((1, len(test))))[0]
    np.testing.assert_allclose(value, head.metrics("heads", outputs, test.targets)["mask_f1_micro"])


def test_the_gate_refuses_versions_that_lost_a_head(folder: Path) -> None:
    dataset = load(folder)
    predictor, _ = version(folder, dataset)
    ours = predictor.description
    fewer = {**ours, "heads": ours["heads"][1:]}
    other = {**ours, "heads": [{**ours["heads"][0], "classes": ["low", "middle"]}, *ours["heads"][1:]]}
    assert check_schema(ours, fewer).passed
    assert not check_schema(fewer, ours).passed
    assert "'high' is not predicted any more by head 'kind'" in check_schema(other, ours).said
