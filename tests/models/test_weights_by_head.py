"""Rows that weigh nothing for one of several heads may hold anything: no check, scale or comparison reads them."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset, Purpose
from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.serving.predictor import Predictor
from nightune.tasks import describe_finalists, metric_problems
from nightune.tasks.gate_question import Question
from nightune.tuning.analysis.metric_gain import compare_sides

LOADER = """
import numpy as np
random = np.random.default_rng(0)
x = random.normal(size=(200, 3)).astype("float32")
ripe = np.where(x[:, 0] + random.normal(size=200) > 0, "yes", "no")
known = np.arange(200) % 3 > 0
amount = np.where(known, x.sum(1) + 9, {placeholder})
ripe[~known] = "no"
w = known * random.integers(1, 3, 200)
def load(): return x, {{"ripe": ripe, "amount": amount}}, {weights}
"""
BOTH = '{"ripe": w, "amount": w}'


def load(folder: Path, weights: str = BOTH, placeholder: float = 0.0, **keys: Any) -> Dataset:
    (folder / "load.py").write_text(LOADER.format(weights=weights, placeholder=placeholder))
    return load_dataset(DataSettings("load.py:load", **{"split": Split("random"), **keys}), folder)


def joint(dataset: Dataset) -> Any:
    """The heads of a model whose two outputs are a logit and a quantity."""
    from nightune.models.networks.heads import Head
    from nightune.models.networks.joint_heads import JOINT, JointHead, Part

    kinds = {"ripe": Head("two classes", True), "amount": Head("quantities", False)}
    placed = enumerate(dataset.heads)
    parts = tuple(Part(each, kinds[each.name], (place, place + 1), 1.0, each.name) for place, each in placed)
    return JointHead(JOINT, False, parts=parts)


@pytest.mark.parametrize("folds", [0, 3])
def test_a_scale_is_that_of_rows_with_a_weight(tmp_path: Path, folds: int) -> None:
    split = Split(folds=3) if folds else Split("random")
    dataset = load(tmp_path, placeholder=-999.0, scale_target=True, split=split)
    for part in dataset.folds or (dataset,):
        amount = part.of_head(dataset.heads[1]).train
        assert amount.weights is not None
        scaled = amount.targets[amount.weights > 0]
        np.testing.assert_allclose((scaled.mean(), scaled.std()), (0.0, 1.0), atol=1e-5)


def test_rows_that_weigh_the_same_for_metrics_have_no_weights_in_the_gate(tmp_path: Path) -> None:
    from nightune.models.networks.truth import truth

    dataset = load(tmp_path, metrics_by_rows=True)
    test = dataset.test.open(Purpose.GATE, lambda: None)
    for head in dataset.heads:
        assert dataset.of_head(head).validation.weights is None
        wanted = truth(dataset.of_head(head), test.of_head(head))
        assert wanted.weights is None
        assert wanted.training_weights(dataset.of_head(head)) is None
        assert dataset.of_head(head).train.weights is not None
    question = Question.of(dataset, test, "val_ripe_accuracy", joint(dataset))
    assert "weights" not in question.loss
    assert question.rows.count == len(test)


def test_a_baseline_is_that_of_rows_with_a_weight_though_all_test_rows_have_the_same(tmp_path: Path) -> None:
    from nightune.models.networks.truth import truth

    dataset = load(tmp_path, placeholder=-999.0)
    test, amount = dataset.test.open(Purpose.GATE, lambda: None), dataset.heads[1]
    targets = test.targets.copy()
    targets[:, amount.described["weight_column"]] = 1.0
    wanted = truth(dataset.of_head(amount), replace(test, targets=targets).of_head(amount))
    weights = wanted.training_weights(dataset.of_head(amount))
    assert weights is not None
    assert (weights == 0).any()


@pytest.mark.parametrize("objective", ["val_ripe_accuracy", "val_ripe_f1_macro", "val_amount_mae", "val_amount_mape"])
def test_the_gate_compares_rows_that_weigh_for_the_judged_head(
    tmp_path: Path, objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = load(tmp_path)
    test, head = dataset.test.open(Purpose.GATE, lambda: None), joint(dataset)
    question = Question.of(dataset, test, objective, head)
    own = test.of_head(next(each for each in dataset.heads if each.name in objective))
    assert own.weights is not None
    assert question.rows.count == len(question.truth.values) == int((own.weights > 0).sum()) < len(test)
    assert question.undefined() == []
    outputs = np.random.default_rng(1).normal((0, 9), size=(len(test), 2)).astype(np.float32)
    made = Predictor(lambda inputs, training: outputs, None, {**dataset.description, **head.description})
    monkeypatch.setattr(Predictor, "open", lambda *_: made)
    side = question.side(tmp_path, (), test.inputs)
    gain = compare_sides(side, question.baseline, question.rows, 0.95, seed=0, opponent_is_fixed=True)
    assert (gain.rows, gain.is_weighted) == (question.rows.count, True)
    found = head.metrics("heads", outputs, test.targets)
    if objective == "val_amount_mae":
        mean = np.average(side.losses[0], weights=question.rows.weights)
        assert mean == pytest.approx(found["amount_mae"], rel=1e-5)


@pytest.mark.parametrize("weights", [BOTH, '{"ripe": w, "amount": (np.arange(200) % 5 > 0) * 1.0}'])
def test_the_sum_of_losses_is_compared_on_rows_that_weigh_for_some_head(
    tmp_path: Path, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = load(tmp_path, weights=weights)
    test, head = dataset.test.open(Purpose.GATE, lambda: None), joint(dataset)
    own = np.stack([test.targets[:, each.described["weight_column"]] for each in dataset.heads])
    question = Question.of(dataset, test, "val_loss", head)
    assert question.rows.count == (own > 0).any(axis=0).sum() < len(test)
    outputs = np.random.default_rng(1).normal(size=(len(test), 2)).astype(np.float32)
    made = Predictor(lambda inputs, training: outputs, None, {**dataset.description, **head.description})
    monkeypatch.setattr(Predictor, "open", lambda *_: made)
    losses = question.side(tmp_path, (), test.inputs).losses
    assert losses.shape == question.baseline.losses.shape == (1, question.rows.count)
    assert losses.mean() == pytest.approx(head.metrics("heads", outputs, test.targets)["loss"], rel=1e-5)
    only_ripe = replace(head, parts=tuple(replace(each, weight=float(each.data.name == "ripe")) for each in head.parts))
    assert Question.of(dataset, test, "val_loss", only_ripe).rows.count == (own[0] > 0).sum()


def test_a_class_that_only_rows_without_weight_have_leaves_no_metric_of_the_head(tmp_path: Path) -> None:
    dataset = load(tmp_path, weights='{"ripe": (ripe == "yes") * 1.0}')
    assert any("one class" in each for each in metric_problems._of_data("val_ripe_auc", dataset))
    test = dataset.test.open(Purpose.GATE, lambda: None)
    (guard,) = Question.of(dataset, test, "val_ripe_balanced_accuracy", joint(dataset)).undefined()
    assert "'yes'" in guard.said


def test_a_placeholder_of_0_leaves_a_metric_that_divides_by_the_target(tmp_path: Path) -> None:
    assert list(metric_problems._of_data("val_amount_mape", load(tmp_path))) == []
    plain = load(tmp_path, weights="None")
    assert any("have a target of 0" in each for each in metric_problems._of_data("val_amount_mape", plain))


def test_first_rows_without_weight_leave_no_check_without_a_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightune.models.engines import compared_trainings, costs, own_steps
    from nightune.models.engines.make import make_engine
    from nightune.models.recipe.params import read_recipe
    from nightune.models.training import reported_names

    dataset = load(tmp_path)
    column, targets = dataset.heads[1].described["weight_column"], dataset.validation.targets.copy()
    targets[:-1, column] = 0.0
    dataset = replace(dataset, validation=replace(dataset.validation, targets=targets))
    parts: list[Dataset] = []

    def trained(_engine: Any, _recipe: Any, part: Dataset, **_: Any) -> Any:
        parts.append(part)
        return SimpleNamespace(curves={reported_names.SECONDS: [1.0, 1.0]})

    monkeypatch.setattr(costs, "train", trained)
    monkeypatch.setattr(costs, "MEASURED_EXAMPLES", 20)
    monkeypatch.setattr(compared_trainings, "_compared", lambda *given: parts.append(given[-1]))
    monkeypatch.setattr(compared_trainings, "COMPARED_EXAMPLES", 5)
    monkeypatch.setattr(compared_trainings, "SHARED_EXAMPLES", 0)
    monkeypatch.setattr(own_steps, "ROWS", 5)
    engine, recipe = make_engine("fit", dataset, tmp_path), read_recipe({})
    costs._epoch_seconds(engine, recipe, dataset, tmp_path)
    compared_trainings.compared_trainings(engine, [recipe], dataset, tmp_path, is_ahead=False)
    parts.append(own_steps._few_rows(recipe, dataset))
    assert len(parts) == 3
    for part in parts:
        assert len(part.validation) < len(dataset.validation)
        outputs = np.zeros((len(part.validation), 2), np.float32)
        found = joint(dataset).metrics("heads", outputs, part.validation.targets, part.validation.weights)
        assert np.isfinite(found["loss"])
    assert (dataset.validation.targets == targets).all()


def test_the_numbers_of_a_head_are_said_to_be_by_its_weights(tmp_path: Path) -> None:
    dataset = load(tmp_path, weights='{"amount": w}')
    setting: Any = SimpleNamespace(study=SimpleNamespace(objective=SimpleNamespace(threshold_of=lambda *_: 0.5)))
    outputs = np.zeros((len(dataset.ranking), 2), np.float32)
    found = describe_finalists._summaries(setting, dataset, joint(dataset), dataset.ranking, [outputs])
    assert {each.name: each.is_weighted for each in found} == {"ripe": False, "amount": True}


def test_findings_and_the_range_of_targets_are_those_of_rows_with_a_weight(tmp_path: Path) -> None:
    from nightune.models.networks.training_rows import TrainingRows

    dataset = load(tmp_path, placeholder=-9e6, weights='{"amount": w, "ripe": (ripe == "yes") * 1.0}')
    assert not any("large numbers" in each for each in dataset.findings)
    assert any("target 'ripe': no training row has class 'no'" in each for each in dataset.findings)
    least, most = TrainingRows.of(dataset).heads["amount"][1].target_range or (0.0, 0.0)
    assert 0.0 < least < most
    plain = load(tmp_path, placeholder=-9e6, weights="None")
    assert any("large numbers" in each for each in plain.findings)
    assert (TrainingRows.of(plain).heads["amount"][1].target_range or (0.0,))[0] == -9e6
