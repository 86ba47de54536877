"""Decide which trials are trained again: failed ones that may end otherwise today, and those of other code."""

import importlib.util
import logging
import re
import sys
from collections import Counter
from collections.abc import Mapping

from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.propose_trials import content_key
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.engines import forget_engine
from nightune.tasks.tracking.sweeps.sweeps import Sweep, reopen_sweep
from nightune.tasks.tracking.trials.failed_runs import FailedRun, failed_runs, retire
from nightune.tasks.tracking.trials.runs import unfinished_runs
from nightune.tasks.tracking.trials.trials import finished_trials
from nightune.tasks.trial.crash_log import open_crash_log
from nightune.tuning.study.study import Study
from nightune.tuning.trial import Status, Trial, TrialResult
from nightune.vocabulary import ARCHITECTURE

logger = logging.getLogger("nightune")

REQUESTED = "requested by --retry-failed"
OTHER_CODE = "the code changed"
_MISSING_MODULE = re.compile(r"No module named '(?P<name>\w+)'")


def trials_of_other_code(study: Study, sweep: Sweep, data: PreparedData, results: list[TrialResult]) -> list[str]:
    """Return the runs of successful trials that were trained by other code than today's.

    That is: changed files of the study, or a version of Nightune that trains in another way.
    """
    ended = [each for each in results if each.status is not Status.FAILED]
    return [each.run_id for each in ended if _has_other_code(study, sweep, data, each.trial)]


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


def keeps_its_engine(store: Store, sweep: Sweep, reasons: Mapping[str, str]) -> bool:
    """Return whether the sweep has an engine and, without the runs to retire, a trial that it has trained."""
    results = [*finished_trials(store, sweep).values()]
    others = [result for result in results if result.run_id not in reasons]
    return bool(sweep.engine) and (not reasons or bool(others) or bool(unfinished_runs(store, sweep)))


def retry_failed(store: Store, study: Study, sweep: Sweep, reasons: Mapping[str, str]) -> Sweep:
    """Take the runs out of the sweep, so that their trials are trained again; return the reopened sweep.

    A sweep without any other trial has no engine, which is chosen anew: the failures may have decided the choice.
    """
    if not reasons:
        return sweep
    if not keeps_its_engine(store, sweep, reasons):
        sweep = forget_engine(store, sweep)
    sweep = reopen_sweep(store, sweep)
    results = {kind: finished_trials(store, sweep, kind).values() for kind in ("trial", "replicate")}
    keys = [each.trial.key for kind in results.values() for each in kind if each.run_id in reasons]
    open_crash_log(store.root, study.name).clear_crashes(keys)
    retire(store, reasons)
    for reason, count in Counter(reasons.values()).items():
        logger.info("%s · %d trials are trained again: %s", sweep.id, count, reason)
    return sweep


def _reason(study: Study, sweep: Sweep, data: PreparedData, failed: FailedRun, is_requested: bool) -> str:
    """Return why the trial is tried again; empty if it is not."""
    trial, module = failed.result.trial, _MISSING_MODULE.search(failed.result.message)
    if is_requested:
        return REQUESTED
    if not trial.replicate and _has_other_code(study, sweep, data, trial):
        return OTHER_CODE
    if not failed.has_same_packages:
        return "the installed packages changed"
    if module is not None and _is_installed(module["name"]):
        return f"the module {module['name']} is installed now"
    return ""


def _has_other_code(study: Study, sweep: Sweep, data: PreparedData, trial: Trial) -> bool:
    """True if today's code would give the trial another key; False for a trial without an architecture."""
    if ARCHITECTURE not in trial.params:
        return False
    return content_key(study, sweep.number, data, trial.params, trial.seed) != trial.key


def _is_installed(module: str) -> bool:
    try:
        return module in sys.modules or importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
