"""Build addresses of views in MLflow's pages."""

import re
from urllib.parse import quote

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.sweeps.shared_views import view_key
from nightune.tasks.tracking.sweeps.sweeps import Sweep


def leaderboard_address(base: str, sweep: Sweep) -> str:
    """Return the address of the sweep's trials as a flat list, best first, with the curves of the first ten.

    MLflow's default page shows only the collapsed sweep, in a mode for language models.
    """
    condition = quote(f"{names.tag_equals(names.SWEEP, sweep.id)} and {names.tag_equals(names.KIND, 'trial')}")
    ascending = "true" if sweep.direction == "minimize" else "false"
    return (
        f"{_without_password(base)}/#/experiments/{sweep.experiment_id}/runs?workflowType=machine_learning"
        f"&compareRunsMode=CHART&searchFilter={condition}"
        f"&orderByKey={quote(f'metrics.`{names.OBJECTIVE}`')}&orderByAsc={ascending}"
    )


def view_address(base: str, sweep: Sweep) -> str:
    """Return the address of the sweep's own view: its trials best first, with charts of what was searched."""
    return (
        f"{_without_password(base)}/#/experiments/{sweep.experiment_id}/runs?workflowType=machine_learning"
        f"&compareRunsMode=CHART&viewStateShareKey={view_key(sweep)}"
    )


def run_address(base: str, sweep: Sweep, run_id: str) -> str:
    """Return the address of one run of the sweep's experiment in MLflow's pages."""
    return f"{_without_password(base)}/#/experiments/{sweep.experiment_id}/runs/{run_id}"


def _without_password(base: str) -> str:
    return re.sub("//[^/@]*@", "//", base).rstrip("/")
