"""Several heads: targets by name, each with a task and a loss of its own, from the loader to a version's answers."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nightune.models.data.dataset import Dataset, Purpose
from nightune.models.data.heads import metric_of_head
from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.data.storage import open_dataset, save_dataset
from nightune.models.errors import InputError
from nightune.models.serving.predictor import DESCRIPTION, MODEL, Predictor
from nightune.models.training.row_weights import ClassWeights
from nightune.tasks.gate_guards import check_schema
from nightune.tasks.gate_question import Question
from nightune.tasks.threshold_problems import threshold_problems
from tests.models.conftest import BACKEND, FEW_RULES

ROWS = 90
LOADER = """
import numpy as np, pandas as pd
random = np.random.default_rng(0)
x = random.normal(size=({rows}, 4)).astype("float32")
kind = np.array(["low", "middle", "high"])[np.arange({rows}) % 3]
amount = x.sum(1) * 3 + 5
mask = (x[:, :, None] > np.zeros((1, 1, 2))).astype(int)
tags = (x[:, :2] > 0).astype(int); tags[0] = 1
rows = np.arange({rows} * 4).reshape(-1, 4)
pair = pd.DataFrame({{"u": amount, "v": -amount}})
named = {{"kind": kind, "amount": amount, "mask": mask}}
def load(): return {result}
"""
NET = """
import keras
from keras import layers, ops

LOSSES = ["mae", "sparse_categorical_crossentropy", "binary_crossentropy"]

def trunk(input_shape):
    inputs = keras.Input(input_shape)
    return inputs, layers.Dense(6, activation="tanh")(inputs)

def heads(size, x):
    return {
        "amount": layers.Dense(size["amount"], name="amount")(x),
        "kind": layers.Dense(size["kind"], activation="softmax", name="kind")(x),
        "mask": layers.Reshape(size["mask"], name="mask")(layers.Dense(8, activation="sigmoid")(x)),
    }

def build(input_shape, output_size):
    inputs, x = trunk(input_shape)
    return keras.Model(inputs, heads(output_size, x))

def listed(input_shape, output_size):
    inputs, x = trunk(input_shape)
    return keras.Model(inputs, list(heads(output_size, x).values()))

def ordered(input_shape, output_size):
    inputs, x = trunk(input_shape)
    return keras.Model(inputs, [layers.Dense(3)(x), layers.Dense(1)(x)])

def losses(input_shape, output_size):
    model = build(input_shape, output_size)
    names = ["amount", "kind", "mask"]
    model.compile("adam", loss=dict(zip(names, LOSSES)), loss_weights=dict(zip(names, [0.25, 2.0, 1.0])))
    return model

def in_a_list(input_shape, output_size):
    model = listed(input_shape, output_size)
    model.compile("adam", loss=LOSSES, loss_weights=[0.25, 2, 1])
    return model

def some(input_shape, output_size):
    model = build(input_shape, output_size)
    model.compile("adam", loss={"amount": "mse"})
    return model

@keras.saving.register_keras_serializable("tests")
class Own(keras.Model):
    def __init__(self, size, **options):
        super().__init__(**options)
        self.hidden, self.kind = layers.Dense(6), layers.Dense(size["kind"])
        self.amount, self.flat, self.mask = layers.Dense(1), layers.Dense(8), layers.Reshape(size["mask"])
    def call(self, inputs):
        x = self.hidden(inputs)
        return {"kind": self.kind(x), "amount": self.amount(x), "mask": self.mask(self.flat(x))}

def own(input_shape, output_size):
    return Own(output_size)

def stepping(input_shape, output_size):
    class Stepping(Own):
        def train_step(self, data):
            return super().train_step(data)
    return Stepping(output_size)

def one(input_shape, output_size):
    inputs, x = trunk(input_shape)
    return keras.Model(inputs, layers.Dense(1)(x))

def fewer(input_shape, output_size):
    inputs, x = trunk(input_shape)
    made = heads(output_size, x)
    return keras.Model(inputs, {"kind": made["kind"], "total": made["amount"]})

def wider(input_shape, output_size):
    inputs, x = trunk(input_shape)
    return keras.Model(inputs, heads(output_size, x) | {"amount": layers.Dense(2)(x)})

def bounded(input_shape, output_size):
    inputs, x = trunk(input_shape)
    return keras.Model(inputs, heads(output_size, x) | {"amount": layers.Dense(1, activation="tanh")(x)})

def cost(y_true, y_pred):
    return ops.square(y_true - y_pred) * 2
"""

NO_WEIGHTS = {"amount": 0.0, "kind": 0.0, "mask": 0.0}


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, build_model, make_engine, train, read_recipe, read_head, TrainingRows, TrainingSettings
    global plain_model, save, AlikeModels, build_recipe_model, contradiction
    import keras

    from nightune.models.engines.compiled.alike_models import AlikeModels
    from nightune.models.engines.keras_parts.recipe_models import build_recipe_model
    from nightune.models.engines.make import make_engine
    from nightune.models.networks.architectures import build_model
    from nightune.models.networks.joint_heads import read_head
    from nightune.models.networks.packed_models import plain_model
    from nightune.models.networks.training_rows import TrainingRows
    from nightune.models.recipe.params import read_recipe
    from nightune.models.techniques.losses import TrainingSettings
    from nightune.models.training.checkpoint import save
    from nightune.models.training.loop import train
    from nightune.models.training.settled_heads import contradiction


def load(folder: Path, result: str = "(x, named)", rows: int = ROWS, **keys: Any) -> Dataset:
    (folder / "load.py").write_text(LOADER.format(rows=rows, result=result))
    return load_dataset(DataSettings("load.py:load", **keys), folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(NET)
    return tmp_path


def settled(folder: Path, function: str, dataset: Dataset, **training: Any) -> Any:
    """Build a model and settle its heads, as a check does."""
    shapes, given = (dataset.input_shape, dataset.output_size), dataset.train.inputs
    model = build_model(f"net.py:{function}", {}, *shapes, folder=folder, seed=1, training_inputs=given)
    return model, read_head(model, TrainingRows.of(dataset), TrainingSettings(**training), folder)


def test_each_head_has_the_task_of_its_targets(tmp_path: Path) -> None:
    dataset = load(tmp_path)
    assert {head.name: head.task for head in dataset.heads} == {
        "kind": "multiclass",
        "amount": "regression",
        "mask": "multilabel",
    }
    assert dataset.output_size == {"kind": 3, "amount": 1, "mask": (4, 2)}
    assert dataset.description["split"]["kind"] == "stratified"  # by the only head that divides the rows
    two = load(tmp_path, "(x, {'kind': kind, 'tags': tags})")
    assert two.description["split"]["kind"] == "random"
    test = dataset.test.open(Purpose.GATE, record=lambda: None)
    for examples in (dataset.train, dataset.validation, test):
        kind, amount, mask = (examples.of_head(head) for head in dataset.heads)
        assert (kind.targets.dtype, amount.targets.ndim, mask.targets.shape[1]) == (np.int32, 1, 8)
        np.testing.assert_allclose(amount.targets, examples.inputs.sum(axis=1) * 3 + 5, rtol=1e-4)
        np.testing.assert_array_equal(mask.targets[:, ::2], examples.inputs > 0)


def test_a_list_names_its_targets_by_their_places(tmp_path: Path) -> None:
    dataset = load(tmp_path, "(x, [kind, amount])")
    assert dataset.output_size == {"0": 3, "1": 1}


@pytest.mark.parametrize("result", ["(x, {'only': amount})", "(x, list(x[:, :3]))", "(x, list(amount))"])
def test_one_target_stays_one(tmp_path: Path, result: str) -> None:
    assert load(tmp_path, result).heads == ()


def test_saved_targets_of_heads_open_as_they_were_with_folds(tmp_path: Path) -> None:
    dataset = load(tmp_path, "(x, {'kind': kind, 'pair': pair})", scale_target=True, split=Split(folds=3))
    opened = open_dataset(save_dataset(dataset, tmp_path / "data"))
    assert opened.heads == dataset.heads
    pair = opened.heads[1]
    assert pair.described["outputs"] == ["u", "v"]
    assert "target_scale" in pair.described
    for one, other in zip(opened.folds, dataset.folds, strict=True):
        np.testing.assert_array_equal(one.train.targets, other.train.targets)
        np.testing.assert_allclose(one.of_head(pair).train.targets.mean(axis=0), 0.0, atol=1e-5)


@pytest.mark.parametrize(
    ("result", "keys", "words"),
    [
        ("(x, {'a/b': kind, 'c': amount})", {}, "'a/b' is no such name"),
        ("(x, {'a': {'b': kind}, 'c': amount})", {}, "'a' is a dictionary itself"),
        ("(x, {'a': kind[:50], 'c': amount})", {}, "90 inputs and 50 targets"),
        ("(x, {'a': kind, 'c': amount * 0})", {}, "target 'c': the target is 0.0 in every row"),
        ("(x, {'a': kind, 'a_label': kind, 'label': tags})", {}, None),
        ("(x, {'a': tags, 'a_label': kind})", {}, "val_a_label_accuracy"),
        ("(x, named, {'kind': x[:, 0]})", {}, "head 'kind'.*numbers from 0"),
        ("(x, amount, {'a': x[:, 0], 'b': x[:, 0]})", {}, "return one array of weights"),
        ("(x, named)", {"task": {"kin": "regression"}}, "did you mean 'kind'"),
        ("(x, {'a': kind, 'b': tags})", {"split": Split("stratified")}, "'stratified' needs one head with classes"),
        ("(x, {'a': kind, 'b': tags})", {"scale_target": True}, "no head has it"),
        ("(x, amount)", {"task": {"amount": "regression"}}, "the data has one target"),
    ],
)
def test_targets_that_do_not_fit_are_refused_by_their_name(
    tmp_path: Path, result: str, keys: dict[str, Any], words: str | None
) -> None:
    if words is None:
        assert len(load(tmp_path, result, **keys).heads) == 3
        return
    with pytest.raises(InputError, match=words):
        load(tmp_path, result, **keys)


def test_a_task_is_stated_for_one_head(tmp_path: Path) -> None:
    whole = "(x, {'count': np.arange(90) % 3, 'kind': kind})"
    said = next(each for each in load(tmp_path, whole).findings if "are read as classes" in each)
    assert 'task = { count = "regression" }' in said
    assert load(tmp_path, whole, task={"count": "regression"}).heads[0].task == "regression"


def test_columns_of_a_table_are_targets_by_name(tmp_path: Path) -> None:
    prices = [*(f"{number},50 €" for number in range(59)), ""]
    frame = pd.DataFrame({"u": np.arange(60) % 7, "price": prices, "v": np.arange(60.0)})
    frame["grade"], frame["w"] = np.array(["a", "b"])[np.arange(60) % 2], -frame["v"]
    frame.to_csv(tmp_path / "rows.csv", index=False)
    target = {"grade": "grade", "price": "price", "pair": ("v", "w")}
    dataset = load_dataset(DataSettings("rows.csv", target=target), tmp_path)
    assert {head.name: head.task for head in dataset.heads} == {
        "grade": "binary",
        "price": "regression",
        "pair": "regression",
    }
    assert dataset.output_size == {"grade": 1, "price": 1, "pair": 2}
    assert sum(dataset.sizes.values()) == 59  # the row without a price is left out
    assert dataset.heads[2].described["outputs"] == ["v", "w"]
    assert dataset.description["target"] == ["grade", "price", "v", "w"]
    price, pair = (dataset.train.of_head(head).targets for head in dataset.heads[1:])
    np.testing.assert_allclose(price, pair[:, 0] + 0.5)
    lines = {line.name: line.read_as for line in dataset.columns}
    assert lines == {"grade": "classes", "price": "number", "v": "number", "w": "number", "u": "number"}
    stated = load_dataset(DataSettings("rows.csv", target=target, task={"price": "regression"}), tmp_path)
    assert stated.version == dataset.version
    with pytest.raises(InputError, match="did you mean 'price'"):
        load_dataset(DataSettings("rows.csv", target=target, task={"prize": "regression"}), tmp_path)


def test_a_column_weighs_the_rows_of_one_head(tmp_path: Path) -> None:
    frame = pd.DataFrame({"u": np.arange(60) % 7, "v": np.arange(60.0), "w": np.arange(60) % 3})
    frame["grade"] = np.array(["a", "b"])[np.arange(60) // 2 % 2]
    frame.to_csv(tmp_path / "rows.csv", index=False)
    keys: dict[str, Any] = {"target": {"grade": "grade", "v": "v"}, "split": Split("random")}
    dataset = load_dataset(DataSettings("rows.csv", weight={"grade": "w"}, **keys), tmp_path)
    assert {head.name: head.has_weights for head in dataset.heads} == {"grade": True, "v": False}
    grade, amount = (dataset.train.of_head(head) for head in dataset.heads)
    np.testing.assert_array_equal(grade.weights, amount.targets % 3)
    assert amount.weights is None
    assert "w" not in dataset.description["features"]
    for weight, words in (({"grad": "w"}, "did you mean 'grade'"), ({"grade": "x"}, "unknown column 'x'")):
        with pytest.raises(InputError, match=words):
            load_dataset(DataSettings("rows.csv", weight=weight, **keys), tmp_path)
    with pytest.raises(InputError, match="one target; give the name of a column"):
        load_dataset(DataSettings("rows.csv", target="grade", weight={"grade": "w"}), tmp_path)


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


def version(folder: Path, dataset: Dataset, function: str = "build", **training: Any) -> tuple[Any, Any]:
    """Return the predictor of a version's folder, and the settled head of its model."""
    model, head = settled(folder, function, dataset, **training)
    parts = folder / "parts"
    parts.mkdir()
    save(model, parts / MODEL)
    (parts / DESCRIPTION).write_text(json.dumps({**dataset.description, **head.description}))
    return Predictor.open(parts), head


def test_a_version_answers_with_a_column_for_each_head_or_a_dictionary(folder: Path) -> None:
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
    assert np.isfinite(summed.baseline().losses).all()
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


MASKED = """
ENDED = layers.Identity()

def masked(input_shape, output_size):
    inputs = keras.Input(input_shape, dtype="int32")
    x = layers.Embedding(5, 3, mask_zero=True)(inputs)
    kind = layers.Dense(3)(layers.GlobalAveragePooling1D()(x))
    return keras.Model(inputs, {"kind": kind, "steps": ENDED(layers.Dense(1)(x))})

class OwnMasked(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding, self.kind = layers.Embedding(5, 3, mask_zero=True), layers.Dense(3)
        self.pool, self.steps = layers.GlobalAveragePooling1D(), layers.Dense(1)
    def call(self, inputs):
        x = self.embedding(inputs)
        return {"kind": self.kind(self.pool(x)), "steps": ENDED(self.steps(x))}

def own_masked(input_shape, output_size):
    return OwnMasked()
"""
WEIGHTED = """
def weighted(input_shape, output_size, rate: float = 0.5, share: float = 1.0):
    inputs, x = trunk(input_shape)
    x = layers.Dropout(rate)(x)
    model = keras.Model(inputs, {name: layers.Dense(size)(x) for name, size in output_size.items()})
    model.compile("adam", loss_weights={"kind": share, "amount": 1.0})
    return model
"""
BOTH = """
def both(input_shape, output_size):
    inputs = {name: keras.Input(shape, name=name) for name, shape in input_shape.items()}
    x = layers.concatenate(list(inputs.values()))
    return keras.Model(inputs, {name: layers.Dense(size)(x) for name, size in output_size.items()})

class OwnBoth(keras.Model):
    def __init__(self, sizes):
        super().__init__()
        self.heads = {name: layers.Dense(size) for name, size in sizes.items()}
    def call(self, inputs):
        x = ops.concatenate([inputs["a"], inputs["b"]], axis=-1)
        return {name: head(x) for name, head in self.heads.items()}

def own_both(input_shape, output_size):
    return OwnBoth(output_size)
"""
PAIRED = """
def paired(input_shape, output_size):
    inputs, x = trunk(input_shape)
    made = {"kind": layers.Dense(3, activation="softmax")(x)}
    return keras.Model(inputs, made | {"pair": layers.Dense(2)(x), "tags": layers.Dense(2)(x)})
"""
