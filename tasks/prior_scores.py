"""What a search expects before its first result: the shipped scores of recorded configurations, in a study's space."""

from functools import partial

from nightune.tasks.propose_trials import complete_params
from nightune.tuning.search.prior_mean import PriorMean
from nightune.tuning.search.recorded_scores import FILE, prior_of, read_recorded_scores
from nightune.tuning.study.study import Study


def prior_scores(study: Study, task: str) -> PriorMean | None:
    """Return the prior mean of a study's space for the task of its data; None if it has none.

    Only for a search that begins with the portfolio, of one objective. Of several heads, as of labels and positions,
    the scores are those for classification.
    """
    if not (study.search.begins_with_portfolio and study.search.row.is_expecting and FILE.exists()):
        return None
    if study.objective.further:
        return None
    kind = "regression" if task == "regression" else "classification"
    return prior_of(read_recorded_scores(), study.space, kind, partial(complete_params, study))
