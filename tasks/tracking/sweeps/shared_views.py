"""Write the view of a sweep in MLflow's pages: its trials best first, and charts of what was searched.

MLflow keeps such a view as a tag of the experiment, and an address names it by its key.
"""

import json
from collections.abc import Sequence
from typing import Any

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep

TAG = "mlflow.sharedViewState."  # a name of MLflow's pages
KEY = "nightune-"  # of our views: those that people share have other keys
KEPT = 20  # views of an experiment: its page loads all of them
SHOWN_PARAMS, PLOTTED_PARAMS = 8, 3
COMPARED_RUNS, CURVES = 100, 10
SECTION = "nightune"


def write_view(store: Store, sweep: Sweep, params: Sequence[str]) -> None:
    """Write the view of a sweep with charts of these params, the most important first; drop those of old sweeps."""
    mlflow_client = client(store)
    mlflow_client.set_experiment_tag(sweep.experiment_id, f"{TAG}{view_key(sweep)}", json.dumps(_view(sweep, params)))
    ours = sorted(_views(store, sweep), key=lambda key: int(key.rpartition("-")[2]))
    for key in ours[:-KEPT]:
        mlflow_client.delete_experiment_tag(sweep.experiment_id, f"{TAG}{key}")


def has_view(store: Store, sweep: Sweep) -> bool:
    """Return True if MLflow has the view of the sweep."""
    return view_key(sweep) in _views(store, sweep)


def view_key(sweep: Sweep) -> str:
    """Return the key of a sweep's view in addresses."""
    return f"{KEY}{sweep.number}"


def _views(store: Store, sweep: Sweep) -> list[str]:
    tags = client(store).get_experiment(sweep.experiment_id).tags
    keys = [tag.removeprefix(TAG) for tag in tags if tag.startswith(f"{TAG}{KEY}")]
    return [key for key in keys if key.removeprefix(KEY).isdecimal()]


def _view(sweep: Sweep, params: Sequence[str]) -> dict[str, Any]:
    """Return the state of the page; its names are those of MLflow."""
    shown = list(params[:SHOWN_PARAMS])
    condition = f"{names.tag_equals(names.SWEEP, sweep.id)} and {names.tag_equals(names.KIND, 'trial')}"
    columns = [f"metrics.`{names.OBJECTIVE}`", *(f"params.`{name}`" for name in shown)]
    return {
        "searchFilter": condition,
        "orderByKey": f"metrics.`{names.OBJECTIVE}`",
        "orderByAsc": sweep.direction == "minimize",
        "compareRunsMode": "CHART",
        "runsHiddenMode": "SHOWALL",
        "selectedColumns": [*columns, f"metrics.`{names.BEST_EPOCH}`", f"metrics.`{names.SECONDS}`"],
        "compareRunCharts": _charts(sweep, shown),
        "compareRunSections": [
            {
                "uuid": SECTION,
                "name": sweep.id,
                "display": True,
                "isReordered": False,
                "columns": 2,
                "cardHeight": 420,
                "deleted": False,
                "isGenerated": False,
            }
        ],
    }


def _charts(sweep: Sweep, params: list[str]) -> list[dict[str, Any]]:
    objective = {"key": names.OBJECTIVE, "type": "METRIC"}
    scatters = [
        _chart("SCATTER", f"objective by {name}", xaxis={"key": name, "type": "PARAM"}, yaxis=objective)
        for name in params[:PLOTTED_PARAMS]
    ]
    curves = _chart(
        "LINE",
        f"{sweep.metric} by epoch",
        metricKey=sweep.metric,
        selectedMetricKeys=[sweep.metric],
        xAxisKey="step",
        runsCountToCompare=CURVES,
    )
    lines = {"selectedParams": params, "selectedMetrics": [names.OBJECTIVE], "showAllRuns": True}
    return [*([_chart("PARALLEL", "what the trials tried", **lines)] if params else []), curves, *scatters]


def _chart(kind: str, name: str, **more: Any) -> dict[str, Any]:
    known = {
        "uuid": f"{SECTION}-{name}",
        "type": kind,
        "metricSectionId": SECTION,
        "runsCountToCompare": COMPARED_RUNS,
        "deleted": False,
        "isGenerated": False,
    }
    return known | more
