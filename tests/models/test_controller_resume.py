"""A resumed training equals the uninterrupted one, under every policy."""

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightune.models.techniques.batch_sizes.policies import POLICIES
from nightune.models.techniques.learning_rates.schedules import SCHEDULES
from nightune.models.techniques.stopping.rules import RULES
from nightune.models.techniques.weight_decays.weight_decays import PROFILES
from nightune.vocabulary import row_of
from tests.models.controllers import GRADIENTS, controller, plateau_params, same, train

# policy: settings with which it acts within eight epochs of twenty examples
TABLE = "SMALL_BATCHES in tests/models/test_controller_resume.py"
SMALL_BATCHES: dict[str, dict[str, Any]] = {
    "fixed": {},
    "random": {"batch_size.minimum": 1, "batch_size.ratio": 8},
    "geometric": {"batch_size.size": 1},
    "plateau_grow": {"batch_size.size": 4, "batch_size.patience": 1, "batch_size.min_delta": 0.5},
    "schedule_grow": {"batch_size.size": 2, "batch_size.factor": 3},
    "adabatch": {"batch_size.size": 4, "batch_size.interval": 2},
    "gns": {"batch_size.size": 2, "batch_size.minimum": 1},
    "cabs": {"batch_size.size": 2, "batch_size.minimum": 1, "learning_rate.peak": 2.0},
    "divebatch": {"batch_size.size": 2, "batch_size.minimum": 1},
}

# stopping rule: settings with which it acts within eight epochs
NUMBERS: dict[str, dict[str, Any]] = {
    "patience": {"stopping.patience": 3, "stopping.start_epoch": 2},
    "combined": {"stopping.patience": 1, "stopping.cooldown": 1, "stopping.max_actions": 1},
    "threshold": {"stopping.limit": 2.5, "stopping.limit_of": "best"},
    "target": {"stopping.target": 0.7},
    "divergence": {"stopping.loss_factor": 2.0, "stopping.successive": 2},
    "generalization_loss": {"stopping.alpha": 60.0},
    "productivity": {"stopping.strip": 2, "stopping.alpha": 0.2},
    "successive_increase": {"stopping.strip": 2, "stopping.successive": 2},
    "median": {"stopping.warmup_trials": 1},
    "noise_patience": {"stopping.patience": 2, "stopping.noise_window": 3},
}

RESUMED = [
    plateau_params(patience=2, cooldown=1, min_delta=1),
    {**plateau_params(patience=1), "stopping.rule": "patience", "stopping.patience": 3},
    {"optimizer": "gd", "weight_decay.profile": "tied"},
    *(
        {"learning_rate.schedule": name, "learning_rate.warmup_fraction": 0.1}
        for name in SCHEDULES
        if name != "one_cycle"
    ),
    {"learning_rate.schedule": "one_cycle"},
    {"learning_rate.schedule": "one_cycle", "optimizer": "sgd", "learning_rate.one_cycle_momentum": "mirrored"},
    {"penalty.kind": "l1", "penalty.adaptation": "gap_control"},
    *({"optimizer": "sgd", "weight_decay.profile": name} for name in PROFILES),
    *(
        {
            **row_of(SMALL_BATCHES, policy, TABLE),
            "batch_size.policy": policy,
            "learning_rate.batch_scaling": "sqrt",
            "weight_decay.profile": "tied",
        }
        for policy in POLICIES
    ),
    {"learning_rate.batch_scaling": "gns", "batch_size.size": 4},
    {"learning_rate.schedule": "cosine", "learning_rate.clock": "updates", "learning_rate.clock_batch_size": 8},
    *(
        {"learning_rate.schedule": "linear", "batch_size.size": 6, "batch_size.remainder": name}
        for name in ("drop", "wrap")
    ),
    *({"stopping.rule": rule, **NUMBERS.get(rule, {})} for rule in RULES),
    {"stopping.rule": "combined", "stopping.patience": 1, "stopping.action": "alternate", "stopping.max_actions": 4},
]


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    params=st.sampled_from(RESUMED),
    scores=st.lists(st.sampled_from([0.5, 1.0, 1.5, 2.0, 3.0, math.nan]), min_size=1, max_size=8),
)
def test_a_resumed_controller_equals_the_uninterrupted_one_at_every_epoch(
    params: dict[str, Any], scores: list[float]
) -> None:
    unbroken = controller(params)
    for score in scores:
        resumed = controller(params)
        resumed.restore(json.loads(json.dumps(unbroken.state(), allow_nan=False)))
        assert resumed.state() == unbroken.state()
        assert same(resumed.next_epoch(), unbroken.next_epoch())
        if unbroken.next_epoch() is None:
            assert (resumed.status, resumed.message) == (unbroken.status, unbroken.message)
            break
        for each in (unbroken, resumed):
            measured = {**GRADIENTS, "gradient_square": 0.3 - score / 10, "gradient_variance": score}
            measured |= {"train_loss_after": 1.0, "held_out_loss": 0.9 + score / 5}
            each.observe({"loss": 3.0 - score / 2, "val_score": score, **measured})
        for name in ("is_best", "best_epoch", "status", "message", "updates", "examples_seen"):
            assert getattr(resumed, name) == getattr(unbroken, name)
        assert resumed.state() == unbroken.state()


@pytest.mark.parametrize("policy", POLICIES)
def test_a_rung_is_a_prefix_of_the_full_training(policy: str) -> None:
    batches = {**row_of(SMALL_BATCHES, policy, TABLE), "batch_size.policy": policy}
    params = {"learning_rate.schedule": "cosine", "stopping.rule": "none", **batches}
    full = train(controller(params), [1.0] * 8)
    first_rung = controller(params)
    plans = train(first_rung, [1.0] * 3)
    second_rung = controller(params)
    second_rung.restore(first_rung.state())
    plans += train(second_rung, [1.0] * 5)
    assert [plan.epoch for plan in plans] == list(range(1, 9))
    assert all(same(*pair) for pair in zip(plans, full, strict=True))


@pytest.mark.parametrize(
    "changed", [{"params": {"learning_rate.peak": 0.5}}, {"examples": 21}, {"epochs": 9}, {"order_seed": 4}]
)
def test_a_state_of_another_training_is_refused(changed: dict[str, Any]) -> None:
    state = controller().state()
    with pytest.raises(ValueError, match="belongs to another training"):
        controller(**changed).restore(state)
