"""Drift is found where it was planted, and nights of one distribution are silent."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import ks_2samp

from nightune.tuning.analysis.drift import KOLMOGOROV, VARIATION, Distribution, compare_data

NIGHTS = 100


def numbers(name: str, values: Any, missing: int = 0, role: str = "input") -> Distribution:
    held = np.sort(values)
    if len(held) > 256:
        held = held[np.ceil(np.arange(1, 257) * len(held) / 256).astype(int) - 1]
    return Distribution(name, role, len(values) + missing, missing, tuple(held))


def labels(name: str, values: Any, role: str = "input") -> Distribution:
    found, counts = np.unique(values, return_counts=True)
    return Distribution(name, role, len(values), 0, counts=dict(zip(map(str, found), map(int, counts), strict=True)))


def night(random: np.random.Generator, rows: int, shift: float = 0.0, share: float = 0.3) -> list[Distribution]:
    """Twelve columns and a target, of which one number may be shifted and one label more frequent."""
    normal = [numbers(f"x{n}", random.normal(size=rows)) for n in range(6)]
    skewed = [numbers(f"y{n}", np.round(random.exponential(size=rows), 1)) for n in range(2)]
    gone = int(random.binomial(rows, 0.1))
    return [
        *normal,
        *skewed,
        numbers("shifted", random.normal(shift, 1, rows)),
        numbers("gaps", random.normal(size=rows - gone), gone),
        labels("many", random.integers(0, 40, rows)),
        labels("few", random.random(rows) < share),
        labels("target", random.random(rows) < 0.05, "target"),
    ]


@pytest.mark.parametrize("rows", [60, 400, 20_000])
def test_nights_of_one_distribution_are_silent_in_95_of_100(rows: int) -> None:
    random = np.random.default_rng(rows)
    nights = NIGHTS if rows < 1000 else NIGHTS // 5
    loud = sum(bool(compare_data(night(random, rows), night(random, rows)).drifted) for _ in range(nights))
    assert loud <= 0.05 * nights


@pytest.mark.parametrize("rows", [400, 20_000])
def test_a_planted_drift_of_numbers_and_labels_is_named_first(rows: int) -> None:
    random = np.random.default_rng(7)
    found = compare_data(night(random, rows), night(random, rows, shift=0.8, share=0.7))
    assert {each.name for each in found.drifted} == {"shifted", "few"}
    assert {each.name for each in found.columns[:2]} == {"shifted", "few"}
    by_name = {each.name: each for each in found.columns}
    assert by_name["shifted"].measure == KOLMOGOROV
    assert by_name["few"].measure == VARIATION
    assert by_name["few"].distance == pytest.approx(0.4, abs=0.08)
    assert "True" in by_name["few"].said or "False" in by_name["few"].said


def test_rare_labels_and_gaps_that_become_frequent_are_found() -> None:
    random = np.random.default_rng(1)
    before = [labels("target", random.random(2000) < 0.02, "target"), numbers("a", random.normal(size=2000))]
    after = [labels("target", random.random(2000) < 0.2, "target"), numbers("a", random.normal(size=1500), 500)]
    assert {each.name for each in compare_data(before, after).drifted} == {"target", "a (missing)"}


def test_the_distance_of_numbers_is_that_of_scipy() -> None:
    random = np.random.default_rng(2)
    one, other = np.round(random.normal(size=200), 1), np.round(random.normal(0.3, 1, 150), 1)
    found = compare_data([numbers("a", one)], [numbers("a", other)]).columns[0]
    assert found.distance == pytest.approx(ks_2samp(one, other).statistic)
    many, more = random.normal(size=5000), random.normal(0.5, 1, 5000)
    found = compare_data([numbers("a", many)], [numbers("a", more)]).columns[0]
    exact = ks_2samp(many, more).statistic
    assert exact - 3 / 256 <= found.distance <= exact + 1 / 256


def test_a_small_drift_of_many_rows_is_no_drift() -> None:
    random = np.random.default_rng(3)
    before, after = (labels("a", random.random(100_000) < share) for share in (0.5, 0.53))
    assert not compare_data([before], [after]).drifted


def test_labels_beyond_the_kept_ones_are_compared_together() -> None:
    before = Distribution("a", "input", 1000, 0, counts={"x": 400, "y": 100}, other=500)
    after = Distribution("a", "input", 1000, 0, counts={"x": 400, "z": 100}, other=500)
    found = compare_data([before], [after]).columns[0]
    assert found.distance == 0.0  # y and z are unknown on one side


def test_columns_of_one_night_are_added_or_removed_also_those_of_another_kind() -> None:
    before = [numbers("a", [1.0, 2.0]), numbers("b", [1.0, 2.0]), Distribution("empty", "input", 5, 5)]
    after = [
        numbers("a", [1.0, 2.0]),
        labels("b", ["x", "y"]),
        labels("c", ["x"]),
        Distribution("empty", "input", 5, 5),
    ]
    found = compare_data(before, after)
    assert (found.added, found.removed) == (("b", "c"), ("b",))
    assert {each.name for each in found.columns} == {"a", "empty (missing)"}
    assert compare_data([], []).columns == ()
