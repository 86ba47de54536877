"""Models of several heads: settled by what the author wrote, trained with a loss for each, equal to Keras."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nightune.models.data.heads import metric_of_head
from nightune.models.errors import InputError
from nightune.models.training.row_weights import ClassWeights
from nightune.tasks.threshold_problems import threshold_problems
from tests.models.conftest import BACKEND, FEW_RULES
from tests.models.head_models import BOTH, MASKED, NET, WEIGHTED, load, settled

NO_WEIGHTS = {"amount": 0.0, "kind": 0.0, "mask": 0.0}


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global build_model, make_engine, train, read_recipe, read_head, TrainingRows, TrainingSettings
    global plain_model, AlikeModels, build_recipe_model, contradiction
    from nightune.models.engines.compiled.alike_models import AlikeModels
    from nightune.models.engines.keras_parts.recipe_models import build_recipe_model
    from nightune.models.engines.make import make_engine
    from nightune.models.networks.architectures import build_model
    from nightune.models.networks.joint_heads import read_head
    from nightune.models.networks.packed_models import plain_model
    from nightune.models.networks.training_rows import TrainingRows
    from nightune.models.recipe.params import read_recipe
    from nightune.models.techniques.losses import TrainingSettings
    from nightune.models.training.loop import train
    from nightune.models.training.settled_heads import contradiction


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(NET)
    return tmp_path


def test_the_loss_is_that_of_keras_for_dictionaries_of_losses_and_weights(folder: Path) -> None:
    dataset = load(folder, scale_target=True)
    model, head = settled(folder, "build", dataset, loss={"amount": "huber"}, loss_weights={"mask": 0.3, "kind": 2.0})
    plain = plain_model(model)
    plain.compile(
        "sgd",
        loss={"amount": "huber", "kind": "sparse_categorical_crossentropy", "mask": "binary_crossentropy"},
        loss_weights={"amount": 1.0, "kind": 2.0, "mask": 0.3},
    )
    packed = dataset.train.targets
    kind, amount, mask = (each.targets(packed) for each in dataset.heads)
    wanted = {"kind": kind, "amount": amount[:, None], "mask": mask.reshape(-1, 4, 2).astype("float32")}
    theirs = plain.compute_loss(y=wanted, y_pred=plain(dataset.train.inputs))
    outputs = model(dataset.train.inputs)
    ours = head.make_loss()(head.targets(packed), outputs)
    np.testing.assert_allclose(float(ours), float(theirs), rtol=1e-5)
    measured = head.metrics("heads", np.asarray(outputs), packed)
    np.testing.assert_allclose(measured["loss"], float(theirs), rtol=1e-5)
    assert {"kind_accuracy", "amount_mae", "mask_label_accuracy", "kind_loss"} <= set(measured)
    broken = np.asarray(outputs) + np.where(np.arange(12) == 3, np.nan, 0.0)
    assert np.isnan(list(head.metrics("heads", broken, packed).values())).all()


def test_a_head_of_weight_0_is_left_out_and_those_without_one_are_trained(folder: Path) -> None:
    _, head = settled(folder, "build", load(folder), loss_weights={"mask": 0.0})
    assert head.loss_weights == {"amount": 1.0, "kind": 1.0, "mask": 0.0}


@pytest.mark.parametrize(
    ("function", "weights"),
    [
        ("losses", {"amount": 0.25, "kind": 2.0, "mask": 1.0}),
        ("in_a_list", {"amount": 0.25, "kind": 2.0, "mask": 1.0}),
        ("some", {"amount": 1.0, "kind": 0.0, "mask": 0.0}),
    ],
)
def test_what_a_function_compiled_is_used_and_said(folder: Path, function: str, weights: dict[str, float]) -> None:
    _, head = settled(folder, function, load(folder))
    assert head.loss_weights == weights
    assert "compiled by the model's function" in head.said
    assert head.part("amount").head.loss_name == ("mse" if function == "some" else "mae")
    assert any("'mask' is not trained" in remark for remark in head.remarks) == (function == "some")
    _, stated = settled(folder, function, load(folder), loss={"amount": "huber"}, loss_weights={"kind": 3.0})
    assert stated.loss_weights == {"amount": 1.0, "kind": 3.0, "mask": 1.0}
    assert any("head 'amount': the compiled loss" in remark for remark in stated.remarks)


@pytest.mark.parametrize(
    ("function", "result"),
    [("build", "(x, named)"), ("listed", "(x, named)"), ("own", "(x, named)"), ("ordered", "(x, [kind, amount])")],
)
def test_outputs_meet_their_targets_by_name_or_in_order(folder: Path, function: str, result: str) -> None:
    dataset = load(folder, result)
    model, head = settled(folder, function, dataset)
    plain = plain_model(model)
    assert any(layer is plain for layer in model.layers) == (function == "own")  # else flat
    assert [id(each) for each in plain.variables] == [id(each) for each in model.variables]
    outputs = plain(dataset.train.inputs[:5])
    for part in head.parts:
        theirs = np.asarray(outputs[part.place]).reshape(5, -1)
        np.testing.assert_allclose(part.outputs(np.asarray(model(dataset.train.inputs[:5]))), theirs, rtol=1e-6)


@pytest.mark.parametrize(
    ("function", "training", "key", "words"),
    [
        (
            "one",
            {},
            "model.architecture",
            "the model has one output, and the data the targets 'kind', 'amount', 'mask'",
        ),
        ("fewer", {}, "model.architecture", "outputs 'kind', 'total', and the data the targets 'kind', 'amount'"),
        ("wider", {}, "model.architecture", r"head 'amount'.*loss = \{ amount = \"pinball\" \}"),
        ("bounded", {}, "training.outputs", r"head 'amount'.*outputs = \{ amount = \"quantities\" \}"),
        ("stepping", {}, "model.architecture", "train_step of its own"),
        ("build", {"loss": {"amonut": "mae"}}, "training.loss", "did you mean 'amount'"),
        ("build", {"loss": {"kind": "mae"}}, "training.loss", r"head 'kind'.*task = \{ kind = \"regression\" \}"),
        ("build", {"loss_weights": {"kid": 1.0}}, "training.loss_weights", "did you mean 'kind'"),
        ("build", {"loss_weights": NO_WEIGHTS}, "training.loss_weights", "every head has the weight 0"),
        ("build", {"quantiles": {"kind": [0.5]}}, "training.quantiles", "its loss is not pinball"),
    ],
)
def test_a_model_of_other_heads_is_refused(
    folder: Path, function: str, training: dict[str, Any], key: str, words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        settled(folder, function, load(folder), **training)
    assert caught.value.key == key


@pytest.mark.parametrize("function", ["masked", "own_masked"])
def test_a_head_with_a_mask_is_refused_and_trained_without(folder: Path, function: str) -> None:
    (folder / "net.py").write_text(NET + MASKED)
    dataset = load(folder, "(rows % 5, {'kind': kind, 'steps': x[:, :, None]})")
    with pytest.raises(InputError, match="head 'steps' has a mask"):
        settled(folder, function, dataset)
    (folder / "net.py").write_text((NET + MASKED).replace("layers.Identity()", "lambda x: ops.multiply(x, 1.0)"))
    model, _ = settled(folder, function, dataset)
    assert [each.dtype for each in model.inputs] == ["int32"]


def test_the_remedies_of_the_refusals_work(folder: Path) -> None:
    dataset = load(folder)
    _, head = settled(folder, "bounded", dataset, outputs={"amount": "quantities"})
    assert head.part("amount").head.meaning == "quantities"
    levels = {"loss": {"amount": "pinball"}, "quantiles": {"amount": [0.1, 0.9]}}
    size = {**dataset.output_size, "amount": 2}  # type: ignore[dict-item]
    model = build_model("net.py:wider", {}, dataset.input_shape, size, folder=folder, seed=1)
    head = read_head(model, TrainingRows.of(dataset), TrainingSettings(**levels), folder)
    assert head.part("amount").head.quantiles == (0.1, 0.9)
    counted = load(folder, "(x, {**named, 'kind': np.arange(90) % 3})", task={"kind": "regression"})
    assert counted.output_size == {"kind": 1, "amount": 1, "mask": (4, 2)}


def recipe(function: str, **params: Any) -> Any:
    return read_recipe({"model.architecture": f"net.py:{function}", "batch_size.size": 16, **params})


@pytest.mark.parametrize(
    ("function", "result", "params"),
    [
        ("own", "(x, named, 1 + (x[:, 0] > 0))", {"training.loss": {"amount": "net.py:cost"}}),
        ("ordered", "(x, [kind, amount])", {"penalty.label_smoothing": 0.1, "training.loss_weights": {"1": 0.1}}),
    ],
)
def test_the_compiled_engine_trains_several_heads_as_fit_does(
    folder: Path, function: str, result: str, params: dict[str, Any]
) -> None:
    dataset, tried = load(folder, result), recipe(function, **params)
    fit, compiled = (
        train(
            make_engine(name, dataset, folder, rules=FEW_RULES),
            tried,
            dataset,
            epochs=2,
            seed=1,
            monitor="val_loss",
            direction="minimize",
        )
        for name in ("fit", BACKEND)
    )
    for one, other in zip(fit.weights, compiled.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
    for name, curve in fit.curves.items():
        if name.startswith("val_"):
            np.testing.assert_allclose(curve, compiled.curves[name], rtol=1e-3, atol=1e-5, err_msg=name)
    weights = {"0": 1.0, "1": 0.1} if function == "ordered" else {"kind": 1.0, "amount": 1.0, "mask": 1.0}
    total = sum(weight * np.array(fit.curves[f"val_{name}_loss"]) for name, weight in weights.items())
    np.testing.assert_allclose(fit.curves["val_loss"], total, rtol=1e-6)


def test_models_of_other_weights_of_losses_share_no_program(folder: Path) -> None:
    (folder / "net.py").write_text(NET + WEIGHTED)
    dataset = load(folder, "(x, {'kind': kind, 'amount': amount})")
    alike = AlikeModels(lambda recipe, seed: build_recipe_model(recipe, dataset, folder, seed), folder)
    first, other = (recipe("weighted", **{"model.rate": rate, "model.share": rate}) for rate in (0.25, 0.5))
    assert alike.leader(first).model == {"rate": 0.25, "share": 0.25}
    assert alike.leader(other).model == {"rate": 0.5, "share": 0.5}


@pytest.mark.parametrize("function", ["both", "own_both"])
def test_several_inputs_and_several_heads_are_trained_together(folder: Path, function: str) -> None:
    (folder / "net.py").write_text(NET + BOTH)
    dataset = load(folder, "({'a': x, 'b': x[:, :2]}, {'kind': kind, 'amount': amount})")
    engine = make_engine("fit", dataset, folder)
    options: dict[str, Any] = {"epochs": 2, "seed": 1, "monitor": "val_amount_mae", "direction": "minimize"}
    outcome = train(engine, recipe(function), dataset, report=("val_kind_mcc",), **options)
    assert outcome.status == "completed"
    assert outcome.objective == min(outcome.curves["val_amount_mae"])
    assert "val_kind_mcc" in outcome.curves


def test_what_several_heads_do_not_have_is_refused(folder: Path) -> None:
    dataset = load(folder)
    with pytest.raises(InputError, match=r"head 'mask' has several labels"):
        ClassWeights(dataset).of("balanced")
    study: Any = SimpleNamespace(objective=SimpleNamespace(threshold="f1"))
    assert ["the model has several heads" in each.message for each in threshold_problems(study, dataset)] == [True]
    _, head = settled(folder, "build", dataset)
    tried = recipe("build", **{"penalty.kind": "l2", "penalty.strength": 0.1, "penalty.convention": "article"})
    problem = contradiction(tried, head)
    assert problem is not None
    assert problem.key == "penalty.convention"


def test_a_metric_belongs_to_the_head_of_its_name(tmp_path: Path) -> None:
    heads = load(tmp_path, "(x, {'my': tags, 'my_own': kind, 'amount': amount})").heads
    found = {
        name: metric_of_head(name, heads) for name in ("val_my_own_accuracy", "val_my_f1_micro", "val_amount_rmse")
    }
    assert {name: (each[0].name, each[1]) for name, each in found.items() if each} == {
        "val_my_own_accuracy": ("my_own", "val_accuracy"),
        "val_my_f1_micro": ("my", "val_f1_micro"),
        "val_amount_rmse": ("amount", "val_rmse"),
    }
    assert metric_of_head("val_loss", heads) is None
    assert metric_of_head("val_amount_accuracy", heads) is None
