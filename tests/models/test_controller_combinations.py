"""Every combination of kinds is planned to its end with finite numbers, or refused by a named rule before training."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightune.models.recipe.params import params_of, read_recipe
from nightune.models.recipe.recipe import Recipe
from nightune.models.recipe.rules import RecipeError
from nightune.models.techniques.batch_sizes.policies import POLICIES, REMAINDERS
from nightune.models.techniques.learning_rates.batch_scaling import SCALINGS
from nightune.models.techniques.learning_rates.schedules import SCHEDULES
from nightune.models.techniques.optimizers.optimizers import MINI_BATCH_OPTIMIZERS, OPTIMIZERS
from nightune.models.techniques.penalties.penalties import PENALTIES
from nightune.models.techniques.stopping.rules import RULES
from nightune.models.techniques.stopping.stopping import ACTIONS
from nightune.models.techniques.weight_decays.weight_decays import COUPLINGS, PROFILES
from nightune.models.training.graph_key import graph_key
from tests.models.controllers import GRADIENTS, controller, same

# params that a kind requires
NEEDS: dict[str, dict[str, Any]] = {
    "inverse_sqrt": {"learning_rate.warmup_fraction": 0.1},
    "threshold": {"stopping.limit": 1e9},
    "target": {"stopping.target": -1e9},
}

# how often an epoch may use an example
USES = {"keep": {1}, "drop": {0, 1}, "wrap": {1, 2}}


@st.composite
def kinds(draw: st.DrawFn) -> dict[str, Any]:
    params: dict[str, Any] = {
        "optimizer": draw(st.sampled_from(list(OPTIMIZERS))),
        "learning_rate.schedule": draw(st.sampled_from(list(SCHEDULES))),
        "weight_decay.profile": draw(st.sampled_from(list(PROFILES))),
        "penalty.kind": draw(st.sampled_from(list(PENALTIES))),
        "stopping.rule": draw(st.sampled_from(list(RULES))),
    }
    if params["optimizer"] in MINI_BATCH_OPTIMIZERS:
        params["batch_size.policy"] = draw(st.sampled_from(list(POLICIES)))
        params["batch_size.remainder"] = draw(st.sampled_from(list(REMAINDERS)))
        params["learning_rate.batch_scaling"] = draw(st.sampled_from(list(SCALINGS)))
        params["learning_rate.clock"] = draw(st.sampled_from(["examples", "updates"]))
    if params["weight_decay.profile"] != "none":
        params["weight_decay.coupling"] = draw(st.sampled_from(list(COUPLINGS)))
    if params["stopping.rule"] == "combined":
        params["stopping.action"] = draw(st.sampled_from(list(ACTIONS)))
    return params | NEEDS.get(params["learning_rate.schedule"], {}) | NEEDS.get(params["stopping.rule"], {})


def read(params: dict[str, Any]) -> Recipe | None:
    """Return the recipe, or None if a rule that is known to concern these kinds refuses it."""
    try:
        return read_recipe(params)
    except RecipeError as refusal:
        if refusal.rule in ("C1", "C2", "C3", "C4", "C5", "C6"):
            return None
        raise


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(params=kinds(), examples=st.integers(1, 90), scores=st.lists(st.floats(0.0, 10.0), min_size=6, max_size=6))
def test_every_combination_is_planned_or_refused_by_a_named_rule(
    params: dict[str, Any], examples: int, scores: list[float]
) -> None:
    recipe = read(params)
    if recipe is None:
        return
    assert read_recipe(params_of(recipe)) == recipe
    assert graph_key(recipe, "")
    trained = controller(params, examples=examples, epochs=len(scores))
    largest = examples if recipe.optimizer.is_full_batch else recipe.batch_size.largest
    largest = recipe.stopping.batch_maximum if recipe.stopping.grows_batches else largest
    ends_early = recipe.learning_rate.clock == "updates"  # and may be at a rate of 0 before the budget's end
    least = 0.0 if ends_early else np.finfo(np.float32).tiny
    for score in scores:
        plan = trained.next_epoch()
        if plan is None:
            break
        uses = np.bincount(np.concatenate(list(plan.batches())), minlength=examples)
        assert len(uses) == examples
        assert set(uses.tolist()) <= USES[recipe.batch_size.remainder]
        assert 1 <= plan.batch_sizes.min() <= plan.batch_sizes.max() <= min(largest, examples)
        assert np.all(np.isfinite(plan.learning_rates) & (plan.learning_rates >= least))
        assert np.all((plan.shrinks >= 0.0) & (plan.shrinks < 1.0))
        assert all(math.isfinite(value) for value in plan.recorded.values())
        trained.observe({"loss": score, "val_score": score, **GRADIENTS})
    assert trained.status in ("completed", "stopped_early")


@settings(max_examples=60, deadline=None)
@given(kinds(), st.integers(1, 5))
def test_plans_made_ahead_equal_those_made_one_by_one(params: dict[str, Any], most: int) -> None:
    try:
        slow, ahead = controller(params), controller(params)
    except RecipeError:
        return
    while plans := ahead.plans_ahead(most):
        assert len(plans) <= most
        for plan in plans:
            assert same(plan, ahead.next_epoch())
            assert same(plan, slow.next_epoch())
            for each in (slow, ahead):
                each.observe({"loss": 1.0, "val_loss": 1.0, "val_score": 1.0 / plan.epoch, **GRADIENTS})
            if ahead.status != "training":
                break
    assert slow.next_epoch() is None


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"stopping.rule": "none"}, 8),
        ({"stopping.rule": "patience"}, 4),  # epochs after a stop are discarded
        ({"stopping.rule": "none", "learning_rate.schedule": "plateau"}, 1),
        ({"stopping.rule": "combined"}, 1),
        ({"stopping.rule": "none", "batch_size.policy": "cabs"}, 1),
        ({"stopping.rule": "none", "penalty.kind": "l2", "penalty.adaptation": "gap_control"}, 1),
    ],
)
def test_plans_are_made_ahead_where_nothing_observed_changes_them(params: dict[str, Any], expected: int) -> None:
    assert len(controller(params).plans_ahead(100)) == expected
