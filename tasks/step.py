"""Define our Prefect tasks: without a cache, since MLflow is the only store, and with a count of their runs.

They do not inherit the tags of Nightune from their flow run: Prefect requests a slot from its server for each tag of a
task run, which takes about half a second.
"""

from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.context import TagsContext, TaskRunContext

from nightune.tasks.tracking.store import names

P = ParamSpec("P")
R = TypeVar("R")

_ended_task_runs: Counter[UUID | None] = Counter()


def step(function: Callable[P, R]) -> Task[P, R]:
    """Wrap a function as a Prefect task: a step of a flow."""

    @wraps(function)
    def counted(*arguments: P.args, **named: P.kwargs) -> R:
        context = TaskRunContext.get()
        try:
            return function(*arguments, **named)
        finally:
            if context is not None:
                _ended_task_runs[context.task_run.flow_run_id] += 1

    return _Step(counted, cache_policy=NO_CACHE)


class _Step(Task[P, R]):
    def __call__(self, *arguments: Any, **named: Any) -> Any:
        kept = {tag for tag in TagsContext.get().current_tags if not tag.startswith(names.PREFIX)}
        with TagsContext(current_tags=kept):
            return super().__call__(*arguments, **named)


def ended_task_runs(flow_run_id: UUID) -> int:
    """Return how many task runs of a flow run this process has ended, so that the flow can wait for their records."""
    return _ended_task_runs[flow_run_id]
