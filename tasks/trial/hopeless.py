"""Which results say whether a sweep can succeed."""

from collections.abc import Iterable, Sequence

from nightune.models.recipe.params import read_recipe
from nightune.tuning.trial import Params, Status, TrialResult


def counted(results: Iterable[TrialResult]) -> list[TrialResult]:
    """Leave out failed trials whose params contradict each other: they were refused, and others may be trained."""
    return [each for each in results if each.status is not Status.FAILED or not _is_refused(each.trial.params)]


def evidence(ended: Sequence[TrialResult]) -> list[TrialResult]:
    """Return one trial that did not fail, which says enough, or all."""
    return next(([result] for result in ended if result.status is not Status.FAILED), list(ended))


def failed_message(sweep_id: str, cause: TrialResult, failed: int, left: int) -> str:
    """Return why a sweep ends whose first trials failed with one cause, and what to do."""
    where = f"The traceback is error.txt of run {cause.run_id}."
    remedy = "Correct the cause; then run the same command again, with --retry-failed unless code or packages changed."
    ends = f"{sweep_id} ends: its first {failed} trials failed with one cause; {left} others were not trained."
    return f"{ends}\n  {cause.message}\n  {where}\n  {remedy}"


def _is_refused(params: Params) -> bool:
    try:
        read_recipe(params)
    except ValueError:
        return True
    return False
