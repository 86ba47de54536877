"""Prune a store: delete the checkpoints of inferior trials. Params, curves and results stay."""

from collections.abc import Iterator
from dataclasses import dataclass

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.artifacts import delete_artifacts
from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep, all_sweeps
from nightune.tasks.tracking.trials.trials import finished_trials
from nightune.tuning.analysis.leaderboard import leaderboard
from nightune.tuning.trial import TrialResult


@dataclass(frozen=True)
class Pruned:
    """What was deleted, or would be in a dry run."""

    trials: int
    bytes: int
    kept: int


def prune(store: Store, study: str, keep: int, is_dry: bool) -> Pruned:
    """Delete the checkpoints of all but each complete sweep's best `keep` trials.

    Checkpoints of registered versions, confirmed finalists and running trials stay regardless of their rank.
    """
    sweeps = all_sweeps(store, study)
    if not sweeps:
        raise StoreError(f"{study}: no sweep of this study in {store.root}; nothing to prune")
    protected = _protected_runs(store, sweeps[0].experiment_id)
    inferior = [result for sweep in sweeps for result in _inferior_trials(store, sweep, keep) if result.best_epoch]
    inferior = [result for result in inferior if result.run_id not in protected and not _is_pruned(store, result)]
    size = sum(_delete(store, result, is_dry) for result in inferior)
    total = sum(len(finished_trials(store, sweep)) for sweep in sweeps)
    return Pruned(len(inferior), size, total - len(inferior))


def _inferior_trials(store: Store, sweep: Sweep, keep: int) -> Iterator[TrialResult]:
    if sweep.is_complete:
        yield from leaderboard(finished_trials(store, sweep).values(), sweep.direction)[keep:]


def _protected_runs(store: Store, experiment_id: str) -> set[str]:
    """Return the runs whose files a registered version or a confirmation refers to."""
    versions = client(store).search_model_versions("", max_results=10_000)
    replicates = names.tag_equals(names.KIND, "replicate")
    confirmed = client(store).search_runs([experiment_id], replicates, max_results=10_000)
    return {str(version.run_id) for version in versions} | {
        run.data.tags.get(names.MLFLOW_PARENT, "") for run in confirmed
    }


def _is_pruned(store: Store, result: TrialResult) -> bool:
    return names.PRUNED in client(store).get_run(result.run_id).data.tags


def _delete(store: Store, result: TrialResult, is_dry: bool) -> int:
    """Delete a checkpoint and return its size in bytes. The tag is set first: each deleted checkpoint is marked."""
    listed = client(store).list_artifacts(result.run_id, names.CHECKPOINT_FOLDER)
    size = sum(int(file.file_size or 0) for file in listed)
    if not is_dry:
        client(store).set_tag(result.run_id, names.PRUNED, "true")
        delete_artifacts(store, result.run_id, names.CHECKPOINT_FOLDER)
    return size
