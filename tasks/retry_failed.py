"""Decide which failed trials of a sweep are tried again: those that may end otherwise today, or all on request."""

import importlib.util
import logging
import re
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.propose_trials import content_key
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.sweeps import Sweep, reopen_sweep
from nightune.tasks.tracking.trials.failed_runs import FailedRun, failed_runs, retire
from nightune.tasks.tracking.trials.runs import unfinished_runs
from nightune.tasks.tracking.trials.trials import finished_trials
from nightune.tasks.trial.crash_log import open_crash_log
from nightune.tuning.study.study import Study

logger = logging.getLogger("nightune")

REQUESTED = "requested by --retry-failed"
_MISSING_MODULE = re.compile(r"No module named '(?P<name>\w+)'")


def trials_to_retry(store: Store, study: Study, sweep: Sweep, data: PreparedData, is_requested: bool) -> dict[str, str]:
    """Return why each failed trial is tried again, by run id: other code or packages than at its failure, or a request.

    None of a sweep that was confirmed or judged: its winner was chosen among the trials as they are.
    """
    failed = failed_runs(store, sweep)
    reasons = {each.result.run_id: _reason(study, sweep, data, each, is_requested) for each in failed}
    found = {run_id: reason for run_id, reason in reasons.items() if reason}
    if found and sweep.is_settled:
        logger.warning(
            "%s is confirmed: its failed trials are not tried again; use --fresh for the next sweep", sweep.id
        )
        return {}
    if failed and not found:
        text = "%s: %d failed trials are not tried again, since code, data and packages are the same as then"
        logger.warning(f"{text}; --retry-failed tries them again", sweep.id, len(failed))
    return found


def retry_failed(store: Store, study: Study, sweep: Sweep, reasons: Mapping[str, str]) -> Sweep:
    """Take the failed runs out of the sweep, so that their trials are trained again; return the reopened sweep.

    A sweep without any other trial has no engine, which is chosen anew: the failures may have decided the choice.
    """
    if not reasons:
        return sweep
    sweep = reopen_sweep(store, sweep)
    open_crash_log(store.root, study.name).clear()
    retire(store, reasons)
    for reason, count in Counter(reasons.values()).items():
        logger.info("%s · %d failed trials are tried again: %s", sweep.id, count, reason)
    has_trials = bool(finished_trials(store, sweep) or unfinished_runs(store, sweep))
    return sweep if has_trials else replace(sweep, engine="")


def _reason(study: Study, sweep: Sweep, data: PreparedData, failed: FailedRun, is_requested: bool) -> str:
    """Return why the trial is tried again; empty if it is not."""
    trial, module = failed.result.trial, _MISSING_MODULE.search(failed.result.message)
    if is_requested:
        return REQUESTED
    if content_key(study, sweep.number, data, trial.params, trial.seed) != trial.key:
        return "the code changed"
    if not failed.has_same_packages:
        return "the installed packages changed"
    if module is not None and _is_installed(module["name"]):
        return f"the module {module['name']} is installed now"
    return ""


def _is_installed(module: str) -> bool:
    try:
        return module in sys.modules or importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
