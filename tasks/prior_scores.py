"""What a search expects before its first result: the shipped scores of recorded configurations, in a study's space."""

from functools import partial

from nightune.tasks.first_points import damage_refused, recorded_kind, trainable_params
from nightune.tuning.search.prior_mean import PriorMean
from nightune.tuning.search.recorded_scores import has_recorded_scores, prior_of, read_recorded_scores
from nightune.tuning.study.study import Study


def prior_scores(study: Study, task: str) -> PriorMean | None:
    """Return the prior mean of a study's space for the task of its data; None if it has none.

    Only for a search that begins with the portfolio, of one objective. StudyError if the installed scores are damaged.
    """
    if not (study.search.begins_with_portfolio and study.search.row.is_expecting and has_recorded_scores()):
        return None
    if study.objective.further:
        return None
    with damage_refused("recorded_scores.json", str(study.path)):
        recorded = read_recorded_scores()
    return prior_of(recorded, study.space, recorded_kind(task), partial(trainable_params, study))
