"""Weights of classes and of rows act as in Keras' `fit`, in every engine; classes count as in scikit-learn."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from nightune.models.data.dataset import Dataset, Examples
from nightune.models.data.few_rows import few_rows
from nightune.models.engines.make import make_engine
from nightune.models.errors import InputError
from nightune.models.recipe.params import read_recipe, resolve
from nightune.models.recipe.recipe import Recipe
from nightune.models.training.engine import COMPILED_ENGINES
from nightune.models.training.graph_key import graph_key, perturbed
from nightune.models.training.loop import train
from nightune.models.training.row_weights import ClassWeights, row_weights, weights_of_classes
from nightune.models.training.seeds import Seeds
from tests.models.conftest import BACKEND, FEW_RULES, MakePlan, both, in_backend

WEIGHTS_APART = 1e-5
TABLE = {"1": 3.0, "2": 0.5}
TRAINED = ["multiclass", "binary", "weighted rows"]
SETTINGS: tuple[Any, ...] = ("none", "balanced", "sqrt", TABLE)
END = {"seed": 5, "monitor": "val_loss", "direction": "minimize"}


def dataset(task: str = "multiclass") -> Dataset:
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(44, 5)).astype(np.float32)
    score = inputs[:, :2].sum(axis=1)
    targets = {
        "regression": score.astype(np.float32),
        "binary": (score > 0.7).astype(np.int32),
        "multiclass": np.digitize(score, [-0.7, 1.2]).astype(np.int32),
        "multilabel": np.stack([score > 0, score > 1], axis=1).astype(np.int32),
    }[task]
    halves = [Examples(inputs[part], targets[part]) for part in (slice(22), slice(22, None))]
    classes = {"binary": (0, 1), "multiclass": (0, 1, 2), "multilabel": ("a", "b")}.get(task)
    return Dataset(*halves, halves[1], task, classes, "0" * 16, (), None, {})


def weighted(task: str = "multiclass") -> Dataset:
    """The data set with weights of rows, some of them 0."""
    data = dataset(task)
    weights = np.random.default_rng(1).integers(0, 5, 44).astype(np.float32) / 2
    train, validation = (
        replace(part, weights=given)
        for part, given in zip((data.train, data.validation), np.split(weights, 2), strict=True)
    )
    return replace(data, train=train, validation=validation)


def recipe(class_weight: Any, **params: Any) -> Recipe:
    plain = {"optimizer": "adam", "learning_rate.peak": 0.05, "batch_size.size": 8}
    own = {} if "model.architecture" in params else {"model.units": [4]}
    return read_recipe({**plain, **own, **params, "training.class_weight": class_weight})


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    data = dataset()
    expected = compute_class_weight("balanced", classes=np.arange(3), y=data.train.targets)
    np.testing.assert_allclose(ClassWeights(data).of("balanced"), expected, rtol=1e-6)
    np.testing.assert_allclose(ClassWeights(data).of("sqrt"), np.sqrt(expected), rtol=1e-6)
    weights = row_weights(data, recipe("balanced").training)
    assert weights is not None
    assert weights.mean() == pytest.approx(1.0)
    assert row_weights(data, recipe("none").training) is None


def test_rows_count_by_their_weights() -> None:
    data = weighted()
    weights = data.train.weights
    assert weights is not None
    totals = np.bincount(data.train.targets, weights=weights)
    np.testing.assert_allclose(ClassWeights(data).of("balanced"), weights.sum() / (3 * totals), rtol=1e-6)
    both = row_weights(data, recipe("balanced").training)
    assert both is not None
    assert both.dtype == np.float32
    np.testing.assert_allclose(np.bincount(data.train.targets, weights=both), weights.sum() / 3, rtol=1e-6)
    assert row_weights(data, recipe("none").training) is weights


def test_a_class_that_a_table_does_not_name_has_the_weight_1_as_in_keras() -> None:
    assert ClassWeights(dataset()).by_class(TABLE) == {"0": 1.0, "1": 3.0, "2": 0.5}


def test_a_class_without_training_rows_does_not_count() -> None:
    data = replace(dataset("binary"), classes=(0, 1, 2), task="multiclass")
    weights = ClassWeights(data).of("balanced")
    np.testing.assert_allclose(weights[:2], ClassWeights(dataset("binary")).of("balanced"))
    assert weights[2] == 1.0


def test_booleans_are_named_as_a_study_writes_them() -> None:
    data = replace(dataset("binary"), classes=(False, True))
    assert ClassWeights(data).of({"true": 5.0}).tolist() == [1.0, 5.0]


@pytest.mark.parametrize(
    ("task", "class_weight", "words"),
    [
        ("regression", "balanced", ["regression", "weight ="]),
        ("multilabel", "balanced", ["multilabel", "several labels"]),
        ("multiclass", {"on": 2.0}, ["'on'", "known: 0, 1, 2"]),
        ("binary", {"0": 0.0, "1": 0.0}, ["above 0"]),
        ("binary", {"0": 1e39}, ["too large"]),
    ],
)
def test_weights_that_the_data_does_not_allow_are_refused(task: str, class_weight: Any, words: list[str]) -> None:
    with np.errstate(over="ignore"), pytest.raises(InputError) as caught:
        ClassWeights(dataset(task)).of(class_weight)
    assert caught.value.key == "training.class_weight"
    assert not [word for word in words if word not in caught.value.message], caught.value.message


def test_weights_are_data_of_one_program_and_none_is_another() -> None:
    keys = {graph_key(recipe(each), "") for each in SETTINGS[1:]}
    assert len(keys) == 1
    assert graph_key(recipe("none"), "") not in keys
    assert [perturbed(recipe(each)).training.class_weight for each in SETTINGS] == [
        "none",
        "sqrt",
        "balanced",
        pytest.approx({"1": 2.1, "2": 0.35}),
    ]


def test_params_have_the_weights_only_where_a_study_gives_them() -> None:
    assert "training.class_weight" not in resolve({})
    assert resolve({"training.class_weight": "none"})["training.class_weight"] == "none"
    assert json.dumps(resolve({"training.class_weight": {"b": 1, "a": 2}})["training.class_weight"]) == (
        '{"a": 2.0, "b": 1.0}'
    )


@pytest.mark.parametrize("value", ["ballanced", {}, {"a": -1.0}, {"a": "1"}, {"a": True}, {"a": np.inf}, 2])
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"training\.class_weight: .*known: none, balanced, sqrt"):
        resolve({"training.class_weight": value})


def compare(folder: Path, tasks: list[str]) -> list[dict[str, Any]]:
    """Train with each setting in `fit` and in the backend's compiled engine, the last one after the others."""
    results = []
    for task in tasks:
        data = weighted("multiclass") if task == "weighted rows" else dataset(task)
        fit, compiled = (
            make_engine(name, data, folder, rules=FEW_RULES) for name in ("fit", COMPILED_ENGINES[BACKEND])
        )
        for setting in [*(SETTINGS if task == "multiclass" else []), "balanced"]:
            ends = [train(each, recipe(setting), data, epochs=2, **END) for each in (fit, compiled)]  # type: ignore[arg-type]
            apart = max(float(np.abs(a - b).max()) for a, b in zip(ends[0].weights, ends[1].weights, strict=True))
            curves = [[end.curves["loss"], end.curves["val_loss"]] for end in ends]
            results.append({"setting": setting, "apart": apart, "curves": curves, "programs": compiled.programs})  # type: ignore[attr-defined]
    return results


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    if request.param == BACKEND:
        return compare(Path(), TRAINED)
    folder = tmp_path_factory.mktemp("other")
    return list(in_backend(request.param, __name__, "compare(Path(), TRAINED)", folder))


@both
def test_engines_agree_on_weights_of_classes(results: list[dict[str, Any]]) -> None:
    for result in results:
        assert result["apart"] <= WEIGHTS_APART, result
        np.testing.assert_allclose(*result["curves"], rtol=1e-5)
    ends = {json.dumps(result["setting"]): result["curves"][1] for result in results[:4]}
    assert len(set(map(str, ends.values()))) == 4  # each setting trains to other weights
    assert results[4]["curves"][1] == ends['"balanced"']  # bit-equal after other weights in the same program
    assert max(result["programs"] for result in results) == 2


@pytest.mark.parametrize("engine_name", ["fit", COMPILED_ENGINES[BACKEND]])
@pytest.mark.parametrize(
    ("class_weight", "has_weights"), [(TABLE, False), ("balanced", False), ("none", True), ("balanced", True)]
)
def test_an_epoch_is_that_of_keras_fit(
    make_plan: MakePlan, engine_name: str, class_weight: Any, has_weights: bool
) -> None:
    """Keras takes weights of classes or of rows; both are given to it as their product."""
    import keras

    data, asked = weighted() if has_weights else dataset(), recipe(class_weight, optimizer="sgd")
    engine = make_engine(engine_name, data, Path(), rules=FEW_RULES)
    state, plan = engine.start(asked, Seeds(1, 2, 3)), make_plan(sizes=(8, 8, 6), rates=0.1)
    model = engine.model(asked, engine.weights(state))
    state, output = engine.run_epoch(state, plan)
    model.compile(
        keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False
    )
    inputs, targets = data.train.inputs[plan.order], data.train.targets[plan.order]
    if data.train.weights is None:
        given: dict[str, Any] = {"class_weight": dict(enumerate(ClassWeights(data).of(class_weight).tolist()))}
    else:
        by_class = np.ones(3) if class_weight == "none" else ClassWeights(data).of(class_weight)
        given = {"sample_weight": data.train.weights[plan.order] * by_class[targets]}
    history = model.fit(inputs, targets, batch_size=8, shuffle=False, verbose=0, **given)
    for ours, theirs in zip(engine.weights(state), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert output.loss == pytest.approx(history.history["loss"][0], rel=1e-5)


OWN_STEPS = """
class Model(keras.Model):
    def train_step(self, data):
        {unpack}
        import tensorflow as tf
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True){passed})
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {{"loss": loss}}

def build(input_shape, output_size):
    inputs = keras.Input(input_shape)
    return Model(inputs, layers.Dense(output_size)(inputs))
"""


@pytest.mark.skipif(BACKEND != "tensorflow", reason="the step of the example is TensorFlow's")
@pytest.mark.parametrize(
    ("unpack", "passed", "word"),
    [
        ("x, y, weight = data", ", sample_weight=weight", ""),
        ("x, y, _ = data", "", "ignores the weights"),
        ("x, y, _ = data; x = x + 0.1 * keras.random.normal(ops.shape(x))", "", "ignores the weights"),
        ("x, y = data", "", "raised ValueError"),
    ],
)
def test_an_own_training_step_must_use_the_weights(
    tmp_path: Path, user_model: Any, unpack: str, passed: str, word: str
) -> None:
    engine = make_engine("fit", dataset(), tmp_path)
    reference = user_model(OWN_STEPS.format(unpack=unpack, passed=passed))
    asked = recipe("balanced", **{"model.architecture": reference})
    if word:
        with pytest.raises(InputError, match=f"model.architecture: .*{word}.*sample_weight"):
            engine.start(asked, Seeds(1, 2, 3))
    else:
        assert engine.start(asked, Seeds(1, 2, 3)) is not None


@pytest.mark.skipif(BACKEND != "tensorflow", reason="JAX refuses to draw without a seed generator")
def test_the_first_weighted_trial_of_a_model_trains_as_a_later_one(tmp_path: Path, user_model: Any) -> None:
    """Settling whether it uses weights builds another model, which draws random numbers."""
    code = """
class Noisy(layers.Layer):
    def call(self, x, training=False):
        return x + 0.3 * keras.random.normal(ops.shape(x)) if training else x

def build(input_shape, output_size):
    return keras.Sequential([keras.Input(input_shape), Noisy(), layers.Dense(output_size)])
"""
    engine, data = make_engine("fit", dataset(), tmp_path), dataset()
    asked = recipe("balanced", **{"model.architecture": user_model(code)})
    first, later = (train(engine, asked, data, epochs=2, **END) for _ in range(2))  # type: ignore[arg-type]
    assert first.curves["val_loss"] == later.curves["val_loss"]


def test_a_compiled_loss_that_divides_by_the_weights_is_refused(tmp_path: Path, user_model: Any) -> None:
    code = """
def build(input_shape, output_size):
    model = keras.Sequential([keras.Input(input_shape), layers.Dense(output_size)])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(True, reduction="mean_with_sample_weight"))
    return model
"""
    engine = make_engine("fit", dataset(), tmp_path)
    asked = recipe("balanced", **{"model.architecture": user_model(code)})
    with pytest.raises(InputError, match="sum_over_batch_size"):
        engine.start(asked, Seeds(1, 2, 3))
    remedied = user_model(code.replace("mean_with_sample_weight", "sum_over_batch_size"))
    asked = recipe("balanced", **{"model.architecture": remedied})
    assert make_engine("fit", dataset(), tmp_path).start(asked, Seeds(1, 2, 3)) is not None


def test_validation_is_measured_by_the_weights_of_rows_and_not_by_those_of_classes(make_plan: MakePlan) -> None:
    data = weighted()
    outcome = train(make_engine("fit", data, Path()), recipe("balanced"), data, epochs=1, **END)  # type: ignore[arg-type]
    engine = make_engine("fit", data, Path())
    outputs = engine.model(recipe("none"), outcome.weights).predict_on_batch(data.validation.inputs)
    logs = outputs - np.log(np.exp(outputs).sum(axis=1, keepdims=True))
    losses = -logs[np.arange(22), data.validation.targets]
    assert outcome.objective == pytest.approx(np.average(losses, weights=data.validation.weights), rel=1e-5)


def test_an_epoch_of_rows_without_weight_changes_nothing(make_plan: MakePlan) -> None:
    data = weighted()
    data = replace(data, train=replace(data.train, weights=np.r_[1.0, np.zeros(21)].astype(np.float32)))
    for name in ("fit", COMPILED_ENGINES[BACKEND]):
        engine = make_engine(name, data, Path(), rules=FEW_RULES)
        asked = recipe("none", optimizer="sgd")
        state = engine.start(asked, Seeds(1, 2, 3))
        before = engine.weights(state)
        order = np.arange(8, 16, dtype=np.int32)
        state, output = engine.run_epoch(state, replace(make_plan(sizes=(8,), rates=0.1), order=order))
        assert output.loss == 0.0
        assert all(np.array_equal(one, other) for one, other in zip(before, engine.weights(state), strict=True))


def test_short_trainings_have_rows_of_classes_with_a_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nightune.models.engines.own_steps import refuse_untrainable
    from nightune.models.engines.verification import _compare_first_buildable

    data, asked = weighted(), recipe({"0": 0.0, "1": 0.0, "2": 1.0}, optimizer="sgd")
    assert data.train.weights is not None
    order = np.argsort((data.train.targets == 2) & (data.train.weights > 0), kind="stable")  # what weighs is last
    late = replace(data, train=replace(data.train.part(order), inputs=data.train.inputs[order]))
    assert not (few_rows(late, late.train, 8).targets == 2).any()
    few = few_rows(late, late.train, 8, weights_of_classes(late, [asked.training]))
    assert ((few.targets == 2).sum(), (few.weights > 0).all()) == (min(4, (late.train.targets[-4:] == 2).sum()), True)
    monkeypatch.setattr("nightune.models.engines.own_steps.ROWS", 8)
    monkeypatch.setattr("nightune.models.engines.compared_trainings.COMPARED_EXAMPLES", 8)
    refuse_untrainable(asked, late, tmp_path)
    engine = make_engine(COMPILED_ENGINES[BACKEND], late, tmp_path)
    (found,) = _compare_first_buildable(engine, [asked], late, tmp_path)
    assert found.difference <= found.tolerance
