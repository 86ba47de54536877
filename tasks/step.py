"""Define our Prefect tasks: without a cache, since MLflow is the only store, and with a count of their runs.

They do not inherit the tags of Nightune from their flow run: Prefect requests a slot from its server for each tag of a
task run, which takes about half a second. Prefect is imported when a step first runs: commands that only read import
the steps' modules, but not Prefect, which takes a second.
"""

from collections import Counter
from collections.abc import Callable
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar
from uuid import UUID

from nightune.tasks.tracking.store import names

if TYPE_CHECKING:
    from prefect import Task

TaskName = Callable[[dict[str, Any]], str]
P = ParamSpec("P")
R = TypeVar("R")

_ended_task_runs: Counter[UUID | None] = Counter()


class Step(Generic[P, R]):
    """A step of a flow: each call is the run of a Prefect task. `fn` is the function itself.

    `name` returns the name of a task run from the arguments by name; without it Prefect numbers the function's name.
    """

    def __init__(self, function: Callable[P, R], name: TaskName | None = None) -> None:
        self.fn, self._name = function, name

    def __call__(self, *arguments: P.args, **named: P.kwargs) -> R:
        """Run the step as a task of the current flow run.

        The arguments are quoted: Prefect would look for futures in all that they hold, twice, 20 to 70 ms of a step.
        """
        from prefect.context import TagsContext  # noqa: PLC0415 - as the module says
        from prefect.utilities.annotations import quote  # noqa: PLC0415

        kept = {tag for tag in TagsContext.get().current_tags if not tag.startswith(names.PREFIX)}
        with TagsContext(current_tags=kept):
            return self._task(*map(quote, arguments), **{name: quote(each) for name, each in named.items()})

    @cached_property
    def _task(self) -> "Task[..., R]":
        from prefect import Task  # noqa: PLC0415 - as the module says
        from prefect.cache_policies import NO_CACHE  # noqa: PLC0415

        return Task(_counted(self.fn), cache_policy=NO_CACHE, task_run_name=self._run_name())

    def _run_name(self) -> Callable[..., str] | None:
        if (name := self._name) is None:
            return None

        def run_name(parameters: dict[str, Any]) -> str:  # Prefect looks for an argument so called
            return name(parameters)

        return run_name


def step(function: Callable[P, R]) -> Step[P, R]:
    """Make a function a step of a flow."""
    return Step(function)


def named_step(name: TaskName) -> Callable[[Callable[P, R]], Step[P, R]]:
    """Make a function a step of a flow whose task runs are named by its arguments."""
    return lambda function: Step(function, name)


def ended_task_runs(flow_run_id: UUID) -> int:
    """Return how many task runs of a flow run this process has ended, so that the flow can wait for their records."""
    return _ended_task_runs[flow_run_id]


def _counted(function: Callable[P, R]) -> Callable[P, R]:
    from prefect.context import TaskRunContext  # noqa: PLC0415 - as the module says

    @wraps(function)
    def counted(*arguments: P.args, **named: P.kwargs) -> R:
        context = TaskRunContext.get()
        try:
            return function(*arguments, **named)
        finally:
            if context is not None:
                _ended_task_runs[context.task_run.flow_run_id] += 1

    return counted
