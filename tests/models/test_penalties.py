"""Penalties: λ of the study file compared with the term in the loss, by convention and task."""

import numpy as np
import pytest
from sklearn.linear_model import ElasticNet, Lasso, Ridge

from nightune.models.techniques.penalties.penalties import (
    CONVENTIONS,
    PENALTIES,
    PenaltySettings,
    Strengths,
    keras_strengths,
)


def strengths(kind: str, convention: str, task: str, outputs: int = 1, l1_ratio: float = 0.5) -> Strengths:
    settings = PenaltySettings(kind=kind, strength=0.1, l1_ratio=l1_ratio, convention=convention)
    return keras_strengths(settings, task, outputs)


# kind, convention, task: l1 and l2 of Keras for a strength of 0.1
CONVERSIONS = [
    ("l1", "keras", "regression", 0.1, 0.0),
    ("l2", "keras", "regression", 0.0, 0.1),
    ("l1", "article", "regression", 0.2, 0.0),
    ("l2", "article", "regression", 0.0, 0.1),
    ("l1", "keras", "multiclass", 0.1, 0.0),
    ("l2", "keras", "binary", 0.0, 0.1),
    ("l1", "article", "multiclass", 0.1, 0.0),
    ("l2", "article", "binary", 0.0, 0.05),
    ("elastic", "keras", "regression", 0.05, 0.05),
    ("elastic", "article", "regression", 0.1, 0.05),
    ("elastic", "article", "multiclass", 0.05, 0.025),
    ("none", "article", "regression", 0.0, 0.0),
]


@pytest.mark.parametrize(("kind", "convention", "task", "l1", "l2"), CONVERSIONS)
def test_penalty_strengths_match_the_conversion_table(
    kind: str, convention: str, task: str, l1: float, l2: float
) -> None:
    found = strengths(kind, convention, task)
    assert (found.l1, found.l2) == pytest.approx((l1, l2), abs=1e-15)


def test_penalties_in_keras_convention_match_their_sums() -> None:
    weights = np.array([1.0, -2.0, 3.0])
    for kind, expected in (("l1", 0.6), ("l2", 1.4)):
        found = strengths(kind, "keras", "regression")
        assert found.l1 * np.abs(weights).sum() + found.l2 * (weights**2).sum() == pytest.approx(expected)


def test_the_article_form_scales_with_the_mean_over_outputs_of_mean_squared_error() -> None:
    assert strengths("l1", "article", "regression", outputs=4).l1 == pytest.approx(0.05)
    assert strengths("l2", "article", "regression", outputs=4).l2 == pytest.approx(0.025)
    assert strengths("l1", "article", "multiclass", outputs=4).l1 == pytest.approx(0.1)


def least_gradient(fitted: object, inputs: np.ndarray, targets: np.ndarray, found: Strengths) -> float:
    """The largest slope of mse + l1·Σ|w| + l2·Σw² at scikit-learn's solution, over weights that are not zero."""
    weights, intercept = fitted.coef_, fitted.intercept_  # type: ignore[attr-defined]
    residuals = inputs @ weights + intercept - targets
    slope = 2 * inputs.T @ residuals / len(targets) + found.l1 * np.sign(weights) + 2 * found.l2 * weights
    return float(np.abs(slope[weights != 0]).max())


def test_lasso_and_elastic_net_of_scikit_learn_minimize_the_article_form() -> None:
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(60, 4))
    targets = inputs @ [2.0, -1.0, 0.0, 0.5] + 3 + 0.1 * generator.normal(size=60)
    lasso = Lasso(alpha=0.1, tol=1e-12, max_iter=100_000).fit(inputs, targets)
    elastic = ElasticNet(alpha=0.1, l1_ratio=0.3, tol=1e-12, max_iter=100_000).fit(inputs, targets)
    ridge = Ridge(alpha=60 * 0.1, tol=1e-12).fit(inputs, targets)
    assert least_gradient(lasso, inputs, targets, strengths("l1", "article", "regression")) < 1e-6
    mixed = strengths("elastic", "article", "regression", l1_ratio=0.3)
    assert least_gradient(elastic, inputs, targets, mixed) < 1e-6
    assert least_gradient(ridge, inputs, targets, strengths("l2", "keras", "regression")) < 1e-6


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("kind", PENALTIES)
def test_every_penalty_of_strength_zero_adds_nothing(kind: str, convention: str) -> None:
    settings = PenaltySettings(kind=kind, strength=0.0, convention=convention)
    assert keras_strengths(settings, "regression") == Strengths(0.0, 0.0)


def test_an_unknown_task_is_refused_with_the_known_ones() -> None:
    known = "binary, multiclass, multilabel, positions, regression"
    with pytest.raises(ValueError, match=rf"task: unknown 'ranking' \(known: {known}\)"):
        keras_strengths(PenaltySettings(), "ranking")
