"""The controller: plans that follow from metrics alone, in every engine and after every restart."""

from typing import Any

import numpy as np
import pytest

from nightune.models.techniques.batch_sizes.policies import POLICIES
from nightune.models.training.plan import EpochPlan
from tests.models.controllers import controller, same, train


@pytest.mark.parametrize("params", [{"optimizer": "gd"}, *({"batch_size.policy": policy} for policy in POLICIES)])
def test_a_plan_holds_every_example_once(params: dict[str, Any]) -> None:
    plans = train(controller(params, examples=100, epochs=4), [4.0, 3.0, 2.0, 1.0])
    again = train(controller(params, examples=100, epochs=4), [4.0, 3.0, 2.0, 1.0])
    assert len(plans) == 4
    assert all(same(*pair) for pair in zip(plans, again, strict=True))
    for plan in plans:
        batches = list(plan.batches())
        assert [len(batch) for batch in batches] == plan.batch_sizes.tolist()
        assert sorted(np.concatenate(batches).tolist()) == list(range(100))


def test_the_order_depends_on_the_seed_and_the_epoch() -> None:
    first, second = train(controller(order_seed=7), [2.0, 1.0])
    assert first.order.tolist() == np.random.default_rng([7, 1]).permutation(20).tolist()
    assert second.order.tolist() == np.random.default_rng([7, 2]).permutation(20).tolist()


def test_updates_and_examples_are_counted_over_observed_epochs() -> None:
    trained = controller({"batch_size.size": 8})
    train(trained, [2.0, 1.0])
    assert trained.next_epoch()
    assert (trained.epoch, trained.updates, trained.examples_seen) == (2, 6, 40)


def test_recorded_values_are_those_of_the_last_update() -> None:
    params = {
        "batch_size.size": 8,
        "learning_rate.schedule": "linear",
        "learning_rate.peak": 0.5,
        "learning_rate.final_fraction": 0.0,
        "weight_decay.profile": "tied",
        "weight_decay.strength": 0.1,
        "penalty.kind": "l1",
        "penalty.strength": 0.01,
        "penalty.convention": "article",
    }
    plan = train(controller(params, epochs=2), [1.0])[0]
    assert plan.batch_sizes.tolist() == [8, 8, 4]
    assert plan.recorded == pytest.approx(
        {"learning_rate": 0.5 * (1 - 16 / 40), "weight_decay": 0.1 * (1 - 16 / 40), "batch_size": 8, "penalty": 0.01}
    )
    assert plan.recorded["learning_rate"] == plan.learning_rates[-1]
    assert (plan.l1, plan.l2) == (0.02, 0.0)
    assert plan.shrinks.dtype == plan.learning_rates.dtype == np.float32
    np.testing.assert_allclose(plan.shrinks, 0.05 * np.array([1, 0.8, 0.6]) ** 2, rtol=1e-6)


def test_the_plan_shrinks_a_weight_to_the_golden_values() -> None:
    params = {
        "batch_size.size": 5,
        "learning_rate.peak": 0.1,
        "weight_decay.profile": "exponential",
        "weight_decay.strength": 0.1,
        "weight_decay.final_fraction": 0.5,
    }
    plan = train(controller(params, epochs=1), [1.0])[0]  # four updates are the whole budget
    np.testing.assert_allclose(np.cumprod(1 - plan.shrinks), [0.99, 0.981675, 0.974734, 0.968938], atol=1e-6)


def test_a_plan_refuses_arrays_that_do_not_fit_and_changes_to_them() -> None:
    plan = train(controller(), [1.0])[0]
    values = vars(plan)
    with pytest.raises(ValueError, match="sum to 19, not to 20"):
        EpochPlan(**{**values, "batch_sizes": np.array([19], np.int32)})
    with pytest.raises(ValueError, match="one value an update"):
        EpochPlan(**{**values, "shrinks": np.zeros(7, np.float32)})
    with pytest.raises(ValueError, match="read-only"):
        plan.order[0] = 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"direction": "up"}, "direction: unknown 'up'"),
        ({"task": "ranking"}, "task"),
        ({"epochs": 0}, "got 20 and 0"),
    ],
)
def test_a_controller_refuses_recipes_that_it_cannot_plan(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        controller(**changed)
