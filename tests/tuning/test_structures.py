"""Few structures are preferred among points that are nearly as good, and proposals stay what they have to be."""

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest

from nightune.tuning.search.domains import Choice, Range
from nightune.tuning.search.gaussian_process import gaussian_process
from nightune.tuning.search.guidance import Guidance
from nightune.tuning.search.new_points import Point
from nightune.tuning.search.observations import Observation
from nightune.tuning.search.samplers import random
from nightune.tuning.search.search_space import Dimension, SearchSpace
from nightune.tuning.search.structures import MARGIN, KnownStructures
from tests.tuning.test_gaussian_process import SMALL, SPACE, first_round, seen

WIDTHS = SearchSpace(
    (
        Dimension("width", Choice((8, 16, 32, 64))),
        Dimension("second", Choice((4, 8, 16, 32))),
        Dimension("rate", Range(1e-4, 1e-1, "log")),
    )
)
POINTS: list[Point] = [{"width": width} for width in (8, 16, 32)]


def widths(point: Point) -> str:
    return f"{point['width']} {point.get('second')}"


def rate_loss(point: Point) -> float:
    return (math.log10(float(str(point["rate"]))) + 2) ** 2


def layers(point: Point) -> str:
    return f"{point['units']} {point['layers']} {point['depth']}"


def distinct(points: Sequence[Point]) -> int:
    return len({json.dumps(point) for point in points})


@pytest.mark.parametrize(
    ("gains", "chosen"),
    [
        ([0.0, -0.9 * MARGIN, -2 * MARGIN], 1),  # nearly as good
        ([0.0, -1.1 * MARGIN, -2 * MARGIN], 0),  # too much is given up
        ([-0.5 * MARGIN, -0.9 * MARGIN, 0.0], 1),
        ([-3.0, 0.0, -0.01 * MARGIN], 1),
    ],
)
def test_a_known_structure_is_preferred_within_the_margin(gains: list[float], chosen: int) -> None:
    structures = KnownStructures(widths, [{"width": 16}])
    assert structures.best(np.array(gains), POINTS) == chosen
    assert structures.has(POINTS[chosen])
    assert KnownStructures(None, []).best(np.array(gains), POINTS) == int(np.argmax(gains))


def test_the_structure_of_a_chosen_point_is_known_to_the_next() -> None:
    structures = KnownStructures(widths, [])
    assert structures.best(np.array([0.0, 0.1 * MARGIN, -MARGIN]), POINTS) == 1
    assert structures.best(np.array([0.0, -0.5 * MARGIN, -MARGIN]), POINTS) == 1
    assert structures.best(np.array([0.0, -np.inf, -MARGIN]), POINTS) == 0


def test_proposals_of_few_structures_are_a_function_of_the_arguments_and_fewer_the_first_of_more() -> None:
    history, seed = first_round(), (3, 0, 16)
    points = gaussian_process(SPACE, history, [], 8, seed, guidance=Guidance(structure=layers))
    assert points == gaussian_process(SPACE, history, [], 8, seed, guidance=Guidance(structure=layers))
    assert points[:3] == gaussian_process(SPACE, history, [], 3, seed, guidance=Guidance(structure=layers))
    assert points[3:] == gaussian_process(SPACE, history, points[:3], 5, seed, guidance=Guidance(structure=layers))


def test_proposals_have_fewer_structures_that_no_trial_had() -> None:
    points, seed = random(WIDTHS, 6, [], (2, 0)), (2, 0, 6)
    history, known = seen(points, [rate_loss(point) for point in points]), set(map(widths, points))
    plain, few = (
        {
            widths(point)
            for point in gaussian_process(WIDTHS, history, [], 8, seed, guidance=Guidance(structure=structure))
        }
        - known
        for structure in (None, widths)
    )
    assert len(few) < len(plain)


def test_proposals_of_one_structure_are_those_without_structures() -> None:
    history, seed = first_round(), (3, 0, 16)
    assert gaussian_process(
        SPACE, history, [], 6, seed, guidance=Guidance(structure=lambda point: "one")
    ) == gaussian_process(SPACE, history, [], 6, seed)


def test_no_point_is_taken_twice_whatever_its_structure() -> None:
    """The space has twelve points, and those of the known structure are all taken."""
    taken: list[Point] = [{"a": 1, "b": option} for option in ("x", "y", "z")]
    history = [Observation(number, point, {4: float(number)}) for number, point in enumerate(taken)]
    proposed = gaussian_process(
        SMALL, history, [], 9, (1, 0, 3), guidance=Guidance(structure=lambda point: str(point["a"]))
    )
    assert distinct([*taken, *proposed]) == 12


def test_only_recorded_points_are_proposed_whatever_their_structure() -> None:
    history, recorded = seen(points := random(SPACE, 8, [], (3, 0)), range(len(points))), random(SPACE, 30, [], (5, 0))
    proposed = gaussian_process(SPACE, history, [], 12, (3, 0, 8), recorded, Guidance(structure=layers))
    assert all(point in recorded for point in proposed)
    assert distinct(proposed) == 12
    everything = gaussian_process(SPACE, history, [], 31, (3, 0, 8), recorded, Guidance(structure=layers))
    assert sorted(map(json.dumps, everything)) == sorted(map(json.dumps, recorded))
