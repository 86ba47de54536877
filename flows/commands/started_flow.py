"""Start Prefect for a command that works on a complete sweep, and run its flow."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from nightune.flows.runtime.console import say
from nightune.flows.runtime.environment import prepare_environment, store_root, tracking_uri
from nightune.flows.runtime.prefect_server import prefect_server
from nightune.flows.runtime.supervisor import supervised
from nightune.models.heavy_imports import lasting_imports

Result = TypeVar("Result")


def run_supervised(study: Path, import_flow: Callable[[], Callable[[], Result]]) -> Result:
    """Run a flow on a study that has a store, in a child that is restarted if a trial crashes it.

    `import_flow` imports the flow, which takes seconds while Prefect starts, and returns its call.
    """
    from nightune.tasks.load_study import load_study  # noqa: PLC0415
    from nightune.tasks.tracking.store.store import require_store  # noqa: PLC0415

    load_study(study)
    require_store(store_root(), tracking_uri())  # before anything is created
    prepare_environment()
    supervised(partial(load_study, study))
    say("Starting Prefect (this takes some seconds) …")
    with prefect_server() as wait_until_it_answers:
        with lasting_imports():
            call = import_flow()
            from nightune.flows.runtime.flow_runs import owned_flow_runs  # noqa: PLC0415 - Prefect takes seconds to import

        wait_until_it_answers()
        with owned_flow_runs():
            return call()
