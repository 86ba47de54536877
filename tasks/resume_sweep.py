"""Reopen a complete sweep, with the study and the data of its training."""

import json
import logging

from nightune.models.data.storage import open_dataset
from nightune.tasks.prepare_data import prepare_data, read_prepared
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.setting import Setting
from nightune.tasks.step import step
from nightune.tasks.threshold_problems import threshold_problems
from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.find_sweeps import find_complete_sweep
from nightune.tasks.tracking.sweeps.sweeps import Sweep, sweep_content
from nightune.tasks.tracking.trials.trials import reconcile
from nightune.tuning.errors import StudyError
from nightune.tuning.study.objective import Objective
from nightune.tuning.study.search_section import SearchSection
from nightune.tuning.study.sections import OF_MODEL
from nightune.tuning.study.study import Study
from nightune.vocabulary import DEFAULT_THRESHOLD

logger = logging.getLogger("nightune")


@step
def resume_sweep(store: Store, study: Study, sweep_id: str | None = None) -> Setting:
    """Return the setting of the study's last complete sweep, or of a named one; StoreError if there is none.

    Seed, budget, objective and limits of models are the sweep's: its command line may have overridden the file. Metrics
    that are only reported, and the threshold, are those of the file; StudyError if the data has no use for it.
    """
    sweep = find_complete_sweep(store, study.name, sweep_id)
    reconcile(store, sweep.experiment_id)
    content = sweep_content(store, sweep)
    of_file = {"report": study.objective.report, "threshold": study.objective.threshold}
    limits = content.get("limits", {})
    if limits != study.limits.of_model:
        shown = ", ".join(f"{name} {limit:g}" for name, limit in limits.items()) or "none"
        logger.warning(
            "the models of %s have the [limits] of its start: %s (others begin a new sweep)", sweep.id, shown
        )
    as_trained = study.model_copy(
        update={
            "seed": int(content["seed"]),
            "search": SearchSection.model_validate_json(json.dumps(content["search"])),
            "objective": Objective.model_validate_json(json.dumps({**content["objective"], **of_file})),
            "limits": study.limits.model_copy(update={**dict.fromkeys(OF_MODEL), **limits}),
            **sweep.layout,
        }
    )
    data = _data(store, as_trained, sweep)
    if as_trained.objective.threshold != DEFAULT_THRESHOLD:
        problems = list(threshold_problems(as_trained, open_dataset(data.folder)))
        if problems:
            raise StudyError(str(study.path), problems)
    return Setting(store=store, sweep=sweep, study=as_trained, data=data)


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
