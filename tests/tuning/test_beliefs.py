"""What a model expects of points, in the unit of the objective, and how its expectations came true."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nightune.tuning.analysis.beliefs import Prediction, belief_lines, beliefs, why_proposed
from nightune.tuning.search.domains import Choice, Range
from nightune.tuning.search.expectation import expectations, expected_best
from nightune.tuning.search.gaussian_process import scaled
from nightune.tuning.search.observations import Observation
from nightune.tuning.search.samplers import random
from nightune.tuning.search.search_space import Dimension, SearchSpace
from nightune.tuning.trial import Expectation, Status, Trial
from tests.tuning.conftest import result

SPACE = SearchSpace(
    (
        Dimension("rate", Range(1e-4, 1e-1, "log")),
        Dimension("kind", Choice(("a", "b"))),
        Dimension("fixed", Choice((1,))),
    )
)
NOISE = 0.02


def accuracy(point: Mapping[str, Any]) -> float:
    """0.9 at a rate of 1e-2 with kind a."""
    away = math.log10(point["rate"]) + 2
    return float(0.9 - 0.1 * away**2 - (0.1 if point["kind"] == "b" else 0.0))


def observed(count: int, seed: int = 3) -> list[Observation]:
    generator = np.random.default_rng(seed)
    points = random(SPACE, count, [], (seed, 0))
    return [
        Observation(number, point, {4: -accuracy(point) + NOISE * float(generator.standard_normal())})
        for number, point in enumerate(points)
    ]


def test_scores_return_to_their_losses_and_beyond_them() -> None:
    losses = np.array([0.5, 0.7, 0.4, 2.0, 0.61, math.nan])
    found, scale = scaled(losses)
    assert scale.losses(found)[:5] == pytest.approx(losses[:5])
    beyond = scale.losses(np.array([found.min() - 1, found.max() + 1]))
    assert beyond[0] < 0.4
    assert beyond[1] > 2.0


def test_expectations_are_in_the_unit_of_the_objective_and_do_not_depend_on_order() -> None:
    history, points = observed(48), random(SPACE, 40, [], (9, 0))
    found = expectations(SPACE, history, points, "maximize")
    assert found == expectations(SPACE, history[::-1], points, "maximize")
    truth = [accuracy(point) for point in points]
    expected = [each for each in found if each is not None]
    assert len(expected) == len(points)
    assert np.corrcoef([each.value for each in expected], truth)[0, 1] > 0.9
    near = sum(abs(each.value - held) <= 2 * each.deviation for each, held in zip(expected, truth, strict=True))
    assert near >= 34
    assert all(each.epochs == 4 and each.deviation > 0 for each in expected)


def test_nothing_is_expected_before_three_results() -> None:
    points = random(SPACE, 2, [], (9, 0))
    assert expectations(SPACE, observed(2), points, "maximize") == [None, None]
    assert expected_best(SPACE, observed(2), "maximize", (1, 0)) is None


def test_the_best_expected_point_is_near_the_best_one() -> None:
    found = expected_best(SPACE, observed(40), "maximize", (1, 0))
    assert found is not None
    point, expected = found
    assert accuracy(point) > 0.88
    assert abs(expected.value - 0.9) < 3 * expected.deviation


def test_predictions_are_compared_at_the_epochs_that_they_are_of() -> None:
    history = [replace(each, losses={2: each.losses[4] + 1, 4: each.losses[4]}) for each in observed(16)]
    held = [Trial(number, {}, 0, str(number), expected=Expectation(0.5, 0.1, 2)) for number in range(3)]
    held[2] = replace(held[2], expected=Expectation(0.5, 0.1, 8))
    found = beliefs(SPACE, held, history, "maximize", (1, 0))
    assert [each.reached for each in found.predictions] == [-history[0].losses[2], -history[1].losses[2], None]
    assert [each.has_entered for each in found.predictions] == [True, True, False]
    assert len(found.compared) == 2
    assert found.correlation is None
    assert found.expected is not None
    assert found.expected.epochs == 4
    assert set(found.point or {}) == {"rate", "kind"}


def test_shares_within_deviations_and_ranks_are_counted() -> None:
    reached = [0.5, 0.63, 0.75, 0.81, 0.95, 1.0, 1.12, 1.3, None]
    made = tuple(
        Prediction(number, Expectation(0.5 + 0.1 * number, 0.04, 4), each) for number, each in enumerate(reached)
    )
    found = replace(beliefs(SPACE, [], [], "maximize", (1, 0)), predictions=made)
    assert (found.within(1), found.within(2), len(found.compared)) == (5, 7, 8)
    assert found.correlation == pytest.approx(1.0)
    (line,) = belief_lines(found, str)
    assert "Of 8 trials" in line  # one failed
    assert "68%" in line


def test_ranks_are_compared_among_expectations_of_equal_epochs() -> None:
    early = [Prediction(each, Expectation(2.0 + 0.1 * each, 0.1, 4), 2.0 - 0.1 * each) for each in range(8)]
    late = [Prediction(8 + each, Expectation(1.0 + 0.1 * each, 0.1, 8), 1.0 - 0.1 * each) for each in range(8)]
    found = replace(beliefs(SPACE, [], [], "minimize", (1, 0)), predictions=(*early, *late))
    assert found.correlation == pytest.approx(-1.0)
    (line,) = belief_lines(found, str)
    assert "after 4 or 8 epochs" in line
    assert "within equal epochs -1.00" in line
    few = replace(found, predictions=(*early[:6], *late))
    assert few.correlation == pytest.approx(-1.0)
    assert replace(found, predictions=(*early[:6], *late[:6])).correlation is None


def test_trials_that_a_rung_has_chosen_are_compared_with_no_share() -> None:
    made = [Prediction(each, Expectation(0.5, 0.1, 4), 0.55, True) for each in range(3)]
    dropped = [Prediction(3 + each, Expectation(0.5, 0.1, 4), None, False) for each in range(9)]
    found = replace(beliefs(SPACE, [], [], "maximize", (1, 0)), predictions=(*made, *dropped))
    assert not found.is_whole
    (line,) = belief_lines(found, str)
    assert line.startswith("3 of 12 trials")
    assert "%" not in line


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"proposed_by": "gp", "expected": Expectation(0.93, 0.02, 4)}, ("by gp", "expected 0.93 ± 0.02", "got 0.95")),
        ({"proposed_by": "gp", "expected": Expectation(0.93, 0.02, 2)}, ("expected 0.93 ± 0.02 after 2 epochs",)),
        ({"proposed_by": "history", "promoted_to": 4}, ("earlier sweeps", "promoted to the rung of 4 epochs")),
        ({"proposed_by": "random"}, ("drawn at random",)),
        ({}, ()),
    ],
)
def test_a_trial_says_why_it_was_proposed(changes: dict[str, Any], words: tuple[str, ...]) -> None:
    ended = replace(result(0, 0.95), epochs=4)
    said = why_proposed(replace(ended, trial=replace(ended.trial, **changes)), str)
    assert all(word in said for word in words)
    assert bool(said) == bool(words)


def test_a_dropped_trial_says_where_it_halted_and_not_that_it_reached_what_was_expected_later() -> None:
    ended = replace(result(0, 0.95), status=Status.NOT_PROMOTED, epochs=3)
    assert why_proposed(ended, str) == "halted at the rung of 3 epochs"
    assert why_proposed(ended, str, is_replaced=True) == "replaced after 3 epochs"
    expected = replace(ended, trial=replace(ended.trial, expected=Expectation(0.9, 0.1, 12)))
    assert "after 12 epochs" in why_proposed(expected, str)
    assert "got" not in why_proposed(expected, str)
