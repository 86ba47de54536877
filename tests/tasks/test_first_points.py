"""The points that a sweep begins with: all are recorded, and as many used as it has trials."""

from pathlib import Path
from typing import Any

import pytest

from nightune.models.recipe.params import read_recipe
from nightune.tasks.first_points import begun_by, choose_first_points, portfolio_start
from nightune.tasks.load_study import load_study
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.propose_trials import complete_params
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.proposals import count_of_portfolio, read_proposals
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tuning.study.rounds import proposed_by
from tests.flows.conftest import SMALL_STUDY

FAMILY_STUDY = """
question = "Which first trials are there?"
[data]
source = "digits"
[model]
architecture = "{family}"
[space]
optimizer = ["adam", "adamw", "sgd", "rmsprop", "nadam", "lion"]
learning_rate.peak = {{ low = 1e-5, high = 1.0, scale = "log" }}
penalty.kind = ["none", "l1", "l2", "elastic"]
weight_decay.profile = ["none", "fixed"]
[search]
method = "auto"
trials = 8
epochs = 2
"""
BEST: list[dict[str, Any]] = [{"optimizer": "sgd", "learning_rate.peak": 0.011}]


@pytest.mark.usefixtures("portfolio")
def test_a_sweep_of_few_trials_records_all_first_points_for_its_extension(
    store: Store, sweep: Sweep, data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nightune.tasks.first_points.begin_with_best", lambda setting: BEST)
    path = tmp_path / "begun.toml"
    path.write_text(SMALL_STUDY.replace('"random"', '"random"\nstart = "portfolio"'))
    few, many = load_study(path, trials=4), load_study(path, trials=50)
    points = choose_first_points(Setting(store, sweep, few, data), has_history=True)[0]
    assert read_proposals(store, sweep) == {0: points}
    assert (len(points), count_of_portfolio(store, sweep)) == (9, 8)
    ways = ["history", *["portfolio"] * 8, *["random"] * 41]
    for study, count in ((few, 4), (many, 9)):
        held = begun_by(study, points, 8)
        assert held.points == points[:count]
        by = proposed_by(study.search, study.brackets[0], len(held.points), held.of_portfolio)
        assert [by(place) for place in range(study.trial_count)] == ways[: study.trial_count]


def test_every_first_point_of_each_shipped_family_is_one_that_a_trial_can_have(tmp_path: Path) -> None:
    for family in ("mlp", "cnn", "sequence"):
        path = tmp_path / f"{family}.toml"
        path.write_text(FAMILY_STUDY.format(family=family))
        study = load_study(path)
        for task in ("multiclass", "regression"):
            started = portfolio_start(study, task, 0)
            assert started is not None
            assert len(started.points) + sum(started.left_out.values()) == 8
            assert all("is_beside_weight_decay" in message for message in started.left_out)
            for point in started.points:
                read_recipe(complete_params(study, point))
