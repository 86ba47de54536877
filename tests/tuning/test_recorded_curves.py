"""Recorded curves, and the bank for the simulator that is made of them."""

import math
from itertools import islice

import numpy as np
import pytest

from nightune.tuning.recorded_curves import RecordedCurves, as_bank
from nightune.tuning.search.domains import Choice, Range
from nightune.tuning.search.search_space import Condition, Dimension, SearchSpace
from nightune.tuning.simulator import simulate
from nightune.tuning.study.search_section import SearchSection

SPACE = SearchSpace(
    (
        Dimension("kind", Choice(("a", "b"))),
        Dimension("rate", Range(1e-4, 1.0, "log")),
        Dimension("width", Range(0.0, 1.0), (Condition("kind", ("b",)),)),
    )
)
POINTS = ({"kind": "a", "rate": 1e-3}, {"kind": "a", "rate": 1e-1}, {"kind": "b", "rate": 1e-3, "width": 0.9})
# Curves of three points, two seeds, two metrics and two epochs on one data set.
CURVES = np.arange(24, dtype=np.float16).reshape(1, 3, 2, 2, 2)
MADE = RecordedCurves(POINTS, {"one": {"metrics": ["val_loss", "val_mae"]}}, CURVES, np.zeros((1, 3, 2)))


def test_a_point_has_the_curve_of_the_nearest_recorded_one_and_a_trial_the_seed_of_its_number() -> None:
    bank = as_bank(MADE, "one", SPACE, "val_mae", "minimize")
    for place, point in enumerate(POINTS):
        assert bank.curve(point, 0) == CURVES[0, place, 0, 1].tolist()
        assert bank.curve(point, 3) == CURVES[0, place, 1, 1].tolist()
    assert bank.curve({"kind": "a", "rate": 5e-2}, 0) == bank.curve(POINTS[1], 0)
    assert bank.curve({"kind": "b", "rate": 1e-2, "width": 0.5}, 0) == bank.curve(POINTS[2], 0)


def test_a_search_is_replayed_on_recorded_curves() -> None:
    search = SearchSection.model_validate({"trials": 4, "epochs": 2})
    trainings = list(islice(simulate(search, as_bank(MADE, "one", SPACE, "val_loss", "minimize"), 0), 4))
    recorded = {tuple(curve) for curve in CURVES[0, :, :, 0].reshape(-1, 2).tolist()}
    assert {each.curve for each in trainings} <= recorded
    assert [each.end for each in trainings] == [2] * 4


def test_a_loss_is_that_of_the_best_epoch_and_nan_where_none_is_finite() -> None:
    curves = CURVES.copy()
    curves[0, 0, 0, 0] = [math.nan, 7.0]
    curves[0, 1, 0, 0] = math.nan
    recorded = RecordedCurves(POINTS, MADE.data_sets, curves, MADE.seconds)
    losses = recorded.losses(["one"], "val_loss")
    assert losses.shape == (1, 3, 2)
    assert losses[0, 0].tolist() == [7.0, 4.0]
    assert math.isnan(losses[0, 1, 0])
    assert recorded.losses(["one"], "val_mae", "maximize")[0, 2].tolist() == [-19.0, -23.0]


@pytest.mark.parametrize(("name", "metric"), [("two", "val_loss"), ("one", "val_loss_")])
def test_what_was_not_recorded_is_refused_by_name(name: str, metric: str) -> None:
    with pytest.raises(ValueError, match=name if name == "two" else metric):
        MADE.of(name, metric)
