"""The midpoint of a space is an ordinary trial."""

from nightune.tuning.search.domains import Choice, Range
from nightune.tuning.search.midpoint import middle_point
from nightune.tuning.search.search_space import Condition, Dimension, SearchSpace

SPACE = SearchSpace(
    (
        Dimension("optimizer", Choice(("adam", "sgd"))),
        Dimension("rate", Range(1e-4, 1e-2, "log")),
        Dimension("size", Choice((128, 16, 64, 32))),
        Dimension("units", Choice(([64], [8]))),
        Dimension("momentum", Range(0.0, 1.0), (Condition("optimizer", ("sgd",)),)),
    )
)


def test_the_midpoint_is_the_middle_of_ranges_the_median_of_numbers_and_the_first_of_words() -> None:
    assert middle_point(SPACE, {}) == {"optimizer": "adam", "rate": 1e-3, "size": 32, "units": [64]}


def test_fixed_params_decide_which_params_are_active_and_unknown_names_are_ignored() -> None:
    point = middle_point(SPACE, {"optimizer": "sgd", "colour": "red"})
    assert point["momentum"] == 0.5
    assert "colour" not in point
