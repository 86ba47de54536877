"""What a model expects before it has results: where the prior is right it is followed, where it is wrong it is left."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from nightune.tuning.search.domains import Choice, Range
from nightune.tuning.search.expectation import expectations, expected_best
from nightune.tuning.search.gaussian_process import gaussian_process
from nightune.tuning.search.guidance import Guidance
from nightune.tuning.search.methods import METHODS
from nightune.tuning.search.new_points import Point
from nightune.tuning.search.observations import Observation
from nightune.tuning.search.prior_mean import BEST, PriorMean
from nightune.tuning.search.recorded_scores import (
    LEAST,
    Family,
    RecordedScores,
    mean_scores,
    prior_of,
    read_recorded_scores,
)
from nightune.tuning.search.samplers import random
from nightune.tuning.search.search_space import Dimension, SearchSpace
from nightune.tuning.search.tree_parzen import tree_parzen
from nightune.tuning.trial import Params
from tests.tuning.conftest import Read, study_text

SPACE = SearchSpace(
    (
        Dimension("rate", Range(1e-5, 1.0, "log")),
        Dimension("width", Range(1, 100)),
        Dimension("kind", Choice(("a", "b"))),
    )
)
SEED = (3, 0, 8)


def loss(point: Point) -> float:
    """Lowest for kind b at a rate of 0.1."""
    return abs(math.log10(float(str(point["rate"]))) + 1) + (0.0 if point["kind"] == "b" else 1.0)


def prior(sign: float = 1.0, count: int = 60) -> PriorMean:
    points = random(SPACE, count, [], (17, 0))
    return PriorMean(SPACE, points, mean_scores(np.array([[[sign * loss(point)] for point in points]])))


def seen(points: Sequence[Point]) -> list[Observation]:
    return [Observation(number, point, {4: loss(point)}) for number, point in enumerate(points)]


def near_the_worst(count: int) -> list[Observation]:
    """Results that say nothing of the best points: kind a, at rates below 1e-4."""
    drawn = random(SPACE, count, [], (1, 0))
    return seen([{**point, "rate": 1e-5 * (1 + place), "kind": "a"} for place, point in enumerate(drawn)])


def test_a_prior_that_is_right_finds_what_results_do_not_tell() -> None:
    history = near_the_worst(8)
    with_prior = gaussian_process(SPACE, history, [], 8, SEED, guidance=Guidance(prior()))
    without = gaussian_process(SPACE, history, [], 8, SEED)
    assert np.median([loss(point) for point in with_prior]) < 0.5
    assert np.median([loss(point) for point in without]) > 1.0


def test_a_prior_that_is_wrong_is_left_as_results_come() -> None:
    history = seen(random(SPACE, 40, [], (5, 0)))
    points = gaussian_process(SPACE, history, [], 8, SEED, guidance=Guidance(prior(sign=-1.0)))
    assert np.median([loss(point) for point in points]) < 0.5
    drawn = random(SPACE, 50, [], (9, 0))
    expected = [each.value for each in expectations(SPACE, history, drawn, "minimize", prior(-1.0)) if each]
    assert np.corrcoef(expected, [loss(point) for point in drawn])[0, 1] > 0.8


@pytest.mark.slow
def test_proposals_with_a_prior_are_a_function_of_the_arguments_and_fewer_are_the_first_of_more() -> None:
    history = near_the_worst(8)
    whole = gaussian_process(SPACE, history, [], 6, SEED, guidance=Guidance(prior()))
    assert whole == gaussian_process(SPACE, history, [], 6, SEED, guidance=Guidance(prior()))
    assert whole[:4] == gaussian_process(SPACE, history, [], 4, SEED, guidance=Guidance(prior()))
    assert gaussian_process(SPACE, history, whole[:2], 4, SEED, guidance=Guidance(prior())) == whole[2:]


def test_recorded_points_are_candidates_but_none_that_is_taken_or_not_among_those_allowed() -> None:
    held, history = prior(), near_the_worst(8)
    points = gaussian_process(SPACE, history, [], 8, SEED, guidance=Guidance(held))
    assert any(point in held.best for point in points)
    taken = [point for point in points if point in held.best]
    again = gaussian_process(SPACE, [*history, *seen(taken)], [], 8, SEED, guidance=Guidance(held))
    assert not [point for point in again if point in taken]
    allowed = random(SPACE, 12, [], (23, 0))
    assert all(point in allowed for point in gaussian_process(SPACE, history, [], 8, SEED, allowed, Guidance(held)))


def test_the_best_recorded_points_come_best_first() -> None:
    held = prior(count=100)
    losses = [loss(point) for point in held.best]
    assert len(losses) == BEST
    assert losses == sorted(losses)
    assert held(held.best[:3]).max() < held(held.best[-3:]).min()


def test_the_best_expected_point_may_be_one_that_only_the_prior_knows() -> None:
    history = near_the_worst(8)
    found, plain = (expected_best(SPACE, history, "minimize", SEED, each) for each in (prior(), None))
    assert found is not None
    assert plain is not None
    assert loss(found[0]) < 0.5 < loss(plain[0])


def test_only_methods_that_expect_an_objective_begin_from_a_prior() -> None:
    held = prior()
    assert METHODS["tpe"].guided_by(Guidance(held)) is tree_parzen
    assert METHODS["random"].guided_by(Guidance(held)) is None
    proposer = METHODS["auto"].guided_by(Guidance(held))
    assert proposer is not None
    history = near_the_worst(8)
    assert proposer(SPACE, history, [], 2, SEED) == gaussian_process(
        SPACE, history, [], 2, SEED, guidance=Guidance(held)
    )


def test_scores_are_means_over_data_sets_whatever_their_scales_and_failures_are_the_worst() -> None:
    losses = np.array([[[1.0], [2.0], [3.0], [4.0]], [[10.0], [20.0], [30.0], [math.nan]]])
    found = mean_scores(losses)
    assert found.mean() == pytest.approx(0)
    assert found.std() == pytest.approx(1)
    assert np.argsort(found).tolist() == [0, 1, 2, 3]
    assert mean_scores(np.ones((2, 3, 1))).tolist() == [0, 0, 0]


STUDY = """
optimizer = ["adam", "sgd"]
learning_rate.peak = { low = 1e-3, high = 0.1, scale = "log" }
batch_size.size = [32, 64]
"""


def recorded(count: int, **changed: Any) -> RecordedScores:
    rates = np.geomspace(1e-3, 0.1, count)
    configurations = [
        {"optimizer": "adam", "learning_rate.peak": float(rate), "batch_size.size": 32, **changed} for rate in rates
    ]
    scores = np.linspace(-2, 2, count).tolist()
    return RecordedScores(families={"mlp": Family(configurations=configurations, scores={"classification": scores})})


def prior_in(read: Read, held: RecordedScores, space: str = STUDY, kind: str = "classification") -> PriorMean | None:
    def complete(point: Params) -> Params:
        return {"optimizer": "adam", "learning_rate.peak": 0.001, **point}

    return prior_of(held, read(study_text(space)).space, kind, complete)


def test_configurations_become_points_with_their_scores(read: Read) -> None:
    found = prior_in(read, recorded(40))
    assert found is not None
    assert len(found.points) == 40
    assert found.points[0]["learning_rate.peak"] == pytest.approx(1e-3)
    assert found.points[0]["batch_size.size"] == 32
    assert found.scores.tolist() == pytest.approx(np.linspace(-2, 2, 40).tolist())


@pytest.mark.parametrize(
    "space",
    [
        STUDY.replace('["adam", "sgd"]', '["sgd"]'),
        STUDY.replace("low = 1e-3, high = 0.1", "low = 1e-7, high = 1e-5"),
        STUDY.replace('{ low = 1e-3, high = 0.1, scale = "log" }', "1e-5"),
    ],
    ids=["another optimizer", "other rates", "a fixed rate"],
)
def test_configurations_that_the_space_does_not_reach_say_nothing(read: Read, space: str) -> None:
    assert prior_in(read, recorded(40), space) is None


def test_a_value_that_the_space_lacks_otherwise_is_averaged_over(read: Read) -> None:
    found = prior_in(read, recorded(40), STUDY.replace("[32, 64]", "128"))
    assert found is not None
    assert {point["batch_size.size"] for point in found.points} == {128}


def test_too_few_configurations_and_another_task_give_no_prior(read: Read) -> None:
    assert prior_in(read, recorded(LEAST)) is not None
    assert prior_in(read, recorded(LEAST - 1)) is None
    assert prior_in(read, recorded(40), kind="regression") is None
    assert prior_in(read, RecordedScores(families={})) is None


def test_an_architecture_without_family_has_the_scores_of_all_families_whatever_their_networks(read: Read) -> None:
    several = {name: recorded(30, **{"model.units": units}).families["mlp"] for name, units in (("cnn", 8), ("gru", 9))}
    found = prior_in(read, RecordedScores(families=several))
    assert found is not None
    assert len(found.points) == 60
    assert {point["model.architecture"] for point in found.points} == {"mlp"}
    assert found.scores.tolist() == pytest.approx([*np.linspace(-2, 2, 30)] * 2)
    assert not [point for point in found.points if point.get("model.units") in (8, 9)]


def test_the_shipped_scores_have_a_score_for_each_configuration_of_each_family() -> None:
    shipped = read_recorded_scores()
    assert set(shipped.families) == {"mlp", "cnn", "sequence"}
    for family in shipped.families.values():
        for scores in family.scores.values():
            assert len(scores) == len(family.configurations)
            assert np.mean(scores) == pytest.approx(0, abs=1e-3)
            assert np.std(scores) == pytest.approx(1, abs=1e-3)
