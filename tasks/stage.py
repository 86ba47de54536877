"""What every task of ours has in common: nothing is cached (MLflow is the one store) and each run is counted."""

from collections import Counter
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from prefect import Task, task
from prefect.cache_policies import NO_CACHE

P = ParamSpec("P")
R = TypeVar("R")

_ended_task_runs: Counter[UUID | None] = Counter()


def stage(function: Callable[P, R]) -> Task[P, R]:
    """Make a function a Prefect task of a sweep."""
    return task(cache_policy=NO_CACHE, on_completion=[_count], on_failure=[_count])(function)


def ended_task_runs(flow_run_id: UUID) -> int:
    """How many task runs this process has ended in a flow run, so that the flow can wait for their records."""
    return _ended_task_runs[flow_run_id]


def _count(_task: Any, task_run: Any, _state: Any) -> None:
    _ended_task_runs[task_run.flow_run_id] += 1
