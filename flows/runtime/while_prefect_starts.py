"""Do while Prefect's server starts what a sweep needs afterwards: both take seconds, on two processors."""

from nightune.flows.runtime.console import say
from nightune.flows.runtime.environment import store_root, tracking_uri
from nightune.models.backend import import_keras
from nightune.settings import read_settings
from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.tracking.store.store import Store, open_store
from nightune.tasks.tracking.sweeps.sweeps import all_sweeps
from nightune.tuning.study.study import Study


def open_store_and_keras(study: Study, fresh: bool) -> Store:
    """Open the store, which imports MLflow, import Keras unless the study's last sweep is complete; return the store.

    One after the other: both are imports, which share one lock of the interpreter. Errors are raised as by the flow.
    """
    say("Opening the store …")
    store = open_store(store_root(), tracking_uri())
    if fresh or not _is_complete(store, study):
        say(f"Importing Keras and {read_settings().keras_backend} …")
        import_keras(store.compiled)
    return store


def _is_complete(store: Store, study: Study) -> bool:
    """True if the last sweep of this content is complete; the flow compares its data and code."""
    try:
        sweeps = [sweep for sweep in all_sweeps(store, study.name) if sweep.study_digest == study.digest]
    except StoreError:
        return True  # the flow reports it
    return bool(sweeps) and sweeps[-1].is_complete
