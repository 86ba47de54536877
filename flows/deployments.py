"""Serve studies every night on one machine, with one deployment per study."""

import asyncio
import logging
import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy, FlowRun, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.runner import Runner
from prefect.runner import runner as runner_module
from prefect.runner._starter_engine import EngineCommandStarter
from prefect.schedules import Cron
from prefect.states import Cancelled, Crashed
from prefect.types.entrypoint import EntrypointType

from nightune.flows.nightly import nightly
from nightune.flows.runtime.environment import hooks, store_root, tracking_uri
from nightune.tasks.load_study import load_study
from nightune.tasks.reporting.notify import Event, notify
from nightune.tasks.tracking.store.errors import StoreError, StudyBusyError
from nightune.tasks.tracking.store.lock import study_lock
from nightune.tasks.tracking.store.store import open_store
from nightune.tasks.trial.crash_log import open_crash_log

logger = logging.getLogger("nightune")

PAGE = 200
PROCESS_ENDED = "its process has ended"
OPEN = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]


@dataclass(frozen=True, slots=True)
class Service:
    """The settings of served studies: the schedule, and the rules for overlapping and missed nights."""

    cron: str
    timezone: str
    on_overlap: str = "skip"  # or "wait"
    missed: str = "skip"  # or "once"
    engine: str = "auto"
    is_paused: bool = False


class NightRunner(Runner):
    """Prefect's runner. The first SIGTERM or SIGINT cancels the running night and stops it, a second at once."""

    async def run(self) -> None:
        """Run nights until a signal arrives."""
        # Prefect has no setting for it.
        vars(runner_module)["EngineCommandStarter"] = partial(EngineCommandStarter, command=night_command())
        before = signal.getsignal(signal.SIGINT)
        if before is not signal.SIG_IGN:  # a job started with & ignores Ctrl-C
            signal.signal(signal.SIGINT, self.handle_sigterm)
        try:
            await self.start()
        finally:
            signal.signal(signal.SIGINT, before)

    def handle_sigterm(self, *_: Any, **__: Any) -> None:
        """Stop as Prefect's handler does, but in the running event loop, in which that leaves a coroutine unawaited."""
        if self.stopping or not self.started:
            raise KeyboardInterrupt
        self.execute_in_background(self.astop)


def night_command() -> str:
    """Return the command of a night's process. Prefect's own would import modules of the working folder first."""
    return shlex.join([sys.executable, "-P", "-m", "nightune.flows.night_process"])


def serve_studies(studies: Sequence[Path], service: Service) -> None:
    """Recover from crashed nights, then run nights until a signal arrives. Prefect's server must be running."""
    runner = NightRunner(name="nightune", pause_on_shutdown=False)
    with get_client(sync_client=True) as client:
        names = [_add(runner, client, path.resolve(), service) for path in studies]
    asyncio.run(runner.run())
    for name in names:
        open_crash_log(store_root(), name).clear_training()


def recover(client: SyncPrefectClient, study: str) -> int:
    """Mark the study's dead nights as crashed, free their slots and notify the hooks; return the number of nights.

    A running night holds its study's lock: while the lock is held, nothing is changed.
    """
    deployment = _find(client, study)
    if deployment is None:
        return 0
    try:
        with study_lock(open_store(store_root(), tracking_uri()), study):
            open_crash_log(store_root(), study).record_unsupervised_crash(PROCESS_ENDED)
            dead = _runs(client, deployment.id, OPEN)
            for run in dead:
                client.set_flow_run_state(run.id, Crashed(message=PROCESS_ENDED), force=True)
            limit = deployment.global_concurrency_limit
            if limit is not None:
                client.update_global_concurrency_limit(limit.name, GlobalConcurrencyLimitUpdate(active_slots=0))
    except StudyBusyError as error:
        logger.warning("%s", error)
        return 0
    for run in dead:
        notify(hooks(), Event("crashed", study, flow_run_id=str(run.id), reason=PROCESS_ENDED))
    return len(dead)


def set_paused(study: str, is_paused: bool) -> None:
    """Pause or resume the nights of a study; StoreError if it is not served."""
    with get_client(sync_client=True) as client:
        deployment = _find(client, study)
        if deployment is None:
            raise StoreError(f"{study}: not served. Start `nightune serve` with its file.")
        if is_paused:
            client.pause_deployment(deployment.id)
        else:
            client.resume_deployment(deployment.id)


def _add(runner: Runner, client: SyncPrefectClient, path: Path, service: Service) -> str:
    """Add the deployment of one study to the runner; return the study's name."""
    study = load_study(path).name
    crashed = recover(client, study)
    missed = _drop_missed(client, study)
    before = _find(client, study)
    is_paused = service.is_paused or (before is not None and before.paused)
    strategy = ConcurrencyLimitStrategy.CANCEL_NEW if service.on_overlap == "skip" else ConcurrencyLimitStrategy.ENQUEUE
    deployment = RunnerDeployment.from_flow(
        nightly,
        study,
        schedule=Cron(service.cron, timezone=service.timezone),
        paused=is_paused,
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=strategy),
        parameters={"study_file": str(path), "engine": service.engine},
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    identifier = runner.add_deployment(deployment)
    assert isinstance(identifier, UUID)
    if missed and service.missed == "once" and not is_paused:
        client.create_flow_run_from_deployment(identifier)
    logger.info("%s", served_line(study, crashed, missed, service.missed))
    return study


def served_line(study: str, crashed: int, missed: int, on_missed: str) -> str:
    """Return the line about a served study, with the crashed and missed nights if there are any."""
    parts = [f"{crashed} crashed nights cleared"] if crashed else []
    parts += [f"{missed} missed ({on_missed})"] if missed else []
    return " · ".join([study, "served", *([", ".join(parts)] if parts else [])])


def _drop_missed(client: SyncPrefectClient, study: str) -> int:
    """Cancel the nights that were due while `serve` was not running; return their number."""
    deployment = _find(client, study)
    if deployment is None:
        return 0
    now = datetime.now(UTC)
    scheduled = _runs(client, deployment.id, [StateType.SCHEDULED])
    missed = [run for run in scheduled if run.expected_start_time is not None and run.expected_start_time < now]
    for run in missed:
        client.set_flow_run_state(run.id, Cancelled(message="missed: `nightune serve` was not running"), force=True)
    return len(missed)


def _find(client: SyncPrefectClient, study: str) -> DeploymentResponse | None:
    try:
        return client.read_deployment_by_name(f"{nightly.name}/{study}")
    except ObjectNotFound:
        return None


def _runs(client: SyncPrefectClient, deployment_id: UUID, states: Sequence[StateType]) -> list[FlowRun]:
    return client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(states)))),
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id])),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        limit=PAGE,
    )
