"""Find the runs of trials in MLflow, check whether they are finished, and read their results."""

import json
import math
from collections.abc import Iterator
from typing import Any

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.collector import collector_paused
from nightune.tasks.tracking.store.errors import RefusedRequestError
from nightune.tasks.tracking.store.records import number_of_tag, run_record
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tuning.trial import Expectation, Parent, Status, Trial, TrialResult

PAGE = 1000  # of MLflow's search
ENDED = ("FINISHED", "FAILED")  # states of MLflow's runs
FINAL = tuple(str(status) for status in Status if status != Status.NOT_PROMOTED)


def find_runs(store: Store, experiment_id: str, condition: str) -> Iterator[Any]:
    """Return all runs of an experiment that meet a condition of MLflow's search, page by page."""
    token = None
    while True:
        with collector_paused():
            page = client(store).search_runs([experiment_id], condition, max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def finished_runs(store: Store, sweep: Sweep, kind: str = "trial") -> Iterator[Any]:
    """Return the runs of the sweep's finished trials, or of its finished replicates or audits."""
    condition = f"{names.tag_equals(names.SWEEP, sweep.id)} and {names.tag_equals(names.KIND, kind)}"
    return (run for run in sweep_runs(store, sweep, condition) if is_finished(run))


def unfinished_runs(store: Store, sweep: Sweep) -> dict[str, Any]:
    """Return the sweep's runs to resume, by trial key: interrupted by a kill, or halted at a rung."""
    ours = names.tag_equals(names.SWEEP, sweep.id)
    not_ended = " and ".join(f"attributes.status != '{state}'" for state in ENDED)
    not_final = " and ".join(names.tag_differs(names.STATUS, status) for status in FINAL)
    runs = [run for condition in (not_ended, not_final) for run in sweep_runs(store, sweep, f"{ours} and {condition}")]
    return {run.data.tags[names.TRIAL_KEY]: run for run in runs if names.TRIAL_KEY in run.data.tags}


def is_unfinished(run: Any) -> bool:
    """Return whether a run is one to resume, as `unfinished_runs` finds them."""
    return run.info.status not in ENDED or run.data.tags.get(names.STATUS, FINAL[0]) not in FINAL


def sweep_runs(store: Store, sweep: Sweep, condition: str) -> Iterator[Any]:
    """Return those runs that belong to the sweep: trials under its run, replicates and audits under those of trials.

    The tag with the sweep's id does not suffice: runs that lost their sweep, or were moved, may have it.
    """
    trials: dict[str, bool] = {}  # runs that are parents, and whether they are trials of the sweep
    for run in find_runs(store, sweep.experiment_id, condition):
        parent = run.data.tags.get(names.MLFLOW_PARENT, "")
        if run.data.tags.get(names.KIND) in ("replicate", names.AUDIT):
            if parent not in trials:
                trials[parent] = _is_trial(store, sweep, parent)
            if trials[parent]:
                yield run
        elif parent == sweep.run_id:
            yield run


def _is_trial(store: Store, sweep: Sweep, run_id: str) -> bool:
    """Return whether a run, which may be deleted, is one of the sweep's trials: few are parents, of many."""
    try:
        run = client(store).get_run(run_id)
    except RefusedRequestError:
        return False
    tags, is_active = run.data.tags, run.info.lifecycle_stage == "active"
    return is_active and (tags.get(names.MLFLOW_PARENT), tags.get(names.SWEEP)) == (sweep.run_id, sweep.id)


def is_finished(run: Any) -> bool:
    """Return whether the last step of `finish` is done: after a kill, the status tag alone may be outdated."""
    return run.info.status in ENDED and run.data.tags.get(names.STATUS) not in (
        "running",
        "interrupted",
    )


def finish_halted(store: Store, run: Any) -> bool:
    """Finish a run that a kill kept from it when its trial halted at a rung; False, and nothing is done, for any other.

    All but the state is written. As an interrupted run, it would be read at the rung, and be in no result of its sweep.
    """
    is_halted = run.data.tags.get(names.STATUS) == Status.NOT_PROMOTED and names.RUNG in run.data.tags
    if is_halted:
        client(store).set_terminated(run.info.run_id, "FINISHED")
    return is_halted


def read_result(run: Any) -> TrialResult:
    """Read the result of a finished run, without its curves; DamagedRecordError names the field that is damaged."""
    record, trial = run_record(run), as_trial(run)
    best_epoch, epochs = record.count(names.BEST_EPOCH), record.count(names.EPOCHS)
    if best_epoch > epochs:
        record.refuse(names.BEST_EPOCH, best_epoch, f"at most the number of epochs, {epochs}")
    return TrialResult(
        trial=trial,
        status=Status(record.choice(names.STATUS, tuple(Status))),
        objective=float(record.metrics.get(names.OBJECTIVE, math.nan)),
        best_epoch=best_epoch,
        epochs=epochs,
        updates=record.count(names.UPDATES, 0),
        examples=record.count(names.EXAMPLES, 0),
        seconds=record.quantity(names.SECONDS),
        message=record.tags.get(names.MESSAGE, ""),
        run_id=str(run.info.run_id),
        further={
            name.removeprefix(names.FURTHER): float(value)
            for name, value in record.metrics.items()
            if name.startswith(names.FURTHER)
        },
    )


def as_trial(run: Any) -> Trial:
    """Read the trial that a run trains."""
    record = run_record(run)
    is_audit = record.tags.get(names.KIND) == names.AUDIT
    is_replicate = names.REPLICATE in record.tags and names.ABLATION_STEP not in record.tags
    return Trial(
        number=record.integer(names.TRIAL_NUMBER),
        params=record.table(names.PARAMS),
        seed=record.integer(names.SEED),
        key=record.text(names.TRIAL_KEY),
        replicate=record.integer(names.REPLICATE, 0),
        replicate_of=record.text(names.MLFLOW_PARENT) if is_audit or is_replicate else "",
        is_audit=is_audit,
        step=record.integer(names.ABLATION_STEP) if names.ABLATION_STEP in record.tags else None,
        proposed_by=record.tags.get(names.PROPOSED_BY, ""),
        expected=_expected(record.tags.get(names.EXPECTED, "")),
        parent=_parent(record.tags.get(names.CONTINUES, "")),
        promoted_to=int(number_of_tag(record.tags.get(names.PROMOTED_TO, ""))),
    )


def _parent(text: str) -> Parent | None:
    """Read what a trial continues; None if it is not known, or was changed by hand: it only informs."""
    try:
        held = json.loads(text)
        value, replaced = (None if held[name] is None else float(held[name]) for name in ("value", "replaced_value"))
        return Parent(int(held["trial"]), int(held["epoch"]), int(held["replaces"]), value, replaced)
    except (ValueError, TypeError, KeyError, OverflowError):
        return None


def _expected(text: str) -> Expectation | None:
    """Read what was expected of a trial; None if it is not known, or was changed by hand: it only informs."""
    try:
        held = json.loads(text)
        found = Expectation(float(held["value"]), float(held["deviation"]), int(held["epochs"]))
    except (ValueError, TypeError, KeyError, OverflowError):
        return None
    return found if math.isfinite(found.value) and math.isfinite(found.deviation) else None
