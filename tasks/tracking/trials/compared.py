"""Read what a comparison of two sweeps needs of one."""

from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.confirmations import read_confirmation
from nightune.tasks.tracking.sweeps.findings import read_findings
from nightune.tasks.tracking.sweeps.metric_code import read_metric_code
from nightune.tasks.tracking.sweeps.sweeps import Sweep, sweep_content, sweep_facts
from nightune.tasks.tracking.sweeps.verdicts import read_verdict
from nightune.tasks.tracking.trials.trials import finished_trials
from nightune.tuning.analysis.sweep_comparison import METRIC_CODE, ComparedSweep


def read_compared(store: Store, sweep: Sweep) -> ComparedSweep:
    """Read a sweep for a comparison; DamagedRecordError if its study or its environment is damaged."""
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
