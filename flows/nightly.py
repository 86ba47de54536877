"""Run one night of a study: a fresh sweep, the verdict on its winner, Prefect artifacts, hooks. A Prefect flow."""

import logging
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import prefect
from prefect.client.orchestration import get_client

from nightune.flows.promote import promote
from nightune.flows.runtime.console import progress_shown, say
from nightune.flows.runtime.environment import hooks, store_root
from nightune.flows.runtime.flow_runs import owned_flow_runs
from nightune.flows.runtime.morning_page import morning_page
from nightune.flows.runtime.night_errors import publish_night_error
from nightune.flows.runtime.processes import follow_server
from nightune.flows.runtime.task_run_records import wait_until_recorded
from nightune.flows.tune import tune
from nightune.models.kept_code import code_kept
from nightune.tasks.load_study import load_study
from nightune.tasks.promote_model import Promotion
from nightune.tasks.publish_night import publish_card, publish_leaderboard, publish_verdict
from nightune.tasks.reporting.notify import Event, notify
from nightune.tasks.trial.crash_log import open_crash_log
from nightune.tuning.errors import StudyError

logger = logging.getLogger("nightune")


def after_failure(flow: Any, flow_run: Any, state: Any) -> None:
    """Report a failed night in the terminal and to the hooks."""
    _report_end("failed", flow_run, str(state.message or state.name))


def after_crash(flow: Any, flow_run: Any, state: Any) -> None:
    """Report a night whose process died; if a trial crashed it, count the crash and restart the night.

    A trial is given up after three crashes, so the restarts end: such a trial costs minutes, not nights. Prefect calls
    this in the process that serves, or in the worker.
    """
    reason = str(state.message or state.name)
    crash_log = open_crash_log(store_root(), _study_name(flow_run))
    crash = crash_log.record_unsupervised_crash(reason.split(". ", maxsplit=1)[0])
    if crash is not None:
        reason = f"{crash.subject} {crash.message}"
        if flow_run.deployment_id is not None:
            reason += "; the night continues without it" if crash.is_final else "; the night retries it"
            with get_client(sync_client=True) as client:
                client.create_flow_run_from_deployment(flow_run.deployment_id, parameters=flow_run.parameters)
    else:
        reason = publish_night_error(flow_run.id) or reason
    _report_end("crashed", flow_run, reason)


@prefect.flow(
    name="nightly",
    flow_run_name="night of {study_file.stem}",
    on_failure=[after_failure],
    on_crashed=[after_crash],
)
def nightly(study_file: Path, engine: str = "auto") -> Promotion:
    """Search with new points, confirm and judge the winner. If an earlier night left a sweep unfinished, resume it."""
    is_served = follow_server()
    shown = progress_shown() if is_served else nullcontext()  # a worker shows Prefect's logs
    with shown, owned_flow_runs(), code_kept():
        report = tune(study_file, engine=engine, fresh=True, is_night=True)
        publish_leaderboard(report)
        promotion = promote(study_file, sweep=report.sweep.id)
        publish_verdict(report.study, promotion)
        drawn = morning_page(study_file, report.study, report.sweep.id)
        if drawn is not None:
            publish_card(report.study, drawn.headline, drawn.card)
        verdict = promotion.verdict
        event = Event(
            str(verdict.decision),
            report.study,
            sweep=report.sweep.id,
            reason=verdict.reason,
            version=promotion.version,
            page=report.page,
        )
        logger.info("night of %s · %s · %s · %s", event.study, event.sweep, event.event, event.reason)
        notify(hooks(), event)
    wait_until_recorded()
    return promotion


def _report_end(outcome: str, flow_run: Any, reason: str) -> None:
    study = _study_name(flow_run)
    say(f"{study} · night {outcome} · {reason}")
    notify(hooks(), Event(outcome, study, flow_run_id=str(flow_run.id), reason=reason))


def _study_name(flow_run: Any) -> str:
    """Return the name of the study, or of its file if that cannot be read."""
    path = Path(str(flow_run.parameters.get("study_file", "unknown")))
    try:
        return load_study(path).name
    except StudyError:
        return path.stem
