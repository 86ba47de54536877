"""Find sweeps of a study, or say how to get one."""

from collections.abc import Sequence

from nightune.tasks.tracking.store.errors import SweepNotFoundError
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep, all_sweeps


def find_sweep(store: Store, study_name: str, sweep_id: str | None = None) -> Sweep:
    """Return the sweep of this id, or the study's last one; SweepNotFoundError lists the existing ones."""
    sweeps = all_sweeps(store, study_name)
    if not sweeps:
        raise SweepNotFoundError(f"{study_name}: no sweep of this study in {store.root}; {_remedy(store, study_name)}")
    if sweep_id is None:
        return sweeps[-1]
    for sweep in reversed(sweeps):
        if sweep.id == sweep_id:
            return sweep
    raise SweepNotFoundError(f"{study_name}: no sweep {sweep_id!r} (known: {', '.join(sweep.id for sweep in sweeps)})")


def find_complete_sweep(store: Store, study_name: str, sweep_id: str | None = None) -> Sweep:
    """Return the sweep of this id, or the study's last complete one; SweepNotFoundError if it is not complete."""
    if sweep_id is None:
        complete = [sweep for sweep in all_sweeps(store, study_name) if sweep.is_complete]
        if complete:
            return complete[-1]
    sweep = find_sweep(store, study_name, sweep_id)
    if not sweep.is_complete:
        raise SweepNotFoundError(f"{sweep.id}: not complete ({sweep.status}); resume it: `nightune tune`")
    return sweep


def find_two_sweeps(store: Store, study_name: str, ids: Sequence[str] | None = None) -> tuple[Sweep, Sweep]:
    """Return two named sweeps of a study, or its last two, in chronological order."""
    if ids:
        first, second = sorted((find_sweep(store, study_name, each) for each in ids), key=lambda each: each.number)
        return first, second
    last = find_sweep(store, study_name)
    sweeps = all_sweeps(store, study_name)
    if len(sweeps) < 2:
        raise SweepNotFoundError(
            f"{study_name}: only {last.id} exists; run `nightune tune --fresh` to start the next sweep"
        )
    return sweeps[-2], sweeps[-1]


def _remedy(store: Store, study_name: str) -> str:
    experiment = client(store).get_experiment_by_name(study_name)
    if experiment is not None and experiment.lifecycle_stage == "deleted":
        return (
            "its experiment was deleted on MLflow's page; restore it there, or run `nightune tune`, which restores it"
        )
    return "run `nightune tune` to start one"
