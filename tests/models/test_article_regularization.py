"""The article's errors from weight decay to early stopping, numbered as in docs/article.md."""

import ast
import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.errors import InputError
from nightune.models.recipe.recipe import Recipe
from nightune.models.techniques.penalties.penalties import PenaltySettings, Strengths, keras_strengths
from nightune.models.techniques.weight_decays.weight_decays import WeightDecaySettings, decay_strengths
from nightune.models.training.seeds import Seeds
from tests.models import article_code
from tests.models.conftest import MakeDataset
from tests.models.controllers import controller, train


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    pytest.importorskip("tensorflow")  # the article's code imports it
    global keras, first_step, fitted, outcome, returns_its_best_epoch, run
    import keras

    from tests.models.article import first_step, fitted, outcome, returns_its_best_epoch, run


SEEDS = Seeds(1, 2, 3)
MakeRecipe = Callable[..., Recipe]


def test_article_14_there_is_no_l1_l2_normalization_and_both_penalties_are_one_kind() -> None:
    assert not hasattr(keras.layers, "L1L2Normalization")
    assert not hasattr(keras, "L1L2Normalization")
    unit = np.array(keras.layers.UnitNormalization()(np.array([[3.0, 4.0]], np.float32)))
    np.testing.assert_allclose(unit, [[0.6, 0.8]], rtol=1e-6)  # it scales activations, and penalizes nothing
    both = keras_strengths(PenaltySettings("elastic", strength=0.2, l1_ratio=0.25), "binary")
    assert (both.l1, both.l2) == (pytest.approx(0.05), pytest.approx(0.15))


def test_article_15_there_is_no_l2_callback_and_decay_is_a_setting(
    make_dataset: MakeDataset, recipe: MakeRecipe
) -> None:
    with pytest.raises(AttributeError, match="L2Regularization"):
        run(article_code.WEIGHT_DECAY)
    decay = {"weight_decay__profile": "fixed", "weight_decay__strength": 0.5, "learning_rate__peak": 0.1}
    dataset = make_dataset()
    plain = outcome(recipe(optimizer="sgd", learning_rate__peak=0.1), dataset)
    decayed = outcome(recipe(optimizer="sgd", **decay), dataset)
    assert np.square(decayed.weights[0]).sum() < np.square(plain.weights[0]).sum()


def test_article_16_a_regularizer_attached_to_nothing_penalizes_nothing_and_decay_is_not_l2() -> None:
    run(article_code.WEIGHT_DECAY.split("weight_decay_callback")[0])
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    assert model.losses == []
    # Adam divides a penalty's gradient by its size: ten times the penalty makes the same step, ten times the decay not.
    assert first_step("adam", 0.2) == pytest.approx(first_step("adam", 2.0), rel=1e-4)
    exists("tests/models/test_updates.py", "test_decay_is_l2_for_sgd_and_is_not_for_adam")


def test_article_17_the_three_decays_have_formulas() -> None:
    progress, fractions = np.array([0.0, 0.25, 0.5, 0.75]), np.array([1.0, 0.75, 0.5, 0.25])

    def strengths(profile: str) -> list[float]:
        settings = WeightDecaySettings(profile, strength=0.1, final_fraction=0.5)
        return [round(float(each), 6) for each in decay_strengths(settings, progress, fractions)]

    assert strengths("fixed") == [0.1] * 4
    assert strengths("exponential") == [round(0.1 * 0.5**part, 6) for part in progress]
    assert strengths("tied") == [0.1, 0.075, 0.05, 0.025]


def test_article_18_the_regularization_block_stacks_two_layers_and_ours_is_one_kind(recipe: MakeRecipe) -> None:
    with pytest.raises(NameError, match="'model' is not defined"):
        run(article_code.REGULARIZATION)
    model = keras.Sequential()
    with pytest.warns(UserWarning, match="Do not pass an `input_shape`"):
        run(article_code.REGULARIZATION, model=model, input_shape=5)
    assert [layer.units for layer in model.layers] == [64, 64]  # both penalties, in a deeper net
    kinds = [recipe(penalty__kind=kind).penalty.kind for kind in ("l1", "l2")]
    assert kinds == ["l1", "l2"]


def test_article_19_the_articles_penalties_are_converted_to_those_of_keras() -> None:
    def strengths(kind: str, task: str) -> Strengths:
        return keras_strengths(PenaltySettings(kind, strength=0.01, convention="article"), task)

    assert strengths("l1", "regression") == Strengths(pytest.approx(0.02), 0.0)
    assert strengths("l2", "regression") == Strengths(0.0, pytest.approx(0.01))
    assert strengths("l2", "multiclass") == Strengths(0.0, pytest.approx(0.005))
    weights = np.array([1.0, -2.0, 3.0], np.float32)
    assert float(keras.regularizers.L1(0.1)(weights)) == pytest.approx(0.6)
    assert float(keras.regularizers.L2(0.1)(weights)) == pytest.approx(1.4)  # no half


def early_stopping_function() -> Callable[..., None]:
    """The article's own function, without the line after it that fails."""
    code = article_code.EARLY_STOPPING.rsplit("early_stopping_callback", 1)[0]
    return run(code)["on_epoch_end"]


def test_article_20_early_stopping_takes_no_function_and_a_rule_of_ours_stops() -> None:
    with pytest.raises(TypeError, match="on_epoch_end"):
        run(article_code.EARLY_STOPPING)
    trained = controller({"stopping.patience": 2})
    assert len(train(trained, [1.0, 0.5, 0.6, 0.7, 0.1])) == 4
    assert (trained.status, trained.best_epoch) == ("stopped_early", 2)


def test_article_21_logs_hold_no_best_value_and_our_controller_remembers_it() -> None:
    with pytest.raises(KeyError, match="best_val_loss"):
        fitted(keras.callbacks.LambdaCallback(on_epoch_end=early_stopping_function()))
    trained = controller({"stopping.patience": 5})
    train(trained, [3.0, 1.0, 2.0])
    assert trained.state()["best_score"] == 1.0


def test_article_22_the_function_loses_its_best_weights_and_ours_come_back(
    make_dataset: MakeDataset, recipe: MakeRecipe
) -> None:
    function = early_stopping_function()
    with pytest.raises(NameError, match="get_model"):
        function(0, {"val_loss": 1.0, "best_val_loss": 2.0})
    with pytest.raises(NameError, match="'np' is not defined"):
        function(0, {"val_loss": 2.0, "best_val_loss": 1.0})
    function.__globals__.update(np=np, get_model=keras.Sequential)
    with pytest.raises(UnboundLocalError, match="best_weights"):
        function(0, {"val_loss": 2.0, "best_val_loss": 1.0})
    assert function.__defaults__ == ({},)  # one dictionary for all calls
    returns_its_best_epoch(outcome(recipe(stopping__patience=2), make_dataset(), epochs=8))


def test_article_23_a_return_does_not_stop_and_a_rule_does() -> None:
    history = fitted(keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None), epochs=4)
    assert len(history.history["loss"]) == 4
    trained = controller({"stopping.rule": "target", "stopping.target": 0.5})
    assert len(train(trained, [1.0, 0.4, 0.3])) == 2


def test_article_24_weights_are_restored_once_at_the_end_and_not_during_training(
    make_dataset: MakeDataset, recipe: MakeRecipe
) -> None:
    dataset, rate = make_dataset(), {"optimizer": "adam", "learning_rate__peak": 0.3}
    stopped = outcome(recipe(**rate, stopping__patience=4), dataset, epochs=12)
    unbroken = outcome(recipe(**rate, stopping__rule="none"), dataset, epochs=12)
    losses = stopped.curves["val_loss"]
    assert any(after > before for before, after in itertools.pairwise(losses))  # a ratchet would act
    assert losses == unbroken.curves["val_loss"][: len(losses)]
    returns_its_best_epoch(stopped)


def test_article_25_early_stopping_keeps_the_last_weights_and_never_stops_without_its_metric(
    make_dataset: MakeDataset, recipe: MakeRecipe
) -> None:
    code = article_code.EARLY_STOPPING.split("learning_rate_schedule")[0]
    callback = run(code)["early_stopping_callback"]
    assert callback.restore_best_weights is False
    with pytest.warns(UserWarning, match="which is not available"):
        assert len(fitted(callback, epochs=8, has_validation=False).history["loss"]) == 8
    with pytest.raises(InputError, match="unknown metric of a multiclass task 'val_rmse'"):
        outcome(recipe(), make_dataset(), monitor="val_rmse")
    returns_its_best_epoch(outcome(recipe(learning_rate__peak=0.3), make_dataset(), epochs=8))


def test_article_26_the_schedule_beside_early_stopping_is_unused_and_combined_acts_on_rate_and_batch() -> None:
    names = [node for node in ast.walk(ast.parse(article_code.EARLY_STOPPING)) if isinstance(node, ast.Name)]
    used = [node for node in names if node.id == "learning_rate_schedule" and isinstance(node.ctx, ast.Load)]
    assert used == []
    params = {"stopping.rule": "combined", "stopping.patience": 1, "stopping.action": "alternate", "batch_size.size": 5}
    trained = controller({**params, "learning_rate.peak": 0.1})
    plans = train(trained, [1.0] * 8)
    assert [round(float(plan.learning_rates[0]), 6) for plan in plans] == [0.1, 0.1, 0.05, 0.05]
    assert [int(plan.batch_sizes[0]) for plan in plans] == [5, 5, 5, 10]
    assert trained.status == "stopped_early"


def test_article_27_the_threshold_is_missing_and_nan_is_seen_too_late(
    make_dataset: MakeDataset, recipe: MakeRecipe
) -> None:
    assert "threshold" not in article_code.EARLY_STOPPING
    with pytest.raises(KeyError, match="best_val_loss"):
        early_stopping_function()(0, {"val_loss": math.nan})
    trained = controller({"stopping.rule": "threshold", "stopping.limit": 2.0})
    assert len(train(trained, [1.0, 1.5, 2.5, 1.0])) == 3
    exploded = outcome(recipe(optimizer="sgd", learning_rate__peak=1e30), make_dataset("regression"))
    assert exploded.status == "diverged"
    assert all(np.isfinite(weight).all() for weight in exploded.weights)


def test_article_28_the_article_names_no_data_seed_or_metric_and_a_training_of_ours_needs_them(
    recipe: MakeRecipe,
) -> None:
    for word in ("seed", "fit(", "compile(", "split", "metrics"):
        assert not any(word in block for block in article_code.BLOCKS)
    dataset = load_dataset(DataSettings("iris", split=Split(seed=3)), Path())
    assert dataset.sizes == {"train": 90, "validation": 30, "test": 30}
    first, second = (outcome(recipe(), dataset, epochs=2) for _ in range(2))
    assert first.curves["val_loss"] == second.curves["val_loss"]


def exists(file: str, test: str) -> None:
    """Fail unless the test that shows it exists."""
    functions = {node.name for node in ast.parse(Path(file).read_text()).body if isinstance(node, ast.FunctionDef)}
    assert test in functions
