"""The optimizer of a recipe in the engines: measured and kept weights, by backend and engine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset, Examples
from nightune.models.engines.choice import choose_engine
from nightune.models.engines.make import make_engine
from nightune.models.recipe.params import read_recipe
from nightune.models.training.capabilities import only_in_fit
from nightune.models.training.loop import train
from nightune.models.training.plan import EpochPlan
from nightune.models.training.seeds import Seeds
from tests.models.conftest import FEW_RULES, in_backend


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global FitEngine
    from nightune.models.engines.fit.engine import FitEngine


MakeDataset = Callable[..., Dataset]
MakePlan = Callable[..., EpochPlan]
SEEDS = Seeds(weights=1, order=2, dropout=3)
HERE = Path()


MEASURED_ELSEWHERE: dict[str, dict[str, Any]] = {
    "schedule_free": {"optimizer": "schedule_free", "learning_rate.peak": 0.05},
    "dog": {"optimizer": "dog", "initial_distance": 0.1},
    "average": {"optimizer": "adam", "weight_average.kind": "exponential", "learning_rate.peak": 0.05},
}


@pytest.mark.parametrize("name", MEASURED_ELSEWHERE)
def test_the_evaluated_weights_are_measured_and_kept(name: str, make_dataset: MakeDataset, make_plan: MakePlan) -> None:
    dataset = make_dataset()
    engine = FitEngine(dataset, HERE)
    given = read_recipe({"model.units": [4], **MEASURED_ELSEWHERE[name]})
    state = engine.start(given, SEEDS)
    for before, after in zip(state.model.get_weights(), engine.weights(state), strict=True):
        np.testing.assert_array_equal(before, after)  # nothing is trained yet
    rate = given.learning_rate.peak
    state, output = engine.run_epoch(state, make_plan(rates=rate))
    trained, kept = state.model.get_weights(), engine.weights(state)
    assert max(np.abs(one - other).max() for one, other in zip(trained, kept, strict=True)) > 1e-4
    np.testing.assert_array_equal(state.model.get_weights()[0], trained[0])  # and swapped back
    saved = engine.model(given, kept)
    np.testing.assert_allclose(saved.predict_on_batch(dataset.validation.inputs), output.outputs, atol=1e-6)
    whole = engine.start(given, SEEDS)
    for epoch in (1, 2):
        whole, _ = engine.run_epoch(whole, make_plan(epoch=epoch, rates=rate))
    state, _ = engine.run_epoch(state, make_plan(epoch=2, rates=rate))  # measurements in between changed nothing
    for one, other in zip(engine.weights(state), engine.weights(whole), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "params",
    [
        {"optimizer": "dog", "initial_distance": 0.1},
        {"optimizer": "prodigy"},
        {"optimizer": "sgd", "learning_rate.hypergradient_strength": 0.01, "learning_rate.peak": 0.05},
    ],
    ids=lambda params: params["optimizer"],
)
def test_a_rate_found_in_training_is_logged_as_a_curve(params: dict[str, Any], make_dataset: MakeDataset) -> None:
    given = read_recipe({"model.units": [4], "batch_size.size": 8, "stopping.rule": "none", **params})
    engine = FitEngine(make_dataset(), HERE)
    outcome = train(engine, given, make_dataset(), epochs=3, seed=1, monitor="val_loss", direction="minimize")
    rates = outcome.curves["effective_learning_rate"]
    assert len(rates) == 3
    assert len(set(rates)) == 3
    assert all(rate > 0 for rate in rates)


LEVEL_F = ["lamb", "adafactor", "muon", "prodigy", "dog", "schedule_free"]


@pytest.mark.parametrize("kind", LEVEL_F)
def test_every_new_optimizer_learns(kind: str, make_dataset: MakeDataset) -> None:
    guess = {"prodigy": {"initial_distance": 1e-3}, "dog": {"initial_distance": 1e-2}}.get(
        kind, {"learning_rate.peak": 0.02}
    )
    params = {"optimizer": kind, "model.units": [8], "batch_size.size": 8, "stopping.rule": "none", **guess}
    decay = {"weight_decay.profile": "fixed", "weight_decay.strength": 1e-3}
    engine = FitEngine(make_dataset(), HERE)
    outcome = train(
        engine,
        read_recipe(params | decay),
        make_dataset(),
        epochs=25,
        seed=1,
        monitor="val_loss",
        direction="minimize",
    )
    assert outcome.status == "completed"
    assert outcome.curves["loss"][-1] < 0.8 * outcome.curves["loss"][0]


SPARSE = [
    *({"optimizer": kind} for kind in LEVEL_F),
    {"optimizer": "adam", "bias_correction": False},
    {"optimizer": "adam", "learning_rate.hypergradient_strength": 0.01},
    {"optimizer": "sgd", "weight_average.kind": "polynomial"},
]


@pytest.mark.parametrize(
    "params", [*SPARSE[:2], *(pytest.param(each, marks=pytest.mark.nights) for each in SPARSE[2:])]
)
def test_tables_of_embeddings_with_sparse_gradients_are_updated(
    params: dict[str, Any], user_model: Callable[[str], str], tmp_path: Path
) -> None:
    reference = user_model(
        """
def build(input_shape, output_size):
    layers_ = [layers.Embedding(10, 4), layers.Flatten(), layers.Dense(output_size)]
    return keras.Sequential([keras.Input(input_shape), *layers_])
"""
    )
    generator = np.random.default_rng(0)
    words = generator.integers(0, 9, (16, 3)).astype(np.float32)  # the last row of the table is never used
    split = Examples(words, (words[:, 0] > 4).astype(np.int32))
    engine = FitEngine(Dataset(split, split, split, "binary", (0, 1), "", (), None, {}), tmp_path)
    given = read_recipe({"model.architecture": reference, "stopping.rule": "none", **params})
    before = engine.weights(engine.start(given, Seeds.from_trial(1)))
    dataset = Dataset(split, split, split, "binary", (0, 1), "", (), None, {})
    outcome = train(engine, given, dataset, epochs=2, seed=1, monitor="val_loss", direction="minimize")
    moved = np.abs(outcome.weights[0] - before[0]).max(axis=1)
    assert (moved[:-1] > 0).any()
    if params["optimizer"] != "adafactor":  # which spreads its update over rows
        assert moved[-1] == 0


ON_TWO_BACKENDS: dict[str, dict[str, Any]] = {
    **{kind: {"optimizer": kind, "weight_decay.profile": "fixed"} for kind in LEVEL_F},
    "article": {"optimizer": "adam", "bias_correction": False},
    "hypergradient": {"optimizer": "sgd", "one_minus_momentum": 0.2, "learning_rate.hypergradient_strength": 0.01},
    "average": {"optimizer": "nadam", "weight_average.kind": "exponential", "weight_average.one_minus_decay": 0.2},
}


def train_and_save(path: Path) -> None:
    """Train each of them two epochs on this process' backend from fixed weights, and write the results."""
    ends: list[np.ndarray] = []
    for params in ON_TWO_BACKENDS.values():
        generator = np.random.default_rng(0)
        split = Examples(
            generator.normal(size=(16, 5)).astype(np.float32), generator.integers(0, 3, 16).astype(np.int32)
        )
        engine = FitEngine(Dataset(split, split, split, "multiclass", (0, 1, 2), "", (), None, {}), HERE)
        state = engine.start(read_recipe({"model.units": [4], **params}), SEEDS)
        state.model.set_weights([generator.normal(size=weight.shape) for weight in engine.weights(state)])
        sizes, rates = np.array([8, 8], np.int32), np.array([0.05, 0.04], np.float32)
        for epoch in (1, 2):
            order = generator.permutation(16).astype(np.int32)
            shrinks = 0.1 * rates if "weight_decay.profile" in params else 0.0 * rates
            state, output = engine.run_epoch(state, EpochPlan(epoch, order, sizes, rates, shrinks, 0.0, 0.0, 0.0, 0.0))
        ends += [*engine.weights(state), output.outputs]
    np.savez(path, *ends)


@pytest.mark.nights
def test_tensorflow_and_jax_train_alike_with_every_rule(tmp_path: Path) -> None:
    here, there = tmp_path / "here.npz", tmp_path / "there.npz"
    train_and_save(here)
    in_backend("jax", __name__, "train_and_save(Path(sys.argv[1]) / 'there.npz')", tmp_path)
    with np.load(here) as first, np.load(there) as second:
        for name in first:
            np.testing.assert_allclose(first[name], second[name], atol=2e-5)


ONLY_FIT: list[dict[str, Any]] = [
    {"batch_size.policy": "gns"},
    {"learning_rate.batch_scaling": "gns"},
    {"penalty.kind": "l2", "penalty.adaptation": "gap_control"},
    {"precision": "mixed_float16"},
]


@pytest.mark.parametrize("params", ONLY_FIT)
def test_recipes_that_only_fit_can_train_are_left_to_it(params: dict[str, Any], make_dataset: MakeDataset) -> None:
    given = read_recipe({"model.units": [4], **params})
    assert only_in_fit(given)
    others = [read_recipe({"model.units": [4]}), given]
    choice = choose_engine("auto", others, make_dataset(), HERE)
    assert choice.name == "fit"
    assert only_in_fit(given)[0] in choice.reason
    with pytest.raises(ValueError, match="run the study with --engine fit"):
        make_engine("tensorflow", make_dataset(), HERE).start(given, SEEDS)


@pytest.mark.parametrize("name", ["fit", "tensorflow"])
def test_gd_in_every_engine_matches_the_closed_form(
    name: str, user_model: Callable[[str], str], tmp_path: Path
) -> None:
    reference = user_model(
        "def build(input_shape, output_size):\n"
        " return keras.Sequential([keras.Input(input_shape), layers.Dense(output_size, use_bias=False)])"
    )
    inputs = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)
    solution = np.array([1.0, -2.0, 0.5], np.float32)
    split = Examples(inputs, inputs @ solution)
    dataset = Dataset(split, split, split, "regression", None, "", (), None, {})
    engine = make_engine(name, dataset, tmp_path, rules=FEW_RULES)
    params = {"optimizer": "gd", "learning_rate.peak": 0.1, "stopping.rule": "none", "model.architecture": reference}
    given = read_recipe(params)
    start = engine.weights(engine.start(given, Seeds.from_trial(1)))[0][:, 0].astype(np.float64)
    outcome = train(engine, given, dataset, epochs=25, seed=1, monitor="val_loss", direction="minimize")
    hessian = 2 * inputs.T.astype(np.float64) @ inputs / 16
    expected = solution + np.linalg.matrix_power(np.eye(3) - 0.1 * hessian, 25) @ (start - solution)
    assert outcome.updates == 25
    np.testing.assert_allclose(outcome.weights[0][:, 0], expected, atol=1e-6)


@pytest.mark.parametrize("params", [{"optimizer": "lamb"}, {"bias_correction": False, "optimizer": "adamw"}])
def test_the_compiled_engine_trains_lamb_and_the_articles_adam_like_fit(
    params: dict[str, Any], make_dataset: MakeDataset
) -> None:
    given = read_recipe({"model.units": [4], "batch_size.size": 8, "stopping.rule": "none", **params})

    def end(engine: Any) -> np.ndarray:
        outcome = train(engine, given, make_dataset(), epochs=3, seed=1, monitor="val_loss", direction="minimize")
        return np.concatenate([weight.ravel() for weight in outcome.weights])

    np.testing.assert_allclose(
        end(make_engine("tensorflow", make_dataset(), HERE, rules=FEW_RULES)),
        end(FitEngine(make_dataset(), HERE)),
        atol=1e-5,
    )
