"""The article's errors, row by row as docs/article.md counts them: what its code does, and what ours does (X6)."""

import ast
import inspect
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from models.batch_sizes import BatchSizeSettings, Moment, batch_sizes
from models.datasets import load_dataset
from models.errors import InputError
from models.examples import Dataset
from models.optimizers import OptimizerSettings, build_optimizer
from models.penalties import PenaltySettings, Strengths, keras_strengths
from models.recipe import Recipe, RecipeError
from models.training.engine_fit import FitEngine
from models.training.loop import Outcome
from models.training.loop import train as train_loop
from models.training.plan import EpochPlan
from models.training.seeds import Seeds
from models.weight_decays import WeightDecaySettings, decay_strengths
from tests.models import article_code
from tests.models.conftest import MakeDataset, MakePlan
from tests.models.controllers import controller, train

pytest.importorskip("tensorflow")  # the article's code imports it

SEEDS = Seeds(1, 2, 3)
MakeRecipe = Callable[..., Recipe]


def run(code: str, **names: Any) -> dict[str, Any]:
    """Execute code of the article with these names given."""
    exec(compile(code, "article", "exec"), names)
    return names


def outcome(recipe: Recipe, dataset: Dataset, epochs: int = 4, monitor: str = "val_loss") -> Outcome:
    engine = FitEngine(dataset, Path())
    return train_loop(engine, recipe, dataset, epochs=epochs, seed=1, monitor=monitor, direction="minimize")


def fitted(callback: Any, epochs: int = 3, has_validation: bool = True, **compiled: Any) -> Any:
    """A tiny regression under Keras' own `fit` with a callback; returns the history."""
    keras.utils.set_random_seed(0)
    inputs = np.random.default_rng(0).normal(size=(16, 2)).astype(np.float32)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(**{"optimizer": keras.optimizers.SGD(0.05), "loss": "mse", **compiled})
    split = {"validation_data": (inputs, inputs[:, 0])} if has_validation else {}
    return model.fit(inputs, inputs[:, 0], epochs=epochs, verbose=0, callbacks=[callback], batch_size=4, **split)


def first_step(kind: str, gradient: float, **settings: Any) -> float:
    """How far the first update moves a weight of 1 under a rate of 0.1."""
    optimizer = build_optimizer(OptimizerSettings(kind, **settings))
    weight = keras.Variable(1.0)
    optimizer.build([weight])
    optimizer.learning_rate = 0.1
    optimizer.apply([keras.ops.convert_to_tensor(gradient)], [weight])
    return float(np.array(weight)) - 1.0


def literal_adam_step(gradient: float, rate: float = 0.1, epsilon: float = 1e-8) -> float:
    """The first step of the article's 3.1.3: m and v without bias correction."""
    mean, square = 0.1 * gradient, 0.001 * gradient**2
    return -rate * mean / (math.sqrt(square) + epsilon)


def test_x6_01_there_is_no_gradient_descent_class_and_gd_is_one_update_an_epoch(
    make_dataset: MakeDataset, recipe: MakeRecipe
) -> None:
    with pytest.raises(AttributeError, match="GradientDescent"):
        run(article_code.OPTIMIZERS)
    trained = outcome(recipe(optimizer="gd", learning_rate__peak=0.1), make_dataset())
    assert trained.updates == trained.epochs == 4
    assert trained.curves["loss"][-1] < trained.curves["loss"][0]


def test_x6_02_gd_and_sgd_differ_by_the_batch_and_not_by_a_class() -> None:
    sgd = {"optimizer": "sgd", "batch_size.size": 5}
    sizes = [train(controller(params, epochs=1), [1.0])[0].batch_sizes for params in ({"optimizer": "gd"}, sgd)]
    assert [each.tolist() for each in sizes] == [[20], [5, 5, 5, 5]]
    with pytest.raises(RecipeError, match="gd uses all examples"):
        Recipe.from_params({"optimizer": "gd", "batch_size.size": 32})


def test_x6_03_adam_without_bias_correction_steps_three_times_too_far() -> None:
    assert literal_adam_step(1.0) == pytest.approx(-0.31623, rel=1e-4)
    assert literal_adam_step(1.0) / first_step("adam", 1.0) == pytest.approx(3.1623, rel=1e-3)
    assert first_step("adam", 1.0) == pytest.approx(-0.1, rel=1e-5)


def test_x6_04_epsilon_keeps_the_denominator_from_zero_and_leaves_the_gradient() -> None:
    with pytest.raises(ZeroDivisionError):
        literal_adam_step(0.0, epsilon=0.0)
    assert first_step("adam", 0.0) == 0.0
    assert abs(first_step("adam", 1e-7)) < 0.1 * 0.5  # a tiny gradient gives a smaller step, not a larger one


def test_x6_05_sgd_moves_all_parameters_by_the_gradient_of_one_example(
    make_dataset: MakeDataset, make_plan: MakePlan, recipe: MakeRecipe
) -> None:
    dataset = make_dataset("regression")
    engine = FitEngine(dataset, Path())
    state = engine.start(recipe(optimizer="sgd", model__units=[], batch_size__size=1), SEEDS)
    kernel, bias = (weight.astype(np.float64) for weight in engine.weights(state))
    plan = one_example(make_plan, example=3)
    state, _ = engine.run_epoch(state, plan)
    inputs, target = dataset.train.inputs[3].astype(np.float64), float(dataset.train.targets[3])
    gradient = 2.0 * (float(inputs @ kernel[:, 0] + bias[0]) - target)
    moved = engine.weights(state)
    np.testing.assert_allclose(moved[0][:, 0], kernel[:, 0] - 0.1 * gradient * inputs, rtol=1e-4)
    np.testing.assert_allclose(moved[1], bias - 0.1 * gradient, rtol=1e-4)


def one_example(make_plan: MakePlan, example: int) -> EpochPlan:
    plan = make_plan(sizes=[1])
    return EpochPlan(**{**vars(plan), "order": np.array([example], np.int32)})


def test_x6_06_a_schedule_is_no_callback_and_a_schedule_of_ours_is_followed(
    make_dataset: MakeDataset, recipe: MakeRecipe
) -> None:
    callback = run(article_code.LEARNING_RATE)["learning_rate_callback"]
    with pytest.raises(ValueError, match="should be a float"):
        fitted(callback)
    trained = outcome(recipe(learning_rate__schedule="exponential", batch_size__size=22), make_dataset())
    ratios = np.divide(trained.curves["learning_rate"][1:], trained.curves["learning_rate"][:-1])
    np.testing.assert_allclose(ratios, 0.01 ** (1 / 4), rtol=1e-5)


def test_x6_06_a_schedule_in_the_optimizer_beside_a_callback_is_refused_by_keras() -> None:
    schedule = run(article_code.LEARNING_RATE)["learning_rate_schedule"]
    callback = keras.callbacks.LearningRateScheduler(lambda epoch, rate: float(rate))
    with pytest.raises(TypeError):
        fitted(callback, optimizer=keras.optimizers.SGD(schedule))


def test_x6_07_epochs_are_no_steps_and_our_clock_ends_with_the_budget() -> None:
    schedule = run(article_code.LEARNING_RATE)["learning_rate_schedule"]
    assert float(schedule(100)) / float(schedule(0)) == pytest.approx(0.996, abs=1e-3)  # after 100 epochs of it
    params = {"learning_rate.schedule": "exponential", "learning_rate.final_fraction": 0.25, "batch_size.size": 1}
    for epochs in (2, 10):
        plans = train(controller({**params, "learning_rate.peak": 1.0}, epochs=epochs), [1.0] * epochs)
        assert plans[-1].learning_rates[-1] == pytest.approx(0.25, rel=0.05)


def test_x6_08_a_time_schedule_is_deaf_to_performance_and_plateau_is_not() -> None:
    def last_rate(schedule: str, scores: list[float]) -> float:
        params = {"learning_rate.schedule": schedule, "stopping.rule": "none"}
        patience = {"learning_rate.plateau_patience": 1} if schedule == "plateau" else {}
        return float(train(controller({**params, **patience}), scores)[-1].learning_rates[-1])

    falling, flat = [8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0], [1.0] * 8
    assert last_rate("exponential", falling) == last_rate("exponential", flat)
    assert last_rate("plateau", falling) > last_rate("plateau", flat)


def test_x6_09_stages_are_of_the_training_and_too_large_a_rate_diverges(
    make_dataset: MakeDataset, recipe: MakeRecipe
) -> None:
    params = {"learning_rate.schedule": "step", "learning_rate.step_first": 0.5, "learning_rate.step_count": 1}
    plans = train(controller({**params, "learning_rate.peak": 1.0}), [1.0] * 8)
    assert [round(float(plan.learning_rates[0]), 6) for plan in plans] == [1.0] * 4 + [0.1] * 4
    assert all(sorted(plan.order.tolist()) == list(range(20)) for plan in plans)  # every stage sees all examples
    dataset = make_dataset("regression")
    losses = outcome(recipe(optimizer="sgd", learning_rate__peak=3.0, batch_size__size=8), dataset).curves["loss"]
    assert not losses[-1] < losses[0]  # it is the training loss itself that fails: no overfitting


def test_x6_10_the_batch_size_block_is_no_python_and_ours_is_a_policy() -> None:
    with pytest.raises(SyntaxError, match="never closed"):
        run(article_code.BATCH_SIZE)
    with pytest.raises(SyntaxError):
        run(article_code.BATCH_SIZE + ")")
    assert sizes_by_epoch(32) == [32, 38, 45, 54, 64, 76]


def sizes_by_epoch(first: int, epochs: int = 6, **settings: Any) -> list[int]:
    policy = BatchSizeSettings(policy="geometric", size=first, factor=1.2, **settings)
    moments = [Moment(10_000, epoch, epochs) for epoch in range(1, epochs + 1)]
    return [int(batch_sizes(policy, moment).sizes[0]) for moment in moments]


def test_x6_11_epoch_logs_hold_no_batch_size_and_our_curves_do(make_dataset: MakeDataset, recipe: MakeRecipe) -> None:
    seen: list[dict[str, float]] = []
    fitted(keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(dict(logs))))
    assert set(seen[0]) == {"loss", "val_loss"}
    with pytest.raises(KeyError, match="batch"):
        fitted(keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: int(logs["batch"] * 1.2)))
    trained = outcome(recipe(batch_size__policy="geometric", batch_size__size=4), make_dataset())
    assert trained.curves["batch_size"] == [4, 5, 6, 7]


def test_x6_12_writing_to_the_logs_changes_nothing_and_our_sizes_grow_to_a_cap() -> None:
    updates: list[int] = []

    class Writing(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            updates.append(0)

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            updates[-1] += 1

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["batch_size"] = 16

    fitted(Writing())
    assert updates == [4, 4, 4]
    assert int(4 * 1.2) == 4  # the article's rule never leaves 4
    assert sizes_by_epoch(4) == [4, 5, 6, 7, 8, 9]
    assert sizes_by_epoch(32, maximum=50) == [32, 38, 45, 50, 50, 50]


def test_x6_13_a_checkpoint_callback_knows_nothing_of_batches() -> None:
    assert "batch_size" not in inspect.signature(keras.callbacks.ModelCheckpoint).parameters
    sizes = {plan.batch_sizes[0] for plan in train(controller({"batch_size.size": 7}), [1.0] * 3)}
    assert sizes == {7}


def test_x6_14_there_is_no_l1_l2_normalization_and_both_penalties_are_one_kind() -> None:
    assert not hasattr(keras.layers, "L1L2Normalization")
    assert not hasattr(keras, "L1L2Normalization")
    unit = np.array(keras.layers.UnitNormalization()(np.array([[3.0, 4.0]], np.float32)))
    np.testing.assert_allclose(unit, [[0.6, 0.8]], rtol=1e-6)  # it scales activations, and penalizes nothing
    both = keras_strengths(PenaltySettings("elastic", strength=0.2, l1_ratio=0.25), "binary")
    assert (both.l1, both.l2) == (pytest.approx(0.05), pytest.approx(0.15))


def test_x6_15_there_is_no_l2_callback_and_decay_is_a_setting(make_dataset: MakeDataset, recipe: MakeRecipe) -> None:
    with pytest.raises(AttributeError, match="L2Regularization"):
        run(article_code.WEIGHT_DECAY)
    decay = {"weight_decay__profile": "fixed", "weight_decay__strength": 0.5, "learning_rate__peak": 0.1}
    dataset = make_dataset()
    plain = outcome(recipe(optimizer="sgd", learning_rate__peak=0.1), dataset)
    decayed = outcome(recipe(optimizer="sgd", **decay), dataset)
    assert np.square(decayed.weights[0]).sum() < np.square(plain.weights[0]).sum()


def test_x6_16_a_regularizer_attached_to_nothing_penalizes_nothing_and_decay_is_not_l2() -> None:
    run(article_code.WEIGHT_DECAY.split("weight_decay_callback")[0])
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    assert model.losses == []
    # Adam divides a penalty's gradient by its size: ten times the penalty makes the same step, ten times the decay not.
    assert first_step("adam", 0.2) == pytest.approx(first_step("adam", 2.0), rel=1e-4)
    exists("tests/models/test_updates.py", "test_wd_t3_decay_is_l2_for_sgd_and_is_not_for_adam")


def test_x6_17_the_three_decays_have_formulas() -> None:
    progress, fractions = np.array([0.0, 0.25, 0.5, 0.75]), np.array([1.0, 0.75, 0.5, 0.25])

    def strengths(profile: str) -> list[float]:
        settings = WeightDecaySettings(profile, strength=0.1, final_fraction=0.5)
        return [round(float(each), 6) for each in decay_strengths(settings, progress, fractions)]

    assert strengths("fixed") == [0.1] * 4
    assert strengths("exponential") == [round(0.1 * 0.5**part, 6) for part in progress]
    assert strengths("tied") == [0.1, 0.075, 0.05, 0.025]


def test_x6_18_the_regularization_block_stacks_two_layers_and_ours_is_one_kind(recipe: MakeRecipe) -> None:
    with pytest.raises(NameError, match="'model' is not defined"):
        run(article_code.REGULARIZATION)
    model = keras.Sequential()
    with pytest.warns(UserWarning, match="Do not pass an `input_shape`"):
        run(article_code.REGULARIZATION, model=model, input_shape=5)
    assert [layer.units for layer in model.layers] == [64, 64]  # both penalties, in a deeper net
    kinds = [recipe(penalty__kind=kind).penalty.kind for kind in ("l1", "l2")]
    assert kinds == ["l1", "l2"]


def test_x6_19_the_articles_penalties_are_converted_to_those_of_keras() -> None:
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


def test_x6_20_early_stopping_takes_no_function_and_a_rule_of_ours_stops() -> None:
    with pytest.raises(TypeError, match="on_epoch_end"):
        run(article_code.EARLY_STOPPING)
    trained = controller({"stopping.patience": 2})
    assert len(train(trained, [1.0, 0.5, 0.6, 0.7, 0.1])) == 4
    assert (trained.status, trained.best_epoch) == ("stopped_early", 2)


def test_x6_21_logs_hold_no_best_value_and_our_controller_remembers_it() -> None:
    with pytest.raises(KeyError, match="best_val_loss"):
        fitted(keras.callbacks.LambdaCallback(on_epoch_end=early_stopping_function()))
    trained = controller({"stopping.patience": 5})
    train(trained, [3.0, 1.0, 2.0])
    assert trained.state()["best_score"] == 1.0


def test_x6_22_the_function_loses_its_best_weights_and_ours_come_back(
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


def returns_its_best_epoch(trained: Outcome) -> None:
    assert trained.objective == min(trained.curves["val_loss"])
    assert trained.curves["val_loss"][trained.best_epoch - 1] == trained.objective


def test_x6_23_a_return_does_not_stop_and_a_rule_does() -> None:
    history = fitted(keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None), epochs=4)
    assert len(history.history["loss"]) == 4
    trained = controller({"stopping.rule": "target", "stopping.target": 0.5})
    assert len(train(trained, [1.0, 0.4, 0.3])) == 2


def test_x6_24_weights_are_restored_once_at_the_end_and_training_goes_on_undisturbed(
    make_dataset: MakeDataset, recipe: MakeRecipe
) -> None:
    dataset, rate = make_dataset(), {"optimizer": "adam", "learning_rate__peak": 0.3}
    stopped = outcome(recipe(**rate, stopping__patience=4), dataset, epochs=12)
    unbroken = outcome(recipe(**rate, stopping__rule="none"), dataset, epochs=12)
    losses = stopped.curves["val_loss"]
    assert any(after > before for before, after in itertools.pairwise(losses))  # a ratchet would act
    assert losses == unbroken.curves["val_loss"][: len(losses)]
    returns_its_best_epoch(stopped)


def test_x6_25_early_stopping_keeps_the_last_weights_and_never_stops_without_its_metric(
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


def test_x6_26_the_schedule_beside_early_stopping_is_unused_and_combined_acts_on_rate_and_batch() -> None:
    names = [node for node in ast.walk(ast.parse(article_code.EARLY_STOPPING)) if isinstance(node, ast.Name)]
    used = [node for node in names if node.id == "learning_rate_schedule" and isinstance(node.ctx, ast.Load)]
    assert used == []
    params = {"stopping.rule": "combined", "stopping.patience": 1, "stopping.action": "alternate", "batch_size.size": 5}
    trained = controller({**params, "learning_rate.peak": 0.1})
    plans = train(trained, [1.0] * 8)
    assert [round(float(plan.learning_rates[0]), 6) for plan in plans] == [0.1, 0.1, 0.05, 0.05]
    assert [int(plan.batch_sizes[0]) for plan in plans] == [5, 5, 5, 10]
    assert trained.status == "stopped_early"


def test_x6_27_the_threshold_is_missing_and_nan_is_seen_too_late(make_dataset: MakeDataset, recipe: MakeRecipe) -> None:
    assert "threshold" not in article_code.EARLY_STOPPING
    with pytest.raises(KeyError, match="best_val_loss"):
        early_stopping_function()(0, {"val_loss": math.nan})
    trained = controller({"stopping.rule": "threshold", "stopping.limit": 2.0})
    assert len(train(trained, [1.0, 1.5, 2.5, 1.0])) == 3
    exploded = outcome(recipe(optimizer="sgd", learning_rate__peak=1e30), make_dataset("regression"))
    assert exploded.status == "diverged"
    assert all(np.isfinite(weight).all() for weight in exploded.weights)


def test_x6_28_the_article_names_no_data_seed_or_metric_and_a_training_of_ours_needs_them(recipe: MakeRecipe) -> None:
    for word in ("seed", "fit(", "compile(", "split", "metrics"):
        assert not any(word in block for block in article_code.BLOCKS)
    dataset = load_dataset("iris", folder=Path(), seed=3)
    assert dataset.sizes == {"train": 90, "validation": 30, "test": 30}
    first, second = (outcome(recipe(), dataset, epochs=2) for _ in range(2))
    assert first.curves["val_loss"] == second.curves["val_loss"]


def exists(file: str, test: str) -> None:
    """Fail unless the test that shows it is still there."""
    functions = {node.name for node in ast.parse(Path(file).read_text()).body if isinstance(node, ast.FunctionDef)}
    assert test in functions
