"""A threshold of two classes is the best one on the validation rows, and decides labels and metrics of the gate."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, matthews_corrcoef

from nightune.models.data.dataset import Examples
from nightune.models.serving.predictor import Predictor
from nightune.models.serving.probabilities import class_probabilities


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global best_threshold, Head, Truth, all_metrics, losses_of_outputs, model_metric, described_threshold
    from nightune.models.networks.heads import Head
    from nightune.models.networks.row_answers import model_metric
    from nightune.models.networks.row_losses import all_metrics, losses_of_outputs
    from nightune.models.networks.thresholds import best_threshold, described_threshold
    from nightune.models.networks.truth import Truth


SCORES: dict[str, Any] = {"f1": f1_score, "balanced_accuracy": balanced_accuracy_score}


@pytest.mark.parametrize("rule", SCORES)
@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_no_other_threshold_is_better_by_scikit_learn(rule: str, is_weighted: bool, seed: int) -> None:
    generator = np.random.default_rng(seed)
    targets = (generator.uniform(size=40) < (0.1, 0.5)[seed % 2]).astype(np.int64)
    targets[:2] = [0, 1]
    probabilities = np.clip(generator.normal(0.2 + 0.3 * targets, 0.2), 0, 1).round(1 + seed % 3)  # with ties
    weights = generator.integers(0, 4, 40).astype(np.float32) if is_weighted else None
    if weights is not None:
        weights[:2] = 1
    chosen = best_threshold(rule, probabilities, targets, weights)
    assert 0 < chosen < 1
    tried = (chosen, *np.arange(-1, 101) / 100)
    value, *others = (SCORES[rule](targets, probabilities > each, sample_weight=weights) for each in tried)
    assert value >= max(others) - 1e-12


def test_of_equally_good_thresholds_the_nearest_to_one_half_is_chosen() -> None:
    assert best_threshold("f1", np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1])) == 0.5
    assert best_threshold("balanced_accuracy", np.array([0.0, 1.0]), np.array([1, 0])) == 0.5
    assert best_threshold("f1", np.array([0.1, 0.1]), np.array([0, 1])) == pytest.approx(0.05)


TARGETS = np.array([0, 1] * 20)
LOGITS = np.random.default_rng(0).normal(size=40) - 1.0 + TARGETS
FORMS = {  # the same probabilities as outputs
    "one logit": (LOGITS[:, None], True),
    "one probability": (1 / (1 + np.exp(-LOGITS[:, None])), False),
    "two logits": (np.stack([np.zeros(40), LOGITS], axis=1), True),
    "two probabilities": (class_probabilities(LOGITS[:, None], True), False),
}


class Outputs:
    """A model whose outputs are its inputs."""

    def __call__(self, inputs: np.ndarray, training: bool) -> np.ndarray:
        return inputs


@pytest.mark.parametrize("form", FORMS)
def test_labels_losses_and_metrics_are_at_the_threshold_of_the_version(form: str) -> None:
    outputs, is_logits = FORMS[form]
    description = {"task": "binary", "classes": ["no", "yes"], "is_logits": is_logits, "output_size": outputs.shape[1]}
    predictor = Predictor(Outputs(), None, {**description, "threshold": 0.3})
    is_second = class_probabilities(LOGITS[:, None], True)[:, 1] > 0.3
    names = np.array(["no", "yes"])
    assert predictor.answers(outputs).tolist() == names[is_second.astype(int)].tolist()
    plain = Predictor(Outputs(), None, description)
    assert plain.answers(outputs).tolist() == names[(LOGITS > 0).astype(int)].tolist()
    truth = Truth(names[TARGETS], False)
    np.testing.assert_array_equal(losses_of_outputs(predictor, outputs, truth, "error"), is_second != TARGETS)
    np.testing.assert_array_equal(losses_of_outputs(plain, outputs, truth, "error"), (LOGITS > 0) != TARGETS)
    log_losses = [losses_of_outputs(each, outputs, truth, "log loss") for each in (predictor, plain)]
    np.testing.assert_array_equal(*log_losses)
    dataset: Any = type("D", (), {"classes": ("no", "yes")})()
    for metric, score in (("f1_macro", _f1_macro), ("mcc", matthews_corrcoef)):
        loss = model_metric(predictor, outputs, truth, dataset, f"val_{metric}")
        assert 1 - loss(np.ones((1, 40)))[0] == pytest.approx(score(TARGETS, is_second))
    head = Head("two classes" if outputs.shape[1] == 1 else "classes", is_logits)
    values = all_metrics(predictor, outputs, TARGETS, head, names=["val_mcc", "val_pr_auc"])
    before = all_metrics(plain, outputs, TARGETS, head, names=["val_mcc", "val_pr_auc"])
    assert values["accuracy"] == pytest.approx(accuracy_score(TARGETS, is_second))
    assert values["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(TARGETS, is_second))
    assert values["f1_macro"] == pytest.approx(_f1_macro(TARGETS, is_second))
    assert values["mcc"] == pytest.approx(matthews_corrcoef(TARGETS, is_second))
    assert {name for name in values if values[name] != before[name]} == {
        "accuracy",
        "balanced_accuracy",
        "f1_macro",
        "mcc",
    }


def _f1_macro(targets: np.ndarray, predicted: np.ndarray) -> float:
    return float(f1_score(targets, predicted, average="macro"))


def validated_on(inputs: Any) -> Any:
    validation = Examples(inputs, TARGETS)
    return type("D", (), {"validation": validation, "description": {"output_size": 1}})()


def test_a_version_says_by_what_its_threshold_was_chosen() -> None:
    dataset = validated_on(FORMS["one logit"][0])
    head = Head("two classes", True)
    assert described_threshold(0.5, Outputs(), dataset, head) == {}
    assert described_threshold(0.25, Outputs(), dataset, head) == {"threshold": 0.25}
    found = described_threshold("f1", Outputs(), dataset, head)
    probabilities = class_probabilities(LOGITS[:, None], True)[:, 1]
    assert found["threshold"] == best_threshold("f1", probabilities, TARGETS)
    assert found["threshold_by"] == "highest f1 on 40 validation rows"


@pytest.mark.parametrize("form", [dict, tuple])
def test_a_threshold_is_chosen_for_a_model_of_several_inputs(form: type) -> None:
    """Their shapes may differ, so that they make no single array."""
    logits, several = FORMS["one logit"][0], (LOGITS[:, None] - 1.0, np.ones((40, 2, 1)))
    inputs = dict(zip("ab", several, strict=True)) if form is dict else several

    def added(given: Any, training: bool) -> np.ndarray:
        one, other = given.values() if form is dict else given
        return np.asarray(one + other[:, 0])

    head = Head("two classes", True)
    plain = described_threshold("f1", Outputs(), validated_on(logits), head)
    assert described_threshold("f1", added, validated_on(inputs), head) == plain


def test_thresholds_of_heads_are_by_name_and_decide_the_metrics_of_their_head() -> None:
    from nightune.models.data.heads import HeadData
    from nightune.models.networks.joint_heads import JOINT, JointHead, Part

    logits = np.concatenate([FORMS["one logit"][0], -FORMS["one logit"][0] + 0.3], axis=1)
    targets = np.stack([TARGETS, 1 - TARGETS], axis=1).astype(np.float32)
    described: list[dict[str, Any]] = [
        {"name": name, "task": "binary", "classes": ["no", "yes"], "columns": [place, place + 1], "output_size": 1}
        for place, name in enumerate(("a", "b"))
    ]
    datas = HeadData.of({"heads": [{**each, "is_column": True} for each in described]})
    parts = tuple(
        Part(data, Head("two classes", True), (place, place + 1), 1.0, data.name) for place, data in enumerate(datas)
    )
    head = JointHead(JOINT, False, parts=parts)
    description = {"heads": described, "output_size": 2, "task": "heads"}
    dataset: Any = type("D", (), {"validation": Examples(logits, targets), "description": description})()
    found = described_threshold({"b": "f1"}, Outputs(), dataset, head)["heads"]
    assert "threshold" not in found[0]
    probabilities = class_probabilities(logits[:, 1:], True)[:, 1]
    assert found[1]["threshold"] == best_threshold("f1", probabilities, 1 - TARGETS)
    predictor = Predictor(Outputs(), None, {**description, **head.description, "heads": found})
    values = all_metrics(predictor, logits, targets, head)
    is_second = probabilities > found[1]["threshold"]
    assert values["b_accuracy"] == pytest.approx(accuracy_score(1 - TARGETS, is_second))
    assert values["a_accuracy"] == pytest.approx(accuracy_score(TARGETS, logits[:, 0] > 0))
    assert (
        predictor.of_head("b").answers(logits[:, 1:]).tolist()
        == np.array(["no", "yes"])[is_second.astype(int)].tolist()
    )
