"""What every task of ours has in common: nothing is cached (MLflow is the one store) and each run is counted."""

from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar
from uuid import UUID

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.context import TaskRunContext

P = ParamSpec("P")
R = TypeVar("R")

_ended_task_runs: Counter[UUID | None] = Counter()


def stage(function: Callable[P, R]) -> Task[P, R]:
    """Make a function a Prefect task of a sweep."""

    @wraps(function)
    def counted(*arguments: P.args, **named: P.kwargs) -> R:
        context = TaskRunContext.get()
        try:
            return function(*arguments, **named)
        finally:
            if context is not None:
                _ended_task_runs[context.task_run.flow_run_id] += 1

    return task(cache_policy=NO_CACHE)(counted)


def ended_task_runs(flow_run_id: UUID) -> int:
    """How many task runs this process has ended in a flow run, so that the flow can wait for their records."""
    return _ended_task_runs[flow_run_id]
