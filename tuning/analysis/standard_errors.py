"""The standard error of a score of one seed, where it is known, and which trials are as good as the best."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nightune.tuning.analysis.confirmation import Confirmation, seed_deviation
from nightune.tuning.analysis.quantiles import student_quantile
from nightune.tuning.trial import TrialResult
from nightune.vocabulary import POSITIONS, POSITIONS_SAID, TOP_METRICS, VALIDATION_PREFIX, WEIGHTED_SAID, sign_of

# Shares of rows that are right, independently of each other.
SHARE_METRICS = ("val_accuracy", *(f"{VALIDATION_PREFIX}{name}" for name in TOP_METRICS))
POOLED_FOLDS = "of the mean over folds, pooled over the better half of the trials"
OF_BEST_ROWS = "by the held-out rows of the best trial"
RANKING_SPLITS = ("ranking", "validation")  # the first one that a study has ranks its trials


@dataclass(frozen=True, slots=True)
class StandardErrors:
    """One standard error of the objective by trial number, and where it is from, in words; empty where unknown."""

    by_trial: Mapping[int, float] = field(default_factory=dict)
    source: str = ""

    def is_alike(self, result: TrialResult, best: TrialResult, direction: str) -> bool:
        """True if a ranked result is within one standard error of the best one; False where that is unknown."""
        error = self.by_trial.get(best.trial.number, math.nan)
        return result.is_ranked and sign_of(direction) * (result.objective - best.objective) <= error


UNKNOWN = StandardErrors()


def standard_errors(
    results: Sequence[TrialResult],
    confirmation: Confirmation | None,
    fold_errors: Mapping[int, float],
    rows: int | None,
    of_best: float | None = None,
) -> StandardErrors:
    """Return the errors of the ranked results, which are best first: by seeds once confirmed, else by folds, or rows.

    `fold_errors` are those of means over folds by trial number, `rows` is the number of rows that the objective is a
    share of; None if it is no share, or if rows have weights. Those of folds are pooled over the better half: the
    spread of three folds can be next to nothing by chance. `of_best` is that of the best trial's mean over its rows,
    which stands for all.
    """
    ranked = [result for result in results if result.is_ranked]
    deviation = math.nan if confirmation is None else seed_deviation(confirmation)
    if math.isfinite(deviation):
        errors = {each.trial.number: deviation for each in ranked}
        return StandardErrors(errors, "between seeds of one configuration")
    known = [fold_errors[each.trial.number] for each in ranked if each.trial.number in fold_errors]
    if known:
        better = known[: math.ceil(len(known) / 2)]
        pooled = math.sqrt(sum(error**2 for error in better) / len(better))
        return StandardErrors({each.trial.number: pooled for each in ranked}, POOLED_FOLDS)
    if rows:
        errors = {each.trial.number: share_error(each.objective, rows) for each in ranked}
        return StandardErrors(errors, f"by {rows} held-out rows")
    if of_best is not None:
        return StandardErrors({each.trial.number: of_best for each in ranked}, OF_BEST_ROWS)
    return UNKNOWN


def fold_reach(error: float, folds: int, confidence: float) -> float:
    """Return half the interval of a mean over folds from its standard error, by Student's t with a degree per fold
    less one: trials share their folds, so that pooling their errors adds none.
    """
    return error * student_quantile(folds - 1, (1 + confidence) / 2)


def share_error(share: float, rows: int) -> float:
    """Return the standard error of a share of so many rows; above 0 also for 0 and 1 (Agresti, Coull, 1998)."""
    middle = (share * rows + 2) / (rows + 4)
    return math.sqrt(middle * (1 - middle) / (rows + 4))


def rows_of_share(
    metric: str, row_counts: Mapping[str, int], data: object, findings: Sequence[str] = (), task: str = ""
) -> int | None:
    """Return the number of rows that the objective is a share of, all of the same weight; None if it is no such share.

    `metric` is a known one, of several heads as if one were the only one. `data` is the section of the study's
    content. Weights that no key of it names are a finding about the data. `task` is that of the data's profile, which
    the content may not name; empty if unknown. Classes at positions are a share of these, which depend on each other:
    with a head of them, which the findings name, no share has an error.
    """
    if task == POSITIONS or any(POSITIONS_SAID in finding for finding in findings):
        return None
    rows = ranking_rows(row_counts)
    is_weighted = not isinstance(data, Mapping) or any("weight" in str(key) and value for key, value in data.items())
    is_weighted = is_weighted or any(WEIGHTED_SAID in finding for finding in findings)
    return None if metric not in SHARE_METRICS or is_weighted else rows


def ranking_rows(row_counts: Mapping[str, int]) -> int | None:
    """Return the number of rows that the objective is computed from; None where it is not recorded."""
    return next((row_counts[name] for name in RANKING_SPLITS if name in row_counts), None)
