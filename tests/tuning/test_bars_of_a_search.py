"""The default search on a part of the recorded bank, portfolio and scores from the other data sets: what it promises.

All data sets and seeds: python benchmarks/simulate_search.py bank.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.tuning.simulator import leaders, simulate
from nightune.tuning.study.search_section import SearchSection
from nightune.tuning.trial import Params

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FEW, MANY = 300, 1600  # epochs
EVERY = 5  # of 19 data sets


@pytest.fixture(scope="module")
def tasks() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        return import_module("bank_tasks").read_tasks(is_table=True)[::EVERY]


@pytest.mark.slow
def test_auto_reaches_randoms_result_of_many_epochs_within_few_on_data_that_took_no_part(tasks: Any) -> None:
    begun = [regret(task, "auto", FEW) for task in tasks]
    drawn = [np.mean([regret(task, "random", MANY, seed) for seed in range(4)]) for task in tasks]
    assert sum(own <= other for own, other in zip(begun, drawn, strict=True)) >= 0.7 * len(tasks)
    assert np.mean(begun) <= np.mean(drawn)


def regret(task: Any, method: str, epochs: int, seed: int = 0) -> float:
    """Return that of the leader after so many epochs: 0 is the best recorded point, 1000 the median of all."""
    section = SearchSection.model_validate({"method": method, "trials": 256, "epochs": task.epochs})
    first: list[Params] = task.portfolio(8) if section.begins_with_portfolio else []
    prior = task.prior if section.begins_with_portfolio else None
    (leader,) = leaders(simulate(section, task.bank(seed), seed, first, prior), (epochs,), task.direction)
    assert leader is not None
    return float(task.regret(leader.point))
