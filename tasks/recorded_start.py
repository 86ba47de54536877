"""Begin a replay of recorded trials as `nightune tune` begins a search: with the portfolio and recorded scores."""

from functools import partial

from nightune.models.recipe.params import read_recipe, resolve, silent_defaults
from nightune.tasks.first_points import damage_refused, recorded_kind
from nightune.tuning.recorded_search import Start
from nightune.tuning.search.portfolio import Fitted, Portfolio, begin, is_shipped, read_portfolio
from nightune.tuning.search.recorded_scores import has_recorded_scores, prior_of, read_recorded_scores
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.trial import Params, Value

METHODS, REMEDY = "--methods", "leave auto out"


def recorded_start(space: SearchSpace, task: str, has_scores: bool, where: str) -> Start:
    """Return what `auto` begins with in a space, for the task of its data; draws if no portfolio is installed.

    Its model has no scores on other data unless `has_scores` is set, as for one objective. StudyError names `where` if
    an installed file is damaged.
    """
    kind, portfolio, prior = recorded_kind(task), None, None
    if is_shipped():
        with damage_refused("portfolio.json", where, METHODS, REMEDY):
            portfolio = read_portfolio()
    if has_scores and has_recorded_scores():
        with damage_refused("recorded_scores.json", where, METHODS, REMEDY):
            recorded = read_recorded_scores()
        prior = prior_of(recorded, space, kind, _complete)
    return Start(partial(_fitted, portfolio, space, kind), prior)


def _fitted(portfolio: Portfolio | None, space: SearchSpace, kind: str, seed: int) -> tuple[Fitted, ...]:
    """Return the configurations as the first sweep of a study with this seed begins with them."""
    return () if portfolio is None else begin(portfolio, space, kind, _complete, (), (seed, 0)).fitted


def _complete(point: Params) -> dict[str, Value]:
    """Add the defaults, of the model's params excepted: its function need not exist any more."""
    complete = resolve(point)
    read_recipe(complete)
    return {**silent_defaults(), **complete}
