"""Classes of several heads: at positions beside one for the row, weights of classes and of rows, in all engines."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset, Purpose
from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.data.storage import open_dataset, save_dataset
from nightune.models.errors import InputError
from nightune.models.serving.predictor import DESCRIPTION, MODEL, Predictor
from nightune.models.training.row_weights import ClassWeights
from nightune.tasks.gate_question import Question

LOADER = """
import numpy as np
random = np.random.default_rng(0)
x = random.random((80, 4, 4, 1)).astype("float32")
shade = np.digitize(x[..., 0], [0.3, 0.8]) + 4
shade[x[..., 0] < 0.1] = 9
total = x.sum((1, 2, 3))
kind = np.array(["high", "low", "middle"])[np.digitize(total, [7.5, 8.8])]
ripe = np.where(total + random.normal(0, 1, 80) > 8.8, "yes", "no")
tags = (x[:, :2, 0, 0] > 0.5).astype(int)
own = {"kind": random.integers(0, 3, 80), "shade": random.random(80) + 0.1}
named = {"kind": kind, "shade": shade, "ripe": ripe, "total": total}
def load(): return {result}
"""
NET = """
import keras
from keras import layers

def build(input_shape, output_size):
    inputs = keras.Input(input_shape)
    x = layers.Conv2D(3, 3, padding="same", activation="tanh", name="trunk")(inputs)
    flat = layers.Flatten()(x)
    made = {
        "kind": layers.Dense(3, activation="softmax"),
        "ripe": layers.Dense(1, activation="sigmoid"),
        "total": layers.Dense(1),
        "tags": layers.Dense(2),
    }
    heads = {name: each(flat) for name, each in made.items() if name in output_size}
    if "shade" in output_size:
        heads["shade"] = layers.Conv2D(output_size["shade"][-1], 1)(x)
    return keras.Model(inputs, heads)
"""
TASKS = {"shade": "classification"}
WEIGHTS = {"kind": "balanced", "shade": {"4": 0.5, "6": 3.0}, "ripe": {"yes": 4.0}}
PARAMS = {"model.architecture": "net.py:build", "optimizer": "adam", "learning_rate.peak": 0.02, "batch_size.size": 16}


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global build_model, read_recipe, read_head, save
    global TrainingRows, TrainingSettings, graph_key, losses_as_trained, perturbed
    from nightune.models.networks.architectures import build_model
    from nightune.models.networks.joint_heads import read_head
    from nightune.models.networks.rows_as_trained import losses_as_trained
    from nightune.models.networks.training_rows import TrainingRows
    from nightune.models.recipe.params import read_recipe
    from nightune.models.techniques.losses import TrainingSettings
    from nightune.models.training.checkpoint import save
    from nightune.models.training.graph_key import graph_key, perturbed


def load(folder: Path, result: str = "(x, named)", **keys: Any) -> Dataset:
    (folder / "load.py").write_text(LOADER.replace("{result}", result))
    (folder / "net.py").write_text(NET)
    has_shades = "named" in result or "shade" in result
    given = {"task": TASKS, "ignore_class": 9} if has_shades else {}
    return load_dataset(DataSettings("load.py:load", **{**given, "split": Split("random"), **keys}), folder)


def settled(folder: Path, dataset: Dataset, **training: Any) -> tuple[Any, Any]:
    """Build a model and settle its heads, as a check does."""
    shapes = dataset.input_shape, dataset.output_size
    model = build_model("net.py:build", {}, *shapes, folder=folder, seed=1)
    return model, read_head(model, TrainingRows.of(dataset), TrainingSettings(**training), folder)


def test_a_class_at_each_position_is_one_of_several_heads(tmp_path: Path) -> None:
    dataset = load(tmp_path)
    assert {head.name: head.task for head in dataset.heads} == {
        "kind": "multiclass",
        "shade": "positions",
        "ripe": "binary",
        "total": "regression",
    }
    assert dataset.output_size == {"kind": 3, "shade": (4, 4, 3), "ripe": 1, "total": 1}
    opened = open_dataset(save_dataset(dataset, tmp_path / "kept"))
    assert opened.heads == dataset.heads
    shade = next(head for head in opened.heads if head.name == "shade")
    alone = opened.of_head(shade)
    assert (alone.output_size, alone.classes, alone.train.targets.min()) == ((4, 4, 3), (4, 5, 6), -1)


def test_a_number_of_positions_without_a_class_needs_a_head_with_positions(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"several axes.*remove it") as caught:
        load(tmp_path, "(x, {'kind': kind, 'ripe': ripe})", ignore_class=9)
    assert caught.value.key == "data.ignore_class"


def test_weights_of_classes_are_those_of_each_head(tmp_path: Path) -> None:
    dataset = load(tmp_path, "(x, named, own)")
    found = ClassWeights(dataset).by_class(WEIGHTS)
    assert (found["shade_4"], found["shade_5"], found["shade_6"], found["ripe_yes"]) == (0.5, 1.0, 3.0, 4.0)
    kind = dataset.of_head(dataset.heads[0]).train
    assert kind.weights is not None
    totals = np.bincount(kind.targets, weights=kind.weights, minlength=3)
    np.testing.assert_allclose([found[f"kind_{each}"] for each in ("high", "low", "middle")], totals.sum() / 3 / totals)
    alone = ClassWeights(dataset.of_head(dataset.heads[1]))
    shade = dataset.of_head(dataset.heads[1]).train
    spread = np.repeat(shade.weights, 16)[shade.targets.reshape(-1) >= 0]  # type: ignore[arg-type] # given
    totals = np.bincount(shade.targets[shade.targets >= 0], weights=spread)
    np.testing.assert_allclose(alone.of("balanced"), totals.sum() / 3 / totals, rtol=1e-5)


def test_weights_of_classes_are_data_of_one_program() -> None:
    recipes = [read_recipe({**PARAMS, "training.class_weight": each}) for each in (WEIGHTS, {"kind": "sqrt"})]
    assert graph_key(recipes[0], "") == graph_key(recipes[1], "")
    assert perturbed(recipes[0]).training.class_weight == {
        "kind": "sqrt",
        "shade": {"4": pytest.approx(0.35), "6": pytest.approx(2.1)},
        "ripe": {"yes": pytest.approx(2.8)},
    }


ALL = "(x, {'kind': kind, 'tags': tags, 'total': total})"


@pytest.mark.parametrize(
    ("result", "weights", "words"),
    [
        (ALL, "balanced", ["head 'tags'", 'class_weight = { kind = "balanced" }']),
        (ALL, {"high": 2.0}, ["a table of classes", 'class_weight = { kind = "balanced" }']),
        (ALL, {"kid": "balanced"}, ["did you mean 'kind'"]),
        (ALL, {"tags": "balanced"}, ["head 'tags'", "heads that have some: 'kind'"]),
        (ALL, {"kind": {"hihg": 2.0}}, ["head 'kind'", "did you mean 'high'"]),
        ("(x, {'tags': tags, 'total': total})", "balanced", ["remove the key"]),
        ("(x, kind)", {"kind": "balanced"}, ["one target", "give its value alone"]),
    ],
)
def test_other_weights_of_classes_are_refused(tmp_path: Path, result: str, weights: Any, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        ClassWeights(load(tmp_path, result)).of(weights)
    assert caught.value.key == "training.class_weight"
    assert all(word in caught.value.message for word in words), caught.value.message


def test_the_remedies_of_refused_weights_work(tmp_path: Path) -> None:
    named = ClassWeights(load(tmp_path, ALL)).by_class({"kind": "balanced"})
    alone = ClassWeights(load(tmp_path, "(x, kind)")).by_class("balanced")
    assert named == {f"kind_{label}": weight for label, weight in alone.items()}


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ("{'kid': own['kind']}", "did you mean 'kind'"),
        ("{'kind': -x[:, 0, 0, 0]}", "head 'kind'.*numbers from 0"),
        ("{'kind': own['kind'][:5]}", "head 'kind'.*80 rows"),
        ("{'shade': np.ones((80, 4, 4))}", "head 'shade'.*class_weight.*ignore_class"),
        ("{'kind': np.zeros(80)}", "head 'kind'.*all weights are 0"),
        ("{'kind': np.r_[1, np.zeros(79)]}", "head 'kind'.*have the weight 0"),
    ],
)
def test_weights_of_rows_by_head_that_do_not_fit_are_refused(tmp_path: Path, weights: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        load(tmp_path, f"(x, named, {weights})")


def test_metrics_of_a_head_weigh_rows_by_its_weights_or_all_alike(tmp_path: Path) -> None:
    dataset, alike = load(tmp_path, "(x, named, own)"), load(tmp_path, "(x, named, own)", metrics_by_rows=True)
    plain = load(tmp_path, "(x, named)")
    model, head = settled(tmp_path, dataset)
    outputs = np.asarray(model(dataset.validation.inputs))
    without = settled(tmp_path, plain)[1].metrics("heads", outputs, plain.validation.targets)
    found, by_rows = (head.metrics("heads", outputs, each.validation.targets) for each in (dataset, alike))
    kind = dataset.validation.of_head(dataset.heads[0])
    is_right = head.part("kind").outputs(outputs).argmax(axis=1) == kind.targets
    assert found["kind_accuracy"] == pytest.approx(np.average(is_right, weights=kind.weights))
    assert by_rows["kind_accuracy"] == pytest.approx(is_right.mean()) == without["kind_accuracy"]
    assert found["ripe_accuracy"] == without["ripe_accuracy"]
    rows = losses_as_trained(head, outputs, dataset.validation)
    assert rows.mean() == pytest.approx(found["loss"], rel=1e-5)


def test_a_list_of_weights_goes_to_the_targets_in_their_order(tmp_path: Path) -> None:
    listed = load(tmp_path, "(x, [kind, total], [own['kind'], None])")
    assert [head.has_weights for head in listed.heads] == [True, False]


def version(folder: Path, dataset: Dataset) -> tuple[Any, Any]:
    """Return the predictor of a version's folder, and the settled head of its model."""
    model, head = settled(folder, dataset)
    parts = folder / "parts"
    parts.mkdir()
    save(model, parts / MODEL)
    (parts / DESCRIPTION).write_text(json.dumps({**dataset.description, **head.description}))
    return Predictor.open(parts), head


def test_a_version_answers_labels_and_probabilities_of_rows_and_positions(tmp_path: Path) -> None:
    dataset = load(tmp_path)
    predictor, head = version(tmp_path, dataset)
    x = dataset.train.inputs[:7]
    answers = predictor.predict(x)
    assert {name: each.shape for name, each in answers.items()} == {
        "kind": (7,),
        "shade": (7, 4, 4),
        "ripe": (7,),
        "total": (7,),
    }
    assert set(np.unique(answers["shade"])) <= {4, 5, 6}
    table = predictor.predict(x, output="probabilities")
    assert table.columns.tolist()[:5] == ["kind_high", "kind_low", "kind_middle", "shade_4_0", "shade_5_0"]
    assert table.shape == (7, 3 + 48 + 2)
    logits = head.part("shade").outputs(predictor.outputs(x)).reshape(7, 16, 3).astype(float)
    powers = np.exp(logits - logits.max(axis=2, keepdims=True))
    shares = powers / powers.sum(axis=2, keepdims=True)
    np.testing.assert_allclose(table.to_numpy()[:, 3:51].reshape(7, 16, 3), shares, rtol=1e-5)
    whole = predictor.predict(x, output="table")
    assert {"kind", "shade_15", "probability_shade_6_15", "probability_ripe_yes"} <= set(whole.columns)
    assert predictor.predict(x[:0], output="probabilities").shape == (0, 53)


@pytest.mark.parametrize("objective", ["val_loss", "val_shade_mean_iou", "val_kind_f1_macro"])
def test_the_gate_judges_by_the_weights_of_heads(tmp_path: Path, objective: str) -> None:
    dataset = load(tmp_path, "(x, named, own)")
    predictor, head = version(tmp_path, dataset)
    test = dataset.test.open(Purpose.GATE, record=lambda: None)
    question = Question.of(dataset, test, objective, head)
    side = question.side(tmp_path / "parts", (), test.inputs)
    values = head.metrics("heads", predictor.outputs(test.inputs), test.targets, None, named_of(dataset, objective))
    wanted = values[objective.removeprefix("val_")]
    if objective == "val_loss":
        assert side.losses[0].mean() == pytest.approx(wanted, rel=1e-5)
    else:
        weights = np.ones(len(test)) if question.rows.weights is None else question.rows.weights
        assert 1.0 - side.metrics[0](weights[None])[0] == pytest.approx(wanted)
    assert np.isfinite(question.baseline.losses).all()


def named_of(dataset: Dataset, objective: str) -> Any:
    from nightune.models.networks.named_metrics import Named

    return Named.of([objective], dataset.task, dataset.description)
