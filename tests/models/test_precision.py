"""Mixed precision: per trial, exact in logged values, and in checkpoints that load alone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset
from nightune.models.engines.choice import choose_engine
from nightune.models.engines.make import make_engine
from nightune.models.errors import InputError
from nightune.models.networks.architectures import architecture_keys
from nightune.models.networks.metrics import metrics
from nightune.models.recipe.recipe import Recipe
from nightune.models.recipe.rules import RecipeError
from nightune.models.training.capabilities import only_in_fit
from nightune.models.training.graph_key import graph_key
from nightune.models.training.loop import train
from nightune.models.training.plan import EpochPlan
from nightune.models.training.seeds import Seeds
from tests.models.conftest import FEW_RULES


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, FitEngine, MIXED_TOLERANCE, load, save_checkpoint
    import keras

    from nightune.models.engines.fit.engine import FitEngine
    from nightune.models.engines.verification import MIXED_TOLERANCE
    from nightune.models.training.checkpoint import load, save_checkpoint


MakeDataset = Callable[..., Dataset]
MakePlan = Callable[..., EpochPlan]
MakeRecipe = Callable[..., Recipe]
MIXED = ("mixed_float16", "mixed_bfloat16")
TOLERANCE = 1e-5  # relative to the logged objective: only its prediction in other blocks may differ
SEEDS = Seeds(weights=1, order=2, dropout=3)


@pytest.mark.parametrize("precision", MIXED)
def test_a_checkpoint_loads_alone_and_gives_the_logged_objective(
    make_dataset: MakeDataset, recipe: MakeRecipe, tmp_path: Path, precision: str
) -> None:
    dataset = make_dataset()
    engine = FitEngine(dataset, Path())
    one = recipe(precision=precision, model__units=[8], batch_size__size=8)
    outcome = train(engine, one, dataset, epochs=2, seed=0, monitor="val_loss", direction="minimize")
    assert save_checkpoint(engine, outcome, tmp_path / "model.keras")
    model = load(tmp_path / "model.keras")
    assert model.layers[-1].compute_dtype == "float32"
    assert {layer.compute_dtype for layer in model.layers if layer.weights[:1]} == {"float32", precision[6:]}
    assert {weight.dtype for weight in model.weights} == {"float32"}
    outputs = np.asarray(model.predict_on_batch(dataset.validation.inputs))
    objective = metrics("multiclass", outputs, dataset.validation.targets, is_logits=True)["loss"]
    assert objective == pytest.approx(outcome.objective, rel=TOLERANCE)


@pytest.mark.parametrize("precision", MIXED)
def test_the_next_trial_has_its_own_precision(make_dataset: MakeDataset, recipe: MakeRecipe, precision: str) -> None:
    engine, before = FitEngine(make_dataset(), Path()), keras.config.dtype_policy().name
    mixed = engine.start(recipe(precision=precision), SEEDS).model
    plain = engine.start(recipe(), SEEDS).model
    assert keras.config.dtype_policy().name == before
    assert mixed.layers[1].dtype_policy.name == precision
    assert {layer.dtype_policy.name for layer in plain.layers} == {"float32"}


CLEARS = """
import keras
from keras.utils import clear_session


def build(input_shape, output_size, by_name: bool = False):
    clear_session() if by_name else keras.backend.clear_session()
    return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(output_size)])
"""


def test_a_function_that_clears_the_session_keeps_the_precision_or_is_refused(
    make_dataset: MakeDataset, recipe: MakeRecipe, user_model: Callable[[str], str], tmp_path: Path
) -> None:
    engine, given = FitEngine(make_dataset(), tmp_path), {"model__architecture": user_model(CLEARS)}
    clear = keras.utils.clear_session
    architecture_keys(given["model__architecture"], tmp_path)  # reads the file, as the check of a study does
    mixed = engine.start(recipe(**given, precision="mixed_bfloat16"), SEEDS).model
    assert {layer.compute_dtype for layer in mixed.layers} == {"bfloat16"}
    assert keras.utils.clear_session is clear
    with pytest.raises(InputError, match=r"precision: .*imports by name"):
        engine.start(recipe(**given, precision="mixed_bfloat16", model__by_name=True), SEEDS)
    assert keras.config.dtype_policy().name == "float32"
    engine.start(recipe(**given, model__by_name=True), SEEDS)


def test_a_model_that_fails_to_build_leaves_the_policy_alone(
    make_dataset: MakeDataset, recipe: MakeRecipe, user_model: Callable[[str], str], tmp_path: Path
) -> None:
    reference = user_model("def build(input_shape, output_size):\n    raise ValueError('no')\n")
    engine, before = FitEngine(make_dataset(), tmp_path), keras.config.dtype_policy().name
    with pytest.raises(ValueError, match="no"):
        engine.start(recipe(model__architecture=reference, precision="mixed_bfloat16"), SEEDS)
    assert keras.config.dtype_policy().name == before


def test_rates_and_decay_act_unscaled_beside_a_scaled_loss(
    make_dataset: MakeDataset, make_plan: MakePlan, recipe: MakeRecipe
) -> None:
    """With a rate of 0 only the decay moves weights, by 1 − s an update, as in float32."""
    engine = FitEngine(make_dataset(), Path())
    state = engine.start(recipe(precision="mixed_float16", weight_decay__profile="fixed"), SEEDS)
    before = engine.weights(state)
    state, output = engine.run_epoch(state, make_plan(rates=0.0, shrinks=0.1))
    made = 3 - output.statistics["skipped_updates"]
    assert made >= 1
    assert output.statistics["loss_scale"] == 2.0 ** (15 - output.statistics["skipped_updates"])
    for old, new in zip(before, engine.weights(state), strict=True):
        np.testing.assert_allclose(new, old * 0.9**made if old.ndim == 2 else old, rtol=1e-6)


def test_a_scaled_loss_trains_as_float32_within_float16(
    make_dataset: MakeDataset, make_plan: MakePlan, recipe: MakeRecipe
) -> None:
    engine, ends, starts = FitEngine(make_dataset(), Path()), [], []
    for precision in ("float32", "mixed_float16"):
        state = engine.start(recipe(precision=precision, penalty__kind="l2"), SEEDS)
        if precision == "mixed_float16":
            state.model.optimizer.dynamic_scale.assign(64.0)  # at which nothing of this model overflows
        starts.append(np.concatenate([weight.ravel() for weight in engine.weights(state)]))
        state, output = engine.run_epoch(state, make_plan(l2=0.01))
        ends.append(np.concatenate([weight.ravel() for weight in engine.weights(state)]))
    assert output.statistics["skipped_updates"] == 0.0
    np.testing.assert_array_equal(*starts)
    way = np.linalg.norm(ends[0] - starts[0])
    assert np.linalg.norm(ends[1] - ends[0]) < 5e-3 * way


def test_infinite_gradients_skip_an_update_and_this_is_logged(
    make_dataset: MakeDataset, make_plan: MakePlan, recipe: MakeRecipe
) -> None:
    engine = FitEngine(make_dataset(), Path())
    state = engine.start(recipe(precision="mixed_float16", weight_decay__profile="fixed"), SEEDS)
    state.model.optimizer.dynamic_scale.assign(2.0**100)
    before = engine.weights(state)
    state, output = engine.run_epoch(state, make_plan(shrinks=0.1))
    assert output.statistics["skipped_updates"] == 3.0
    assert output.statistics["loss_scale"] == 2.0**97
    for old, new in zip(before, engine.weights(state), strict=True):
        np.testing.assert_array_equal(old, new)


def test_compiled_engines_leave_the_scale_of_losses_to_fit(make_dataset: MakeDataset, recipe: MakeRecipe) -> None:
    assert only_in_fit(recipe()) == []
    choice = choose_engine("auto", [recipe(precision="mixed_float16")], make_dataset(), Path())
    assert choice.name == "fit"
    assert "precision" in choice.reason


@pytest.mark.parametrize("dropout", [0.0, pytest.param(0.3, marks=pytest.mark.nights)])
def test_compiled_engines_train_in_bfloat16_as_fit_does(
    make_dataset: MakeDataset, recipe: MakeRecipe, dropout: float
) -> None:
    dataset = make_dataset()
    choice = choose_engine("auto", [recipe(precision="mixed_bfloat16", model__dropout=dropout)], dataset, Path())
    assert choice.name == "tensorflow", choice.reason
    mixed, exact = (recipe(precision=policy, model__dropout=dropout) for policy in ("mixed_bfloat16", "float32"))

    def way(engine: str, one: Recipe) -> np.ndarray:
        trainer = make_engine(engine, dataset, Path(), rules=FEW_RULES)
        begun = trainer.weights(trainer.start(one, Seeds.from_trial(0)))
        ended = train(trainer, one, dataset, epochs=2, seed=0, monitor="val_loss", direction="minimize").weights
        return np.concatenate([(new - old).ravel() for old, new in zip(begun, ended, strict=True)])

    compiled, by_fit = way("tensorflow", mixed), way("fit", mixed)
    assert np.linalg.norm(compiled - by_fit) < MIXED_TOLERANCE * np.linalg.norm(by_fit)
    assert not np.array_equal(compiled, way("tensorflow", exact))


def test_precision_is_part_of_the_graph(recipe: MakeRecipe) -> None:
    keys = {graph_key(recipe(precision=precision), "") for precision in ("float32", *MIXED)}
    assert len(keys) == 3


@pytest.mark.parametrize("params", [{"batch_size__micro_size": 4}, {"batch_size__policy": "gns"}])
def test_float16_is_not_accumulated(recipe: MakeRecipe, params: dict[str, object]) -> None:
    with pytest.raises(RecipeError, match=r"mixed_bfloat16"):
        recipe(precision="mixed_float16", **params)
    assert recipe(precision="mixed_bfloat16", **params).precision.is_mixed


def test_a_snapshot_keeps_the_scale_of_the_loss(
    make_dataset: MakeDataset, make_plan: MakePlan, recipe: MakeRecipe
) -> None:
    engine, one = FitEngine(make_dataset(), Path()), recipe(precision="mixed_float16", optimizer="adam")
    state, _ = engine.run_epoch(engine.start(one, SEEDS), make_plan())
    state.model.optimizer.dynamic_scale.assign(256.0)
    restored = engine.restore(engine.start(one, SEEDS), engine.snapshot(state))
    assert float(restored.model.optimizer.dynamic_scale) == 256.0
    plan = make_plan(epoch=2)
    (ended, _), (again, _) = engine.run_epoch(state, plan), engine.run_epoch(restored, plan)
    for here, there in zip(engine.weights(ended), engine.weights(again), strict=True):
        np.testing.assert_array_equal(here, there)
