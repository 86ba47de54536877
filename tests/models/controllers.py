"""Controllers to test, and how to train one on given scores."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from nightune.models.recipe.params import read_recipe
from nightune.models.techniques.stopping.state import StoppingInputs
from nightune.models.training.controller import Controller
from nightune.models.training.plan import EpochPlan

# Measurements for policies that follow the gradients: they request 2 / 0.1, and 2.1 / 0.2 examples.
GRADIENTS = {"gradient_square": 0.1, "gradient_variance": 2.0, "epoch_gradient_square": 0.2}

scores_of_a_training = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=30)


def controller(
    params: dict[str, Any] | None = None,
    examples: int = 20,
    epochs: int = 8,
    order_seed: int = 3,
    direction: str = "minimize",
    task: str = "regression",
    is_rule_ignored: bool = False,
) -> Controller:
    recipe = read_recipe(params or {})
    stopping = StoppingInputs(earlier_curves=[[1.0, 1.5, 2.0]], is_ignored=is_rule_ignored)
    return Controller(recipe, examples, epochs, order_seed, "val_score", direction, task, stopping=stopping)


def train(trained: Controller, scores: Iterable[float]) -> list[EpochPlan]:
    """Observe the scores one by one until they or the epochs end, and return the plans."""
    plans = []
    for score in scores:
        plan = trained.next_epoch()
        if plan is None:
            break
        plans.append(plan)
        trained.observe({"loss": 1.0, "val_loss": 1.0, "val_score": score, **GRADIENTS})
    return plans


def same(first: EpochPlan | None, second: EpochPlan | None) -> bool:
    if first is None or second is None:
        return first is second
    return all(np.array_equal(value, getattr(second, name)) for name, value in vars(first).items())


def plateau_params(**numbers: float) -> dict[str, Any]:
    return {
        "learning_rate.schedule": "plateau",
        "learning_rate.peak": 0.1,
        "stopping.rule": "none",
        **{f"learning_rate.plateau_{name}": value for name, value in numbers.items()},
    }
