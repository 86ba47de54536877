"""Find the failed trials of a sweep with the environment in which they failed, and retire runs to train them again."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.provenance import environment, installed_packages
from nightune.tasks.tracking.store.records import optional_file, whole_records
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials.runs import finished_runs, read_result
from nightune.tuning.trial import Status, TrialResult


@dataclass(frozen=True)
class FailedRun:
    """A failed trial or replicate; `has_same_packages` tells whether today's packages are those of its failure."""

    result: TrialResult
    has_same_packages: bool


def failed_runs(store: Store, sweep: Sweep) -> list[FailedRun]:
    """Return the sweep's failed trials and replicates by number; damaged records are left out with a warning."""
    runs = [run for kind in ("trial", "replicate") for run in finished_runs(store, sweep, kind)]
    failed = [run for run in runs if run.data.tags.get(names.STATUS) == Status.FAILED]
    if not failed:
        return []
    today, at_start = installed_packages(), None
    found = []
    for run, result in whole_records(failed, lambda run: (run, read_result(run))):
        packages = run.data.tags.get(names.PACKAGES)
        if packages is None:  # of a version that did not write the tag
            at_start = _packages_at_start(store, sweep) if at_start is None else at_start
            found.append(FailedRun(result, at_start == environment()["packages"]))
        else:
            found.append(FailedRun(result, packages == today))
    return sorted(found, key=lambda each: (each.result.trial.number, each.result.trial.replicate))


def retire(store: Store, reasons: Mapping[str, str]) -> None:
    """Take runs, by id, out of their sweep, each with the reason why its trial is trained again."""
    for run_id, reason in reasons.items():
        client(store).set_tag(run_id, names.RETRIED_BECAUSE, reason)
        client(store).set_tag(run_id, names.KIND, names.RETRIED)  # last: from here on its trial counts as missing


def _packages_at_start(store: Store, sweep: Sweep) -> Any:
    """Return the packages as of the sweep's start; empty, which equals none of today's, if their file is damaged."""
    return optional_file(store, sweep.run_id, names.ENVIRONMENT, lambda text: json.loads(text)["packages"]) or {}
