"""Reopen a complete sweep, with the study and the data of its training."""

import json

from nightune.tasks.prepare_data import prepare_data, read_prepared
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.setting import Setting
from nightune.tasks.step import step
from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.find_sweeps import find_complete_sweep
from nightune.tasks.tracking.sweeps.sweeps import Sweep, sweep_content
from nightune.tasks.tracking.trials.trials import reconcile
from nightune.tuning.study.sections import Objective, SearchSection
from nightune.tuning.study.study import Study


@step
def resume_sweep(store: Store, study: Study, sweep_id: str | None = None) -> Setting:
    """Return the setting of the study's last complete sweep, or of a named one; StoreError if there is none.

    Seed, budget and objective are the sweep's: its command line may have overridden the file.
    """
    sweep = find_complete_sweep(store, study.name, sweep_id)
    reconcile(store, sweep.experiment_id)
    content = sweep_content(store, sweep)
    as_trained = study.model_copy(
        update={
            "seed": int(content["seed"]),
            "search": SearchSection.model_validate_json(json.dumps(content["search"])),
            "objective": Objective.model_validate_json(json.dumps(content["objective"])),
            "repeats_points": not sweep.is_without_repeats,
        }
    )
    return Setting(store=store, sweep=sweep, study=as_trained, data=_data(store, as_trained, sweep))


def _data(store: Store, study: Study, sweep: Sweep) -> PreparedData:
    """Return the sweep's data: the existing folder, or data prepared again if the version is the same."""
    folder = store.root / "data" / sweep.data_version
    if folder.is_dir():
        return read_prepared(folder)
    data = prepare_data.fn(study, store.root)
    if data.version != sweep.data_version:
        raise StoreError(
            f"{sweep.id}: its data {sweep.data_version} is gone from {folder.parent}, and today's is {data.version}; "
            "restore the source, or run `nightune tune` for a sweep on today's data"
        )
    return data
