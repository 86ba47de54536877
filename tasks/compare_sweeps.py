"""Compare two sweeps of a study."""

from collections.abc import Sequence

from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.confirmations import read_confirmation
from nightune.tasks.tracking.sweeps.find_sweeps import find_two_sweeps
from nightune.tasks.tracking.sweeps.findings import read_findings
from nightune.tasks.tracking.sweeps.metric_code import read_metric_code
from nightune.tasks.tracking.sweeps.sweeps import Sweep, sweep_content, sweep_facts
from nightune.tasks.tracking.sweeps.verdicts import read_verdict
from nightune.tasks.tracking.trials.trials import finished_trials
from nightune.tuning.analysis.sweep_comparison import METRIC_CODE, ComparedSweep, Difference, compare_nights


def compare_sweeps(store: Store, study: str, sweep_ids: Sequence[str] | None = None) -> Difference:
    """Compare two named sweeps of a study, or its last two, in chronological order."""
    before, after = find_two_sweeps(store, study, sweep_ids)
    return compare_nights(_night(store, before), _night(store, after))


def _night(store: Store, sweep: Sweep) -> ComparedSweep:
    verdict, code = read_verdict(store, sweep), read_metric_code(store, sweep)
    return ComparedSweep(
        sweep=sweep.id,
        metric=sweep.metric,
        direction=sweep.direction,
        facts=sweep_facts(store, sweep) | ({METRIC_CODE: code} if code else {}),
        content=sweep_content(store, sweep),
        results=list(finished_trials(store, sweep).values()),
        confirmation=read_confirmation(store, sweep),
        verdict="" if verdict is None else f"{verdict.decision}: {verdict.reason}",
        values=None if verdict is None else verdict.values,
        models=read_findings(store, sweep, "models"),
    )
