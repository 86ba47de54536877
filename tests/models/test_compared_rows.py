"""Which rows the check of engines trains on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset, Examples
from nightune.models.recipe.recipe import Recipe
from nightune.vocabulary import POSITIONS


@pytest.mark.parametrize(("size", "unlabelled", "rows"), [(16, 0, 16), (16, 16, 20), (5, 16, 20), (32, 0, 20)])
def test_the_second_training_has_whole_batches_unless_nothing_is_learned_from_them(
    size: int,
    unlabelled: int,
    rows: int,
    recipe: Callable[..., Recipe],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from nightune.models.engines import compared_trainings

    targets = np.arange(60, dtype=np.int32).reshape(20, 3) % 3
    targets[:unlabelled] = -1
    split: Any = Examples(np.ones((20, 3, 2), np.float32), targets)
    dataset = Dataset(split, split, split, POSITIONS, (0, 1, 2), "0" * 16, (), None, {"target_shape": (3,)})
    found: list[int] = []
    monkeypatch.setattr(compared_trainings, "_compared", lambda *given: found.append(len(given[-1].train)))
    engine, given = object(), recipe(batch_size__size=size)
    trained: Any = compared_trainings.compared_trainings
    trained(engine, [given, given], dataset, tmp_path, is_ahead=False)
    assert found == [20, rows]
