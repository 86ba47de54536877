"""The rows of short trainings: the first with a weight, and some from which each training learns."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nightune.models.data.dataset import Examples
from nightune.models.data.few_rows import are_first, few_rows

CLASSES, POSITIONS = (SimpleNamespace(task=task, heads=()) for task in ("multiclass", "positions"))


def places(dataset: Any, targets: np.ndarray, weights: np.ndarray | None, *class_weights: list[float]) -> list[int]:
    """Return the places of four rows for trainings with these weights of classes."""
    rows = Examples(np.arange(len(targets)), targets, weights=weights)
    given = [np.array(each, np.float32) for each in class_weights]
    found: list[int] = few_rows(dataset, rows, 4, given).inputs.tolist()
    assert are_first(dataset, rows, 4, given) == (found == [0, 1, 2, 3])
    return found


@pytest.mark.parametrize(
    ("class_weights", "expected"),
    [
        ([], [0, 1, 2, 3]),
        ([[1.0, 1.0, 0.0]], [0, 1, 2, 3]),
        ([[0.0, 1.0, 0.0]], [0, 1, 6, 7]),
        ([[0.0, 0.0, 1.0]], [0, 1, 8, 9]),
        ([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [0, 1, 6, 8]),  # two trainings
    ],
)
def test_half_of_the_rows_have_a_class_with_a_weight(class_weights: list[list[float]], expected: list[int]) -> None:
    targets = np.repeat([0, 1, 2], [6, 2, 4]).astype(np.int32)
    assert places(CLASSES, targets, None, *class_weights) == expected


def test_rows_without_weight_are_not_taken_for_their_class() -> None:
    targets = np.repeat([0, 1], [6, 6]).astype(np.int32)
    weights = np.array([0, 1, 1, 1, 1, 1, 0, 0, 1, 0, 1, 1], np.float32)
    assert places(CLASSES, targets, weights) == [1, 2, 3, 4]
    assert places(CLASSES, targets, weights, [0.0, 2.0]) == [1, 2, 8, 10]


def test_a_row_of_positions_has_a_class_with_a_weight_anywhere() -> None:
    targets = np.zeros((12, 3), np.int32)
    targets[:5] = -1
    targets[9:, 2] = 1
    assert places(POSITIONS, targets, None) == [0, 1, 5, 6]
    assert places(POSITIONS, targets, None, [0.0, 3.0]) == [0, 1, 9, 10]
    assert places(POSITIONS, targets, None, [3.0, 3.0]) == [0, 1, 5, 6]
