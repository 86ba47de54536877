"""Choose the points that a new sweep begins with: the best of earlier sweeps, then those of the shipped portfolio."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from nightune.models.recipe.params import read_recipe, silent_defaults
from nightune.tasks.earlier_sweeps import begin_with_best
from nightune.tasks.propose_trials import Kept, complete_params
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.sweeps.proposals import Proposals, are_recorded, write_first_points
from nightune.tuning.errors import Problem, StudyError
from nightune.tuning.search.portfolio import Beginning, begin, is_shipped, read_portfolio
from nightune.tuning.study.study import Study
from nightune.tuning.trial import Params, Value

logger = logging.getLogger("nightune")


def choose_first_points(setting: Setting, has_history: bool) -> Proposals:
    """Return the first points of a new sweep by the number 0, and record them before the first trial; none for draws.

    They are recorded in one write: an interrupted sweep begins with all of them, or chooses them again. A sweep of
    fewer trials records all of them, too: it may be extended. One that has trials without a record began with draws,
    as those of earlier versions, and keeps them.
    """
    store, sweep, study = setting.store, setting.sweep, setting.study
    if setting.finished() and not are_recorded(store, sweep):
        return {}
    best = begin_with_best(setting) if has_history else []
    started = portfolio_start(study, setting.data.task, sweep.number, best)
    first = [*best, *([] if started is None else started.points)]
    if not first:
        return {}
    of_portfolio = len(first) - len(best)
    if begun := begun_by(study, first, of_portfolio).of_portfolio:
        logger.info("begins with %d points of the portfolio", begun)
    return write_first_points(store, sweep, first, of_portfolio)


def begun_by(study: Study, points: Sequence[Params], of_portfolio: int) -> Kept:
    """Return the recorded first points that a study has trials for; the last ones, `of_portfolio`, are the portfolio's.

    They begin its first bracket alone.
    """
    used = points[: study.brackets[0].trials]
    return Kept(used, of_portfolio=max(0, len(used) - (len(points) - of_portfolio)))


def portfolio_start(study: Study, task: str, sweep: int, before: Sequence[Params] = ()) -> Beginning | None:
    """Return the portfolio's points for a study and the task of its data; None if it does not begin with them.

    A search begins with them by its method if any are shipped.
    """
    search = study.search
    if not search.begins_with_portfolio or (search.start is None and not is_shipped()):
        return None
    complete, seed = partial(trainable_params, study), study.sweep_seed(sweep)
    with damage_refused("portfolio.json", str(study.path)):
        portfolio = read_portfolio()
    return begin(portfolio, study.space, recorded_kind(task), complete, before, seed)


def recorded_kind(task: str) -> str:
    """Return the kind of task in the recorded configurations that a task has: classification for all but regression.

    So have several heads, labels and positions.
    """
    return "regression" if task == "regression" else "classification"


@contextmanager
def damage_refused(
    file: str, where: str, key: str = "search.start", remedy: str = 'set start = "none"'
) -> Iterator[None]:
    """Name the remedy where a file that ships with the package cannot be read: StudyError in place of ValueError.

    `remedy` does without the file, by `key`.
    """
    try:
        yield
    except ValueError as error:
        message = f"the installed {file} is damaged; reinstall nightune, or {remedy}"
        raise StudyError(where, [Problem(key, message)]) from error


def trainable_params(study: Study, point: Params) -> dict[str, Value]:
    """Add the defaults; ValueError if params of the point contradict each other, so that its trial would fail."""
    complete = complete_params(study, point)
    read_recipe(complete)
    return {**silent_defaults(), **complete}
