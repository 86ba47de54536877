"""The article's errors, numbered as in docs/article.md: what its code does, and what ours does."""

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.recipe.params import read_recipe
from nightune.models.recipe.recipe import Recipe
from nightune.models.recipe.rules import RecipeError
from nightune.models.techniques.batch_sizes.policies import Moment, batch_sizes
from nightune.models.techniques.batch_sizes.settings import BatchSizeSettings
from nightune.models.training.plan import EpochPlan
from nightune.models.training.seeds import Seeds
from tests.models import article_code
from tests.models.conftest import MakeDataset, MakePlan
from tests.models.controllers import controller, train


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    pytest.importorskip("tensorflow")  # the article's code imports it
    global keras, FitEngine, first_step, fitted, outcome, run
    import keras

    from nightune.models.engines.fit.engine import FitEngine
    from tests.models.article import first_step, fitted, outcome, run


SEEDS = Seeds(1, 2, 3)
MakeRecipe = Callable[..., Recipe]


def literal_adam_step(gradient: float, rate: float = 0.1, epsilon: float = 1e-8) -> float:
    """The first step of the article's 3.1.3: m and v without bias correction."""
    mean, square = 0.1 * gradient, 0.001 * gradient**2
    return -rate * mean / (math.sqrt(square) + epsilon)


def test_article_01_there_is_no_gradient_descent_class_and_gd_is_one_update_an_epoch(
    make_dataset: MakeDataset, recipe: MakeRecipe
) -> None:
    with pytest.raises(AttributeError, match="GradientDescent"):
        run(article_code.OPTIMIZERS)
    trained = outcome(recipe(optimizer="gd", learning_rate__peak=0.1), make_dataset())
    assert trained.updates == trained.epochs == 4
    assert trained.curves["loss"][-1] < trained.curves["loss"][0]


def test_article_02_gd_and_sgd_differ_by_the_batch_and_not_by_a_class() -> None:
    sgd = {"optimizer": "sgd", "batch_size.size": 5}
    sizes = [train(controller(params, epochs=1), [1.0])[0].batch_sizes for params in ({"optimizer": "gd"}, sgd)]
    assert [each.tolist() for each in sizes] == [[20], [5, 5, 5, 5]]
    with pytest.raises(RecipeError, match="optimizer gd"):
        read_recipe({"optimizer": "gd", "batch_size.size": 32})


def test_article_03_adam_without_bias_correction_steps_three_times_too_far() -> None:
    assert literal_adam_step(1.0) == pytest.approx(-0.31623, rel=1e-4)
    assert literal_adam_step(1.0) / first_step("adam", 1.0) == pytest.approx(3.1623, rel=1e-3)
    assert first_step("adam", 1.0) == pytest.approx(-0.1, rel=1e-5)


def test_article_04_epsilon_keeps_the_denominator_from_zero_and_leaves_the_gradient() -> None:
    with pytest.raises(ZeroDivisionError):
        literal_adam_step(0.0, epsilon=0.0)
    assert first_step("adam", 0.0) == 0.0
    assert abs(first_step("adam", 1e-7)) < 0.1 * 0.5  # a tiny gradient gives a smaller step, not a larger one


def test_article_05_sgd_moves_all_parameters_by_the_gradient_of_one_example(
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


def test_article_06_a_schedule_is_not_a_callback_and_ours_is_followed(
    make_dataset: MakeDataset, recipe: MakeRecipe
) -> None:
    callback = run(article_code.LEARNING_RATE)["learning_rate_callback"]
    with pytest.raises(ValueError, match="should be a float"):
        fitted(callback)
    trained = outcome(recipe(learning_rate__schedule="exponential", batch_size__size=22), make_dataset())
    ratios = np.divide(trained.curves["learning_rate"][1:], trained.curves["learning_rate"][:-1])
    np.testing.assert_allclose(ratios, 0.01 ** (1 / 4), rtol=1e-5)


def test_article_06_a_schedule_in_the_optimizer_beside_a_callback_is_refused_by_keras() -> None:
    schedule = run(article_code.LEARNING_RATE)["learning_rate_schedule"]
    callback = keras.callbacks.LearningRateScheduler(lambda epoch, rate: float(rate))
    with pytest.raises(TypeError):
        fitted(callback, optimizer=keras.optimizers.SGD(schedule))


def test_article_07_epochs_are_not_steps_and_our_clock_ends_with_the_budget() -> None:
    schedule = run(article_code.LEARNING_RATE)["learning_rate_schedule"]
    assert float(schedule(100)) / float(schedule(0)) == pytest.approx(0.996, abs=1e-3)  # after 100 epochs of it
    params = {"learning_rate.schedule": "exponential", "learning_rate.final_fraction": 0.25, "batch_size.size": 1}
    for epochs in (2, 10):
        plans = train(controller({**params, "learning_rate.peak": 1.0}, epochs=epochs), [1.0] * epochs)
        assert plans[-1].learning_rates[-1] == pytest.approx(0.25, rel=0.05)


def test_article_08_a_time_schedule_ignores_performance_and_plateau_does_not() -> None:
    def last_rate(schedule: str, scores: list[float]) -> float:
        params = {"learning_rate.schedule": schedule, "stopping.rule": "none"}
        patience = {"learning_rate.plateau_patience": 1} if schedule == "plateau" else {}
        return float(train(controller({**params, **patience}), scores)[-1].learning_rates[-1])

    falling, flat = [8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0], [1.0] * 8
    assert last_rate("exponential", falling) == last_rate("exponential", flat)
    assert last_rate("plateau", falling) > last_rate("plateau", flat)


def test_article_09_stages_are_of_the_training_and_too_large_a_rate_diverges(
    make_dataset: MakeDataset, recipe: MakeRecipe
) -> None:
    params = {"learning_rate.schedule": "step", "learning_rate.step_first": 0.5, "learning_rate.step_count": 1}
    plans = train(controller({**params, "learning_rate.peak": 1.0}), [1.0] * 8)
    assert [round(float(plan.learning_rates[0]), 6) for plan in plans] == [1.0] * 4 + [0.1] * 4
    assert all(sorted(plan.order.tolist()) == list(range(20)) for plan in plans)  # every stage sees all examples
    dataset = make_dataset("regression")
    losses = outcome(recipe(optimizer="sgd", learning_rate__peak=3.0, batch_size__size=8), dataset).curves["loss"]
    assert not losses[-1] < losses[0]  # it is the training loss itself that fails: no overfitting


def test_article_10_the_batch_size_block_is_invalid_python_and_ours_is_a_policy() -> None:
    with pytest.raises(SyntaxError, match="never closed"):
        run(article_code.BATCH_SIZE)
    with pytest.raises(SyntaxError):
        run(article_code.BATCH_SIZE + ")")
    assert sizes_by_epoch(32) == [32, 38, 45, 54, 64, 76]


def sizes_by_epoch(first: int, epochs: int = 6, **settings: Any) -> list[int]:
    policy = BatchSizeSettings(policy="geometric", size=first, factor=1.2, **settings)
    moments = [Moment(10_000, epoch, epochs) for epoch in range(1, epochs + 1)]
    return [int(batch_sizes(policy, moment).sizes[0]) for moment in moments]


def test_article_11_epoch_logs_hold_no_batch_size_and_our_curves_do(
    make_dataset: MakeDataset, recipe: MakeRecipe
) -> None:
    seen: list[dict[str, float]] = []
    fitted(keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(dict(logs))))
    assert set(seen[0]) == {"loss", "val_loss"}
    with pytest.raises(KeyError, match="batch"):
        fitted(keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: int(logs["batch"] * 1.2)))
    trained = outcome(recipe(batch_size__policy="geometric", batch_size__size=4), make_dataset())
    assert trained.curves["batch_size"] == [4, 5, 6, 7]


def test_article_12_writing_to_the_logs_changes_nothing_and_our_sizes_grow_to_a_cap() -> None:
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


def test_article_13_a_checkpoint_callback_does_not_set_the_batch_size() -> None:
    assert "batch_size" not in inspect.signature(keras.callbacks.ModelCheckpoint).parameters
    sizes = {plan.batch_sizes[0] for plan in train(controller({"batch_size.size": 7}), [1.0] * 3)}
    assert sizes == {7}
