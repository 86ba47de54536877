"""Sweeps of a study that differ from it only by the number of trials: found, and extended."""

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.entities import run_tags
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep, SweepStatus, all_sweeps

if TYPE_CHECKING:
    from nightune.tuning.study.study import Study


def sweep_of_other_length(store: Store, study: "Study", data_version: str) -> Sweep | None:
    """Return the last sweep of this data and of the same content except for the number of trials, or None."""
    same = [
        sweep
        for sweep in all_sweeps(store, study.name)
        if sweep.data_version == data_version and study.with_trials(sweep.asked_trials).digest == sweep.study_digest
    ]
    return same[-1] if same else None


def extend_sweep(store: Store, sweep: Sweep, study: "Study") -> Sweep:
    """Give a sweep the number of trials of a study of the same content, and mark it as running.

    The files come first: the tags, written at once, make it another length. Where its rounds are not those of a new
    sweep, its digest is none that a version before decision 167 looks for, which would train other rounds in it.
    """
    mlflow_client = client(store)
    mlflow_client.log_dict(sweep.run_id, study.content, names.STUDY_CONTENT)
    lengths = json.dumps(sweep.lengths)
    has_own_rounds = study.brackets != study.model_copy(update={"earlier_lengths": ()}).brackets
    tags = {
        names.STUDY_DIGEST: study.digest + (names.OWN_ROUNDS if has_own_rounds else ""),
        names.PLANNED_TRIALS: str(study.trial_count),
        names.ASKED_TRIALS: str(study.search.trials),
        names.EARLIER_LENGTHS: lengths,
        names.STATUS: str(SweepStatus.RUNNING),
    }
    mlflow_client.log_batch(sweep.run_id, tags=run_tags(tags))
    mlflow_client.update_run(sweep.run_id, status="RUNNING")
    return replace(
        sweep,
        study_digest=study.digest,
        planned_trials=study.trial_count,
        asked_trials=study.search.trials or 0,
        earlier_lengths=tuple(json.loads(lengths)),
        status=SweepStatus.RUNNING,
    )
