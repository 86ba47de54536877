"""The front of several objectives, the volume that it covers, and proposals along it."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nightune.tuning.analysis import front as front_module
from nightune.tuning.analysis.front import dominated_volume, front, hypervolume, losses_of, volumes
from nightune.tuning.search.domains import Range
from nightune.tuning.search.gaussian_process import gaussian_process
from nightune.tuning.search.observations import Observation
from nightune.tuning.search.samplers import random
from nightune.tuning.search.scalarization import propose, scalarized
from nightune.tuning.search.search_space import Dimension, SearchSpace
from nightune.tuning.trial import Status, TrialResult
from tests.tuning.conftest import result, unhurried

SIZE = (("size_mb", "minimize"),)
TWO = (*SIZE, ("val_auc", "maximize"))
SPACE = SearchSpace(tuple(Dimension(name, Range(0.0, 1.0)) for name in ("x", "y", "z")))


def ended(number: int, accuracy: float, status: Status = Status.COMPLETED, **further: float) -> TrialResult:
    return replace(result(number, accuracy, status), further=further)


def numbers(results: list[TrialResult]) -> list[int]:
    return [each.trial.number for each in results]


def test_the_front_has_what_no_other_beats_in_all_objectives() -> None:
    results = [
        ended(0, 0.9, size_mb=4.0),
        ended(1, 0.8, size_mb=1.0),
        ended(2, 0.8, size_mb=2.0),  # as good as 1, and larger
        ended(3, 0.9, size_mb=4.0),  # equal to 0
        ended(4, 0.99, Status.FAILED, size_mb=0.1),
        ended(5, math.nan, Status.DIVERGED, size_mb=0.1),
        ended(6, 0.95),  # its size is not known
        ended(7, 0.7, size_mb=1.5),
    ]
    assert numbers(front(results, "maximize", SIZE)) == [0, 1, 3]
    assert numbers(front(results, "minimize", SIZE)) == [1, 7]
    assert front([], "maximize", SIZE) == []


def test_the_volume_of_two_objectives_is_that_of_its_steps() -> None:
    results = [ended(0, 0.0, size_mb=0.0), ended(1, 1.0, size_mb=1.0), ended(2, 0.5, size_mb=0.25)]
    assert volumes(results, "maximize", SIZE) == pytest.approx([0.0, 0.0, 0.375])
    assert volumes([ended(0, 0.5)], "maximize", SIZE) == [0.0]
    assert volumes([ended(0, 0.5, size_mb=1.0)], "maximize", SIZE) == [1.0]


@unhurried
@given(st.lists(st.tuples(*[st.floats(0, 1)] * 3), min_size=1, max_size=12), st.integers(0, 100))
@example([(0.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 5e-324, 0.0)], 0)  # one is infinitely far beyond the box
def test_volumes_of_three_objectives_grow_and_equal_a_count_of_random_points(
    values: list[tuple[float, float, float]], seed: int
) -> None:
    results = [ended(number, a, size_mb=b, val_auc=c) for number, (a, b, c) in enumerate(values)]
    found = volumes(results, "maximize", TWO)
    assert found == sorted(found)
    assert 0 <= found[-1] <= 1 + 1e-9
    losses = losses_of(results, "maximize", TWO)
    low, high = losses.min(axis=0), np.array([end_of_box(each) for each in losses.T])
    with np.errstate(over="ignore"):
        places = np.where(high > low, (losses - low) / np.where(high > low, high - low, 1), 0)
    drawn = np.random.default_rng(seed).random((4000, 3))
    share = (places[None] <= drawn[:, None]).all(axis=2).any(axis=1).mean()
    assert abs(share - found[-1]) < 0.05
    assert volumes(results[::-1], "maximize", TWO)[-1] == pytest.approx(found[-1])
    assert hypervolume(results, "maximize", TWO) == pytest.approx(found[-1])


def end_of_box(losses: np.ndarray) -> float:
    worse = sorted(each - losses.min() for each in losses if each > losses.min())
    within = [each for each in worse if each <= 4 * worse[(len(worse) - 1) // 2]]
    return float(losses.min() + max(within, default=0.0))


def test_an_outlier_does_not_move_the_box() -> None:
    results = [ended(n, accuracy, size_mb=100 * accuracy**2) for n, accuracy in enumerate((0.5, 0.6, 0.7, 0.8, 0.9))]
    before = hypervolume(results, "maximize", SIZE)
    assert before is not None
    assert hypervolume([*results, ended(5, -1e10, size_mb=1e9)], "maximize", SIZE) == pytest.approx(before)
    smallest = hypervolume([*results, ended(5, -1e10, size_mb=20.0)], "maximize", SIZE)  # on the front
    assert smallest is not None
    assert smallest < 0.8


def points_of_a_front(count: int, objectives: int) -> list[TrialResult]:
    drawn = np.abs(np.random.default_rng(1).normal(size=(count, objectives)))
    drawn /= np.linalg.norm(drawn, axis=1)[:, None]
    further = [{f"o{place}": value for place, value in enumerate(each)} for each in drawn[:, 1:]]
    return [ended(number, first, **more) for number, (first, more) in enumerate(zip(drawn[:, 0], further, strict=True))]


def test_each_slice_is_computed_from_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """With each computed anew, the number of calls is a power of the trials: hours for 100 trials of 6 objectives."""
    calls = []

    def counted(points: np.ndarray) -> float:
        calls.append(len(points))
        return dominated_volume(points)

    monkeypatch.setattr(front_module, "dominated_volume", counted)
    hypervolume(points_of_a_front(60, 4), "maximize", [(f"o{place}", "maximize") for place in range(3)])
    assert len(calls) < 60**2 / 2


def test_a_volume_that_takes_too_long_is_not_computed() -> None:
    results = points_of_a_front(61, 6)
    further = [(f"o{place}", "maximize") for place in range(5)]
    assert hypervolume(results, "maximize", further) is None
    assert volumes(results, "maximize", further) == []
    assert hypervolume(results[:20], "maximize", further) is not None
    nine = points_of_a_front(5, 9)
    assert hypervolume(nine, "maximize", [(f"o{place}", "maximize") for place in range(8)]) is None


def objectives(point: Mapping[str, Any]) -> tuple[float, float]:
    """A front along x, reached where y and z are one half."""
    away = (point["y"] - 0.5) ** 2 + (point["z"] - 0.5) ** 2
    return 1 - math.sqrt(point["x"]) + 4 * away, point["x"] + 4 * away


def searched(method: Any, count: int, seed: int) -> float:
    """Return the volume, below 3 in each objective, that so many trials in rounds of 16 cover."""
    seen: list[Observation] = []
    for first in range(0, count, 16):
        points = method(seen, first, seed) if first else random(SPACE, 16, [], (seed, 0))
        for place, point in enumerate(points):
            loss, more = objectives(point)
            seen.append(Observation(first + place, point, {4: loss}, (more,)))
    return dominated_volume(np.array([[each.losses[4], *each.further] for each in seen]) / 3)


@pytest.mark.slow
def test_proposals_for_several_objectives_cover_more_than_random_ones() -> None:
    def by_model(seen: list[Observation], first: int, seed: int) -> Any:
        return propose(gaussian_process, SPACE, seen, [], 16, (seed, 0, first))

    def at_random(seen: list[Observation], first: int, seed: int) -> Any:
        return random(SPACE, 16, [], (seed, 0, first))

    gains = [searched(by_model, 48, seed) - searched(at_random, 48, seed) for seed in (1, 2)]
    assert min(gains) > 0


@pytest.mark.slow
def test_proposals_are_a_function_of_their_arguments_and_a_round_can_be_continued() -> None:
    points = random(SPACE, 16, [], (3, 0))
    seen = [Observation(n, point, {4: objectives(point)[0]}, (objectives(point)[1],)) for n, point in enumerate(points)]
    whole = propose(gaussian_process, SPACE, seen, [], 10, (3, 0, 16))
    assert whole == propose(gaussian_process, SPACE, seen, [], 10, (3, 0, 16))
    assert propose(gaussian_process, SPACE, seen, whole[:6], 4, (3, 0, 16)) == whole[6:]
    assert propose(gaussian_process, SPACE, seen, [], 3, (3, 0, 16)) == whole[:3]
    plain = [replace(each, further=()) for each in seen]
    assert propose(gaussian_process, SPACE, plain, [], 3, (3, 0, 16)) == gaussian_process(
        SPACE, plain, [], 3, (3, 0, 16)
    )


def test_weights_choose_the_objective_and_what_lacks_one_is_bad() -> None:
    seen = [
        Observation(number, {}, {4: loss}, (more,))
        for number, (loss, more) in enumerate([(0.1, 9.0), (0.5, 5.0), (0.9, 1.0), (0.0, math.nan), (math.nan, 0.0)])
    ]
    first = [each.losses[4] for each in scalarized(seen, np.array([1.0, 0.0]))]
    second = [each.losses[4] for each in scalarized(seen, np.array([0.0, 1.0]))]
    assert first[0] < first[1] < first[2]
    assert second[0] > second[1] > second[2]
    assert all(math.isnan(each) for each in [*first[3:], *second[3:]])
