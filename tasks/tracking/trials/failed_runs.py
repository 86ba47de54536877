"""Find the failed trials of a sweep with the environment in which they failed, and retire them to try again."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.provenance import environment, installed_packages
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials.runs import finished_runs, read_result
from nightune.tuning.trial import Status, TrialResult

RETRIED = "retried"  # the kind of a run whose trial has another run by now


@dataclass(frozen=True)
class FailedRun:
    """A failed trial; `has_same_packages` tells whether the packages installed today are those of its failure."""

    result: TrialResult
    has_same_packages: bool


def failed_runs(store: Store, sweep: Sweep) -> list[FailedRun]:
    """Return the sweep's failed trials by number."""
    runs = [run for run in finished_runs(store, sweep) if run.data.tags[names.STATUS] == Status.FAILED]
    if not runs:
        return []
    today, at_start = installed_packages(), None
    found = []
    for run in runs:
        packages = run.data.tags.get(names.PACKAGES)
        if packages is None:  # of a version that did not write the tag
            at_start = _packages_at_start(store, sweep) if at_start is None else at_start
            found.append(FailedRun(read_result(run), at_start == environment()["packages"]))
        else:
            found.append(FailedRun(read_result(run), packages == today))
    return sorted(found, key=lambda failed: failed.result.trial.number)


def retire(store: Store, reasons: Mapping[str, str]) -> None:
    """Take runs, by id, out of their sweep, each with the reason why its trial is tried again."""
    for run_id, reason in reasons.items():
        client(store).set_tag(run_id, names.RETRIED_BECAUSE, reason)
        client(store).set_tag(run_id, names.KIND, RETRIED)  # last: from here on its trial counts as missing


def _packages_at_start(store: Store, sweep: Sweep) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = client(store).download_artifacts(sweep.run_id, names.ENVIRONMENT, folder)
        packages: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))["packages"]
        return packages
