"""Which results say whether a sweep can succeed."""

from collections.abc import Iterable

from nightune.models.recipe.params import read_recipe
from nightune.tuning.trial import Params, TrialResult


def counted(results: Iterable[TrialResult]) -> list[TrialResult]:
    """Leave out trials whose params contradict each other: they are refused, and others may be trained."""
    return [result for result in results if not _is_refused(result.trial.params)]


def _is_refused(params: Params) -> bool:
    try:
        read_recipe(params)
    except ValueError:
        return True
    return False
