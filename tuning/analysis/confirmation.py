"""Confirmation: compare finalists by trainings with fresh seeds.

The search score of the best of many one-seed trials is biased towards good luck (the winner's curse). Finalists are
therefore compared by the mean over replicates, which were not used to choose them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nightune.tuning.analysis.quantiles import student_quantile
from nightune.tuning.trial import Trial, TrialResult, trial_key
from nightune.vocabulary import sign_of, unknown_name

RESAMPLES = 10_000
ROUNDING = 1e-6  # relative: sums of the same float32 numbers in another order differ by less
COSTS = ("parameters", "seconds")


@dataclass(frozen=True, slots=True)
class Finalist:
    """A trial that was trained again: its search score, the scores of its replicates, and its costs.

    Scores are values of the study's objective. A finalist with a non-finite replicate (NaN) cannot win.
    """

    trial: int
    key: str
    run_id: str
    search_score: float
    scores: tuple[float, ...]
    parameters: int
    seconds: float  # of one training: the median over the replicates
    begins_alike: bool = False  # its replicates have the same initial weights, set by the model function

    @property
    def is_sound(self) -> bool:
        """True if every replicate has a finite score."""
        return bool(self.scores) and all(math.isfinite(score) for score in self.scores)

    @property
    def mean(self) -> float:
        """The confirmed score: the mean over the replicates."""
        return float(np.mean(self.scores)) if self.scores else math.nan


@dataclass(frozen=True, slots=True)
class ConfirmedFinalist:
    """A finalist with its interval. `is_within` is true if its mean is within one standard error of the best mean.

    Interval and probability are NaN where the replicates show no variance over seeds (`Confirmation.note`).
    """

    finalist: Finalist
    standard_error: float
    low: float
    high: float
    best_probability: float
    is_within: bool

    @property
    def optimism(self) -> float:
        """The search score minus the confirmed score."""
        return self.finalist.search_score - self.finalist.mean


@dataclass(frozen=True, slots=True)
class Claim:
    """The winner's gain over the median trial, with the lower end of its confidence interval.

    Both are positive if the winner is better, in either direction. `ordinary` is the median of the search scores.
    """

    gain: float
    low: float
    ordinary: float
    trials: int

    @property
    def is_shown(self) -> bool:
        """True if the gain is significant, corrected for the choice among the finalists."""
        return self.low > 0.0


@dataclass(frozen=True, slots=True)
class Confirmation:
    """All finalists, best mean first, those that cannot win last; the winner is the cheapest with `is_within`."""

    finalists: tuple[ConfirmedFinalist, ...]
    winner: ConfirmedFinalist | None
    confidence: float
    cost: str
    claim: Claim | None = None  # None: too few scores
    note: str = ""  # why there is no interval; empty if there is one

    def is_winner(self, finalist: ConfirmedFinalist) -> bool:
        """True for the winner; its interval may be NaN, which no comparison finds equal."""
        return self.winner is not None and finalist.finalist == self.winner.finalist


def confirm(finalists: Sequence[Finalist], direction: str, cost: str, confidence: float, seed: int) -> Confirmation:
    """Apply the one-standard-error rule (Breiman et al. 1984, section 3.4.3); deterministic.

    The variance over seeds is pooled over the finalists: that of three replicates can be close to zero by chance.
    `cost` is "parameters" or "seconds".
    """
    sign = sign_of(direction)
    if cost not in COSTS:
        raise ValueError(f"cost: {unknown_name(cost, COSTS)}")
    sound = sorted((each for each in finalists if each.is_sound), key=lambda each: (sign * each.mean, each.trial))
    broken = sorted((each for each in finalists if not each.is_sound), key=lambda each: each.trial)
    deviation, degrees = _pooled_deviation(sound)
    note = why_no_interval(sound)
    degrees = 0 if note else degrees
    chances = [math.nan] * len(sound) if note else _best_probabilities(sound, sign, seed)
    limit = sign * sound[0].mean + deviation / math.sqrt(len(sound[0].scores)) if sound else math.nan
    confirmed = [
        _confirmed(each, deviation, degrees, confidence, chance, len(sound) > 0 and not sign * each.mean > limit)
        for each, chance in zip(sound, chances, strict=True)
    ]
    lost = [ConfirmedFinalist(each, math.nan, math.nan, math.nan, 0.0, False) for each in broken]
    within = [each for each in confirmed if each.is_within]
    winner = min(within, key=lambda each: getattr(each.finalist, cost), default=None)  # equal costs: the best mean
    return Confirmation((*confirmed, *lost), winner, confidence, cost, note=note)


def is_rival(each: ConfirmedFinalist, held: Confirmation) -> bool:
    """True if a finalist may be the best one as far as the confirmation can tell."""
    return each.finalist.is_sound and each.best_probability > 1 - held.confidence


def seed_band(confirmation: Confirmation) -> float:
    """Return by how much two equally good trials of one seed each may differ, with the confirmation's confidence.

    NaN where the variance over seeds is unknown.
    """
    deviation, degrees = _deviation_of(confirmation)
    if not degrees:
        return math.nan
    return math.sqrt(2) * deviation * student_quantile(degrees, (1 + confirmation.confidence) / 2)


def seed_deviation(confirmation: Confirmation) -> float:
    """Return the standard deviation of one configuration over seeds, pooled over the finalists; NaN if unknown."""
    deviation, degrees = _deviation_of(confirmation)
    return deviation if degrees else math.nan


def why_no_interval(sound: Sequence[Finalist]) -> str:
    """Say why the scores of replicates show no variance over seeds; empty if they do."""
    if not sound:
        return ""
    if alike := [str(each.trial) for each in sound if each.begins_alike]:
        return (
            f"no interval: the model function sets the initial weights of trial {', '.join(alike)} itself, so its "
            "replicates differ by the order of the examples and by noise only"
        )
    if all(len(each.scores) == 1 for each in sound):
        return "no interval: one replicate shows no variance over seeds; raise confirmation.replicates"
    if all(np.ptp(each.scores) <= ROUNDING * abs(each.mean) for each in sound):
        return "no interval: the replicates of each finalist have equal scores, so they show no variance over seeds"
    return ""


def claim_better(confirmation: Confirmation, search_scores: Sequence[float], direction: str) -> Claim | None:
    """Compare the winner's replicates with the median of the finite search scores of trials that used their budget.

    The replicates were not used to choose the finalists, so only the choice among finalists is corrected (Bonferroni).
    The median of n scores has π/2n of one score's variance if the scores differ by seed only (Kenney, Keeping 1962,
    7.12): if all recipes are equal, the error rate is the stated one. None without a winner, without a variance over
    seeds, and for fewer than three scores.
    """
    sound = [each.finalist for each in confirmation.finalists if each.finalist.is_sound]
    finite = [score for score in search_scores if math.isfinite(score)]
    deviation, degrees = _pooled_deviation(sound)
    if confirmation.winner is None or not degrees or why_no_interval(sound) or len(finite) < 3:
        return None
    winner, ordinary = confirmation.winner.finalist, float(np.median(finite))
    gain = (ordinary - winner.mean) * sign_of(direction)
    error = deviation * math.sqrt(1 / len(winner.scores) + math.pi / (2 * len(finite)))
    quantile = student_quantile(degrees, 1 - (1 - confirmation.confidence) / len(sound))
    return Claim(gain, gain - quantile * error, ordinary, len(finite))


def replicates(result: TrialResult, count: int, study_seed: int) -> list[Trial]:
    """Return the trial's replicates 1..count: its params with fresh seeds that depend on the study and trial only."""
    words = [int(result.trial.key[start : start + 8], 16) for start in (0, 8)]
    trials = []
    for number in range(1, count + 1):
        seed = int(np.random.SeedSequence([study_seed, *words, number]).generate_state(1, np.uint32)[0]) >> 1
        key = trial_key({"replicate_of": result.trial.key, "seed": seed})
        trials.append(Trial(result.trial.number, result.trial.params, seed, key, number, result.run_id))
    return trials


def _confirmed(
    finalist: Finalist, deviation: float, degrees: int, confidence: float, chance: float, is_within: bool
) -> ConfirmedFinalist:
    error = deviation / math.sqrt(len(finalist.scores))
    reach = error * student_quantile(degrees, (1 + confidence) / 2) if degrees else math.nan
    return ConfirmedFinalist(finalist, error, finalist.mean - reach, finalist.mean + reach, chance, is_within)


def _deviation_of(confirmation: Confirmation) -> tuple[float, int]:
    """The pooled standard deviation and its degrees of freedom; 0 of them where the variance is unknown."""
    sound = [each.finalist for each in confirmation.finalists if each.finalist.is_sound]
    return (0.0, 0) if confirmation.note else _pooled_deviation(sound)


def _pooled_deviation(finalists: Sequence[Finalist]) -> tuple[float, int]:
    """The standard deviation over seeds and its degrees of freedom; 0 and 0 if no finalist has two replicates."""
    degrees = sum(len(each.scores) - 1 for each in finalists)
    squares = sum(float(np.sum((np.array(each.scores) - each.mean) ** 2)) for each in finalists)
    return (math.sqrt(squares / degrees), degrees) if degrees else (0.0, 0)


def _best_probabilities(finalists: Sequence[Finalist], sign: float, seed: int) -> list[float]:
    """The bootstrap probability of each to have the best mean, with replicates drawn from the pooled residuals."""
    if not finalists:
        return []
    residuals = np.concatenate([_residuals(each) for each in finalists])
    generator = np.random.default_rng(seed)
    means = np.stack(
        [
            sign * each.mean + generator.choice(residuals, (RESAMPLES, len(each.scores))).mean(axis=1)
            for each in finalists
        ]
    )
    wins = np.bincount(means.argmin(axis=0), minlength=len(finalists))
    return [float(count) / RESAMPLES for count in wins]


def _residuals(finalist: Finalist) -> np.ndarray:
    """Deviations from the mean, scaled by √(n/(n−1)), because deviations of few values are too small."""
    count = len(finalist.scores)
    scale = math.sqrt(count / (count - 1)) if count > 1 else 0.0
    return scale * (np.array(finalist.scores) - finalist.mean)
