"""Measurements of the gradients while `fit` accumulates them: exact for single examples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset
from nightune.models.recipe.recipe import Recipe
from nightune.models.techniques.batch_sizes.gradient_noise import example_estimates
from nightune.models.training.plan import EpochPlan
from tests.models.conftest import SEEDS, trained


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global FitEngine
    from nightune.models.engines.fit.engine import FitEngine


MakeDataset = Callable[..., Dataset]
MakePlan = Callable[..., EpochPlan]
MakeRecipe = Callable[..., Recipe]


@pytest.mark.parametrize("strengths", [{}, {"l1": 0.3, "l2": 0.7}])
def test_measurements_equal_those_of_single_examples_without_the_penalty(
    make_dataset: MakeDataset, make_plan: MakePlan, recipe: MakeRecipe, strengths: dict[str, float]
) -> None:
    """One update in micro-batches of one example: variance, norm and diversity are exact."""
    dataset = make_dataset("regression")
    penalty = "elastic" if strengths else "none"
    linear = recipe(batch_size__policy="divebatch", batch_size__micro_size=1, penalty__kind=penalty, model__units=[])
    engine = FitEngine(dataset, Path())
    state = engine.start(linear, SEEDS)
    kernel, bias = (weight.astype(np.float64) for weight in engine.weights(state))
    inputs, targets = dataset.train.inputs.astype(np.float64), dataset.train.targets[:, None]
    gradients = 2 * (inputs @ kernel + bias - targets) * np.hstack([inputs, np.ones((22, 1))])
    state, output = engine.run_epoch(state, make_plan([22], **strengths))
    square, variance = example_estimates(gradients)
    mean = gradients.mean(axis=0)
    assert output.statistics == pytest.approx(
        {
            "micro_batch_size": 1.0,
            "gradient_square": square,
            "gradient_variance": variance,
            "epoch_gradient_square": float(mean @ mean),
        },
        rel=1e-4,
    )


def test_measurements_cover_the_full_updates_of_one_epoch(
    make_dataset: MakeDataset, make_plan: MakePlan, recipe: MakeRecipe
) -> None:
    """With a rate of 0 every epoch of the same order measures the same, and a remainder of one changes no norm."""
    engine = FitEngine(make_dataset(examples=17), Path())
    plan = make_plan([8, 8, 1], rates=0.0)
    _, outputs = trained(engine, recipe(batch_size__policy="gns", batch_size__micro_size=2), [plan, plan])
    assert outputs[0].statistics == pytest.approx(outputs[1].statistics)
    shorter = FitEngine(make_dataset(examples=17), Path())
    same = EpochPlan(**{**vars(plan), **_first_updates(plan, 2)})
    _, without = trained(shorter, recipe(batch_size__policy="gns", batch_size__micro_size=2), [same])
    assert without[0].statistics == pytest.approx(outputs[0].statistics)


def _first_updates(plan: EpochPlan, count: int) -> dict[str, Any]:
    sizes = plan.batch_sizes[:count]
    rates = {name: getattr(plan, name)[:count] for name in ("learning_rates", "shrinks")}
    return {"order": plan.order[: sizes.sum()], "batch_sizes": sizes, **rates}


def test_a_batch_of_one_example_gives_no_noise_estimate(
    make_dataset: MakeDataset, make_plan: MakePlan, recipe: MakeRecipe
) -> None:
    _, outputs = trained(
        FitEngine(make_dataset(), Path()), recipe(batch_size__policy="gns"), [make_plan([1] * 22, rates=0.01)]
    )
    assert np.isnan(outputs[0].statistics["gradient_variance"])
