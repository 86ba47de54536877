"""The view of a sweep in MLflow's pages."""

import json
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.links import leaderboard_address, view_address
from nightune.tasks.tracking.sweeps.shared_views import KEPT, SHOWN_PARAMS, has_view, write_view
from nightune.tasks.tracking.sweeps.sweeps import Sweep

PARAMS = [f"model.width_{number}" for number in range(12)]


def view_of(store: Store, sweep: Sweep, key: str) -> dict[str, Any]:
    tags = client(store).get_experiment(sweep.experiment_id).tags
    held: dict[str, Any] = json.loads(tags[f"mlflow.sharedViewState.{key}"])
    return held


def test_a_view_shows_the_trials_best_first_with_what_was_searched(store: Store, sweep: Sweep) -> None:
    assert not has_view(store, sweep)
    write_view(store, replace(sweep, direction="maximize"), PARAMS)
    assert has_view(store, sweep)
    key = view_address("http://127.0.0.1:5000/", sweep).partition("viewStateShareKey=")[2]
    view = view_of(store, sweep, key)
    assert view["orderByAsc"] is False
    assert view["searchFilter"] in unquote(leaderboard_address("http://127.0.0.1:5000", sweep))
    assert [name for name in view["selectedColumns"] if name.startswith("params")] == [
        f"params.`{name}`" for name in PARAMS[:SHOWN_PARAMS]
    ]
    charts = {chart["type"]: chart for chart in view["compareRunCharts"]}
    assert charts["PARALLEL"]["selectedParams"] == PARAMS[:SHOWN_PARAMS]
    assert charts["LINE"]["metricKey"] == sweep.metric
    assert len({chart["uuid"] for chart in view["compareRunCharts"]}) == len(view["compareRunCharts"])


def test_views_of_old_sweeps_are_dropped_and_those_of_people_stay(store: Store, sweep: Sweep) -> None:
    client(store).set_experiment_tag(sweep.experiment_id, "mlflow.sharedViewState.nightune-mine", "{}")
    for number in range(KEPT + 2):
        write_view(store, replace(sweep, number=number), [])
    held = [number for number in range(KEPT + 2) if has_view(store, replace(sweep, number=number))]
    assert held == list(range(2, KEPT + 2))
    assert view_of(store, sweep, "nightune-mine") == {}
    assert [each["type"] for each in view_of(store, sweep, "nightune-5")["compareRunCharts"]] == ["LINE"]
