"""Store why trials of a sweep failed on its run, once for those that failed alike."""

from collections.abc import Sequence
from dataclasses import asdict

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tuning.analysis.failures import failure_groups, failure_lines
from nightune.tuning.trial import TrialResult


def write_failures(store: Store, sweep: Sweep, results: Sequence[TrialResult]) -> None:
    """Write the causes of failed trials as a tag and as an artifact; without failures, drop the tag of earlier ones."""
    groups, mlflow_client = failure_groups(results), client(store)
    if groups:
        mlflow_client.log_dict(sweep.run_id, {"groups": [asdict(group) for group in groups]}, names.FAILURES_JSON)
        mlflow_client.set_tag(sweep.run_id, names.FAILURES, "\n".join(failure_lines(groups))[: names.TAG_LENGTH])
    elif names.FAILURES in mlflow_client.get_run(sweep.run_id).data.tags:
        mlflow_client.delete_tag(sweep.run_id, names.FAILURES)
