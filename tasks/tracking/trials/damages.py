"""Find records of sweeps, trials and replicates that were changed or deleted on MLflow's pages."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.errors import DamagedRecordError
from nightune.tasks.tracking.store.records import read_file, run_record
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.beliefs import parse_beliefs
from nightune.tasks.tracking.sweeps.confirmations import parse_confirmation
from nightune.tasks.tracking.sweeps.findings import parse_findings
from nightune.tasks.tracking.sweeps.importances import parse_importance
from nightune.tasks.tracking.sweeps.profiles import parse_profile
from nightune.tasks.tracking.sweeps.proposals import parse_proposals
from nightune.tasks.tracking.sweeps.sweeps import Sweep, parse_content, read_environment, read_sweep
from nightune.tasks.tracking.sweeps.verdicts import parse_verdict
from nightune.tasks.tracking.trials.runs import find_runs, is_finished, read_result

KINDS = ("sweep", "trial", "replicate", names.AUDIT, names.ABLATION, "probe", names.RETRIED)
OF_TRIALS, UNDER_TRIALS = ("trial", names.RETRIED), ("replicate", names.AUDIT)
SHOWN_RUNS = 3
# Files of a sweep, each with the tag that says that it was written; the first two belong to each complete sweep.
FILES: tuple[tuple[str, str, Callable[[str], object]], ...] = (
    (names.ENVIRONMENT, names.KIND, read_environment),
    (names.STUDY_CONTENT, names.KIND, parse_content),
    (names.CONFIRMATION, names.CONFIRMED_TRIAL, parse_confirmation),
    (names.FINDINGS_FILE, names.FINDINGS, parse_findings),
    (names.DATA_PROFILE, names.DRIFT, parse_profile),
    (names.IMPORTANCE, names.MATTERED_MOST, parse_importance),
    (names.PROPOSALS_FILE, names.PROPOSED, parse_proposals),
    (names.BELIEFS_FILE, names.PREDICTED, parse_beliefs),
    (names.VERDICT_JSON, names.VERDICT_QUESTION, parse_verdict),
)


def damaged_runs(store: Store, experiment_id: str) -> Iterator[str]:
    """Say which runs of an experiment are damaged, and which belong to no sweep."""
    runs = [run for run in find_runs(store, experiment_id, "") if _is_ours(run)]
    sweeps: dict[str, Sweep] = {}
    for run in runs:
        try:
            _read(run, sweeps)
        except DamagedRecordError as error:
            yield str(error)
    yield from _shared_ids(list(sweeps.values()))
    yield from _damaged_files(store, runs, sweeps)
    yield from _lost_runs(runs, sweeps)


def _is_ours(run: Any) -> bool:
    return any(tag.startswith(names.PREFIX) for tag in run.data.tags)


def _read(run: Any, sweeps: dict[str, Sweep]) -> None:
    kind = run_record(run).choice(names.KIND, KINDS)
    if kind == "sweep":
        sweeps[run.info.run_id] = read_sweep(run)
    elif kind not in ("probe", names.RETRIED) and is_finished(run):
        read_result(run)


def _shared_ids(sweeps: Sequence[Sweep]) -> Iterator[str]:
    by_id: dict[str, list[str]] = defaultdict(list)
    for sweep in sweeps:
        by_id[sweep.id].append(sweep.run_id)
    for sweep_id, run_ids in by_id.items():
        if len(run_ids) > 1:
            yield f"{len(run_ids)} sweeps are called {sweep_id}: runs {', '.join(run_ids)}"


def _damaged_files(store: Store, runs: Sequence[Any], sweeps: dict[str, Sweep]) -> Iterator[str]:
    """Check the files of complete sweeps; others may have been killed before they were written."""
    for run in runs:
        sweep = sweeps.get(run.info.run_id)
        if sweep is None or not sweep.is_complete:
            continue
        for path, tag, parse in FILES:
            try:
                if tag in run.data.tags:
                    read_file(store, sweep.run_id, path, parse)
            except DamagedRecordError as error:
                yield f"{sweep.id}: {error}"


def _lost_runs(runs: Sequence[Any], sweeps: dict[str, Sweep]) -> Iterator[str]:
    """Find trials that are not under their sweep's run, and replicates and audits that are not under a trial's run.

    The trial may have been trained again since.
    """
    ids = {run_id: sweep.id for run_id, sweep in sweeps.items()}
    trials = {run.info.run_id: run.data.tags.get(names.SWEEP) for run in runs if _kind(run) in OF_TRIALS}
    lost: dict[tuple[str, str], list[str]] = defaultdict(list)
    for run in runs:
        parents = {"trial": ids, "replicate": trials, names.AUDIT: trials, names.ABLATION: ids}.get(_kind(run))
        sweep_id = run.data.tags.get(names.SWEEP, "an unknown sweep")
        if parents is not None and parents.get(run.data.tags.get(names.MLFLOW_PARENT, "")) != sweep_id:
            lost[_kind(run), sweep_id].append(str(run.info.run_id))
    for (kind, sweep_id), run_ids in lost.items():
        shown = ", ".join(run_ids[:SHOWN_RUNS]) + (" …" if len(run_ids) > SHOWN_RUNS else "")
        parent = "the run of their trial" if kind in UNDER_TRIALS else "the run of their sweep"
        yield f"{len(run_ids)} runs of kind {kind} of {sweep_id} are not under {parent}, or differ in its name: {shown}"


def _kind(run: Any) -> str:
    return str(run.data.tags.get(names.KIND, ""))
