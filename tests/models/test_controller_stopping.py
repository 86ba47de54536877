"""When a training stops, and which epoch is its best."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models.controllers import controller, same, scores_of_a_training, train


@pytest.fixture(scope="module")
def keras() -> Any:
    return pytest.importorskip("keras")


def patience_params(patience: int, **numbers: float) -> dict[str, Any]:
    return {"stopping.patience": patience, **{f"stopping.{name}": value for name, value in numbers.items()}}


# params, scores, epochs trained, best epoch, status; epochs of the tables count from 0, ours from 1
STOPS = {
    "stops and keeps the best": (patience_params(2), [5, 4, 4.5, 4.2, 3, 2], 4, 2, "stopped_early"),
    "a training that is not stopped keeps its best too": (patience_params(9), [5, 4, 3, 4], 4, 3, "completed"),
    "the best is absolute, regardless of min_delta": (
        patience_params(2, min_delta=0.5),
        [5, 4.6, 4.5, 4.2],
        3,
        3,
        "stopped_early",
    ),
    "an improving training continues, regardless of its level": (
        patience_params(2),
        [3, 2, 1, 0.9],
        4,
        4,
        "completed",
    ),
    "of ties the first is best": (patience_params(2), [1, 1, 1, 1], 3, 1, "stopped_early"),
    "patience 0 never stops after the first epoch": (patience_params(0), [3, 4, 1], 2, 1, "stopped_early"),
    "the best may lie before start_epoch": (
        patience_params(2, start_epoch=3),
        [1, 9, 8, 9, 9, 7],
        5,
        1,
        "stopped_early",
    ),
    "nan first leaves no best": (patience_params(3), [math.nan, 3, 2, 1], 1, 0, "diverged"),
    "nan later keeps the best before": (patience_params(3), [3, 2, math.nan, 1], 3, 2, "diverged"),
    "infinity is as bad": (patience_params(3), [3, math.inf, 1], 2, 1, "diverged"),
    "minus infinity never wins": (patience_params(3), [3, -math.inf], 2, 1, "diverged"),
    "a stop is due without a rule": ({"stopping.rule": "none"}, [3, math.nan, 1], 2, 1, "diverged"),
    "a stop after the last epoch is a completed training": (patience_params(1), [3, 4], 2, 1, "completed"),
}


@pytest.mark.parametrize("name", STOPS)
def test_patience_stops_and_picks_the_best_epoch_as_expected(name: str) -> None:
    params, scores, epochs_trained, best_epoch, status = STOPS[name]
    trained = controller(params, epochs=2 if "last epoch" in name else len(scores))
    assert len(train(trained, scores)) == epochs_trained
    assert (trained.best_epoch, trained.status) == (best_epoch, status)
    assert trained.next_epoch() is None


@settings(max_examples=40, deadline=None)
@given(scores=scores_of_a_training, patience=st.integers(0, 4), start_epoch=st.integers(0, 4))
def test_finite_scores_stop_where_keras_stops(keras: Any, scores: list[float], patience: int, start_epoch: int) -> None:
    class Model:
        stop_training = False

    model = Model()
    callback = keras.callbacks.EarlyStopping(
        monitor="val_score", mode="min", patience=patience, start_from_epoch=start_epoch
    )
    callback.set_model(model)
    callback.on_train_begin()
    expected = len(scores)
    for epoch, score in enumerate(scores):
        callback.on_epoch_end(epoch, {"val_score": score})
        if model.stop_training:
            expected = epoch + 1
            break
    trained = controller(patience_params(patience, start_epoch=start_epoch + 1), epochs=40)
    assert len(train(trained, scores)) == expected


def test_the_highest_score_is_best_where_it_is_maximized() -> None:
    trained = controller(patience_params(2), direction="maximize")
    plans = train(trained, [0.5, 0.7, 0.6, 0.7, 0.9])
    assert (len(plans), trained.best_epoch, trained.status) == (4, 2, "stopped_early")
    assert trained.message == "val_score: no improvement for 2 epochs"


def test_is_best_follows_the_last_observed_epoch() -> None:
    trained, seen = controller(), []
    for score in (3.0, 2.0, 2.0, 1.0):
        train(trained, [score])
        seen.append(trained.is_best)
    assert seen == [True, True, False, True]
    assert not controller().is_best


@pytest.mark.parametrize("name", ["loss", "val_loss"])
def test_a_loss_that_is_not_finite_ends_the_training_regardless_of_the_monitor(name: str) -> None:
    trained = controller()
    train(trained, [1.0])
    assert trained.next_epoch()
    trained.observe({"loss": 1.0, "val_loss": 1.0, "val_score": 0.5, name: math.nan})
    assert (trained.status, trained.best_epoch, trained.is_best) == ("diverged", 1, False)
    assert trained.message == f"{name} is nan in epoch 2"


def test_another_metric_may_be_undefined() -> None:
    trained = controller()
    assert trained.next_epoch()
    trained.observe({"val_score": 0.5, "val_auc": math.nan})
    assert trained.status == "training"


def test_a_missing_monitor_is_an_error_that_names_the_metrics() -> None:
    trained = controller()
    assert trained.next_epoch()
    with pytest.raises(ValueError, match=r"monitor: unknown 'val_score' \(known: loss, val_loss\)"):
        trained.observe({"loss": 1.0, "val_loss": 1.0})


def test_an_epoch_is_observed_once_and_planned_first() -> None:
    trained = controller()
    with pytest.raises(RuntimeError, match="planned by next_epoch"):
        trained.observe({"val_score": 1.0})
    assert trained.next_epoch() is trained.next_epoch()
    trained.observe({"val_score": 1.0})
    with pytest.raises(RuntimeError, match="planned by next_epoch"):
        trained.observe({"val_score": 1.0})


def combined_params(**numbers: object) -> dict[str, Any]:
    return {
        "learning_rate.peak": 0.1,
        "stopping.rule": "combined",
        "stopping.patience": 2,
        "stopping.max_actions": 2,
        **{f"stopping.{name}": value for name, value in numbers.items()},
    }


def test_combined_acts_on_two_plateaus_and_stops_at_the_third() -> None:
    trained = controller(combined_params(), epochs=20)
    plans = train(trained, [1.0] * 20)
    rates = [float(plan.learning_rates[0]) for plan in plans]
    assert rates == pytest.approx([0.1, 0.1, 0.1, 0.05, 0.05, 0.025, 0.025])  # lowered after epochs 2 and 4, from 0
    assert (trained.status, trained.message) == ("stopped_early", "val_score: a plateau after 2 actions")
    assert trained.best_epoch == 1


def test_combined_may_grow_the_batch_or_alternate() -> None:
    growing = combined_params(action="batch", batch_factor=2.0, batch_maximum=12)
    plans = train(controller({**growing, "batch_size.size": 4}, epochs=20), [1.0] * 20)
    assert [int(plan.batch_sizes[0]) for plan in plans] == [4, 4, 4, 8, 8, 12, 12]
    rates = [float(plan.learning_rates[0]) for plan in plans]
    assert rates == pytest.approx([0.1] * 5 + [0.075] * 2)  # 12 is 1.5 times 8: the rate does the rest
    turns = combined_params(action="alternate", max_actions=3)
    plans = train(controller({**turns, "batch_size.size": 4}, epochs=20), [1.0] * 20)
    assert [int(plan.batch_sizes[0]) for plan in plans] == [4, 4, 4, 4, 4, 8, 8, 8, 8]
    rates = [float(plan.learning_rates[0]) for plan in plans]
    assert rates == pytest.approx([0.1] * 3 + [0.05] * 4 + [0.025] * 2)


def test_combined_waits_out_its_cooldown_and_start_epoch() -> None:
    params = combined_params(cooldown=2, max_actions=1)
    assert len(train(controller(params, epochs=20), [1.0] * 20)) == 3 + 2 - 1 + 2
    params = combined_params(start_epoch=4, max_actions=1)
    assert len(train(controller(params, epochs=20), [1.0] * 20)) == 3 + 3 + 2


def test_combined_follows_a_schedule_as_well() -> None:
    params = {**combined_params(patience=1), "learning_rate.schedule": "linear", "learning_rate.final_fraction": 0.0}
    plans = train(controller({**params, "batch_size.size": 20}, epochs=4), [1.0] * 4)
    assert [float(plan.learning_rates[0]) for plan in plans] == pytest.approx([0.1, 0.075, 0.025, 0.00625])


@pytest.mark.parametrize("rule", ["generalization_loss", "productivity"])
def test_a_rule_of_errors_refuses_a_metric_that_is_maximized(rule: str) -> None:
    with pytest.raises(ValueError, match=f"{rule} follows an error, but val_score is maximized"):
        controller({"stopping.rule": rule}, direction="maximize")


@pytest.mark.parametrize("rule", ["divergence", "productivity"])
def test_a_rule_of_the_training_loss_needs_it(rule: str) -> None:
    trained = controller({"stopping.rule": rule})
    assert trained.next_epoch()
    with pytest.raises(ValueError, match=f"{rule} needs the training loss"):
        trained.observe({"val_score": 1.0})


def test_the_best_epoch_is_returned_under_every_rule() -> None:
    scores = [1, 0.8, 0.6, 0.5, 0.55, 0.52, 0.6, 0.7, 0.65, 0.8]
    for params in (
        {"stopping.rule": "generalization_loss"},
        {"stopping.rule": "productivity", "stopping.strip": 1, "stopping.alpha": 0.01},
        {"stopping.rule": "successive_increase", "stopping.strip": 2, "stopping.successive": 1},
    ):
        trained = controller(params, epochs=20)
        train(trained, scores)
        assert (trained.status, trained.best_epoch) == ("stopped_early", 4)


def test_a_target_of_a_maximized_metric_ends_the_training() -> None:
    trained = controller({"stopping.rule": "target", "stopping.target": 0.9}, direction="maximize")
    assert len(train(trained, [0.5, 0.8, 0.95, 0.99])) == 3
    assert trained.message == "val_score: 0.95 reaches the target 0.9"


@pytest.mark.parametrize("rule", ["patience", "combined"])
def test_a_rule_that_is_ignored_stops_nothing_and_changes_no_plan(rule: str) -> None:
    params = {"stopping.rule": rule, "stopping.patience": 1}
    params |= {"stopping.action": "rate", "stopping.max_actions": 1} if rule == "combined" else {}
    scores = [5.0, 6.0, 6.0, 6.0, 6.0, 6.0, 4.0, 6.0]
    stopping, ignoring = controller(params), controller(params, is_rule_ignored=True)
    plans = train(stopping, scores)
    whole = train(ignoring, scores)
    assert stopping.status == "stopped_early"
    assert (ignoring.status, ignoring.message, ignoring.epoch) == ("completed", "", 8)
    assert ignoring.best_epoch == 7
    assert len(plans) < len(whole)
    assert all(same(one, other) for one, other in zip(plans, whole, strict=False))
