"""One night of a study: a fresh sweep, its winner judged, both on Prefect's page, and hooks told. A Prefect flow."""

from pathlib import Path
from typing import Any

import prefect

from flows.environment import hooks, tracking_uri
from flows.processes import follow_server
from flows.promote import promote
from flows.records import wait_until_recorded
from flows.tune import tune
from tasks.promote_model import Promotion
from tasks.publish_night import publish_leaderboard, publish_verdict
from tasks.tell_hooks import Event, tell


def tell_failure(flow: Any, flow_run: Any, state: Any) -> None:
    """Tell the hooks that a night failed or crashed."""
    study = Path(str(flow_run.parameters.get("study_file", "unknown"))).stem
    reason = str(state.message or state.name)
    tell(hooks(), Event(str(state.name).lower(), study, flow_run_id=str(flow_run.id), reason=reason))


@prefect.flow(
    name="nightly",
    flow_run_name="night of {study_file.stem}",
    on_failure=[tell_failure],
    on_crashed=[tell_failure],
)
def nightly(study_file: Path, engine: str = "auto") -> Promotion:
    """Search with new points, confirm and judge the winner. A sweep that an earlier night left is finished first."""
    follow_server()
    report = tune(study_file, engine=engine, fresh=True)
    publish_leaderboard(report, tracking_uri())
    promotion = promote(study_file, sweep=report.sweep.id)
    publish_verdict(report.study, promotion)
    verdict = promotion.verdict
    tell(
        hooks(),
        Event(
            str(verdict.decision),
            report.study,
            sweep=report.sweep.id,
            reason=verdict.reason,
            version=promotion.version,
            page=report.page,
        ),
    )
    wait_until_recorded()
    return promotion
