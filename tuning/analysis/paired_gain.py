"""Paired comparison of two configurations: an interval of the gain, from losses of several models on the same rows.

The interval covers two sources of variance: the sample of rows, and the seeds. Rows are resampled in pairs (Efron and
Tibshirani 1993, chapter 8), which includes the effect of a seed on single rows. The effect of a seed on all rows is
estimated from the variance of the models' scores, as in a crossed random-effects model (Owen 2007), and added.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nightune.tuning.analysis.quantiles import student_quantile
from nightune.vocabulary import shown

Losses = npt.NDArray[np.float64]  # (models, rows), lower is better, the same rows for every model

RESAMPLES = 4000
CHUNK_CELLS = 250_000  # row numbers per draw: 2 MB, which fit into a processor cache
LEVELS = (0.95, 0.9, 0.8, 0.7, 0.6, 0.5)  # confidences at which a refused gain is looked at again


@dataclass(frozen=True, slots=True)
class Gain:
    """The opponent's mean loss minus the challenger's, with an interval. All in units of the loss.

    The loss of a metric that is maximized is 1 minus its value, so that a gain is always in the metric's unit.
    """

    gain: float
    low: float
    high: float
    confidence: float
    challenger_loss: float
    opponent_loss: float
    challenger_models: int
    opponent_models: int
    rows: int
    seed_deviation: float  # of one model's mean loss over seeds; NaN if no side has two models
    seed_reach: float = 0.0  # the part of the interval below the gain that more test rows would not shorten
    lows: tuple[tuple[float, float], ...] = ()  # lower confidences with the lower ends of their intervals
    groups: int | None = None  # of the rows, if these were resampled in groups
    is_weighted: bool = False  # losses are means by the weights of rows

    def is_above(self, minimum: float) -> bool:
        """True if the lower end of the interval is above the minimum."""
        return self.low > minimum


def compare(
    challenger: Losses, opponent: Losses, confidence: float, seed: int, opponent_is_fixed: bool = False
) -> Gain:
    """Return the gain with a central interval; deterministic.

    A fixed opponent, such as a constant baseline, does not depend on seeds. ValueError unless both have finite losses
    of the same rows.
    """
    _refuse_unpaired(challenger, opponent)
    refuse_bad_confidence(confidence)
    rows = challenger.shape[1]
    differences = opponent.mean(axis=0) - challenger.mean(axis=0)
    generator = np.random.default_rng(seed)
    spread = SeedSpread.of(challenger, opponent, opponent_is_fixed)
    draws = _resampled_means(differences, generator) + spread.draw(generator)
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Gain(
        gain=float(differences.mean()),
        low=float(low),
        high=float(high),
        confidence=confidence,
        challenger_loss=float(challenger.mean()),
        opponent_loss=float(opponent.mean()),
        challenger_models=len(challenger),
        opponent_models=len(opponent),
        rows=rows,
        seed_deviation=spread.deviation,
        seed_reach=spread.reach(confidence),
        lows=tuple((level, float(np.quantile(draws, (1 - level) / 2))) for level in lower_confidences(confidence)),
    )


def refuse_bad_confidence(confidence: float) -> None:
    """Raise ValueError unless the confidence is a share between 0 and 1."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: {shown(confidence)} is not between 0 and 1 (both excluded)")


def lower_confidences(confidence: float) -> tuple[float, ...]:
    """Return round confidences below this one, the highest first."""
    return tuple(level for level in LEVELS if level < confidence)


@dataclass(frozen=True)
class SeedSpread:
    """The variance of a model's mean loss over seeds, pooled over both sides, because there are few models."""

    deviation: float  # of one model's mean loss, NaN if unknown
    shift_variance: float  # the part of its square that is common to all rows
    degrees: int
    weight: float  # of the variance in the difference of the two means: 1/m + 1/n models

    @classmethod
    def of(cls, challenger: Losses, opponent: Losses, opponent_is_fixed: bool) -> "SeedSpread":
        """Estimate it from losses of shape (models, rows)."""
        rows = challenger.shape[1]
        between = within = 0.0
        for losses in (challenger, opponent):
            scores = losses.mean(axis=1, keepdims=True) - losses.mean()
            residuals = losses - losses.mean(axis=0) - scores
            between += float((scores**2).sum())
            within += float((residuals**2).sum()) / max(rows - 1, 1)
        return cls.pooled(between, (within, rows), (len(challenger), len(opponent)), opponent_is_fixed)

    @classmethod
    def pooled(
        cls, between: float, by_rows: tuple[float, int], models: tuple[int, int], opponent_is_fixed: bool
    ) -> "SeedSpread":
        """Divide sums over the models of both sides: of their squared scores, and of the variances due to rows.

        Of these, the sum is that of a mean over as many rows.
        """
        degrees = sum(models) - 2
        weight = 1 / models[0] + (0.0 if opponent_is_fixed else 1 / models[1])
        if degrees == 0:
            return cls(math.nan, 0.0, 0, weight)
        within, rows = by_rows
        variance, by_row = between / degrees, within / degrees / rows
        return cls(math.sqrt(variance), max(variance - by_row, 0.0), degrees, weight)

    def draw(self, generator: np.random.Generator) -> npt.NDArray[np.float64]:
        """Draw shifts of the difference due to seeds, from Student's t: the variance is estimated from few models."""
        if self.shift_variance == 0.0:
            return np.zeros(RESAMPLES)
        return generator.standard_t(self.degrees, RESAMPLES) * math.sqrt(self.shift_variance * self.weight)

    def reach(self, confidence: float) -> float:
        """Return how far these shifts alone move the lower end of an interval."""
        if self.shift_variance == 0.0:
            return 0.0
        return student_quantile(self.degrees, (1 + confidence) / 2) * math.sqrt(self.shift_variance * self.weight)


def _resampled_means(values: npt.NDArray[np.float64], generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """Bootstrap means: RESAMPLES times the mean of as many rows, drawn with replacement."""
    rows, means = len(values), np.empty(RESAMPLES)
    step = max(1, CHUNK_CELLS // rows)
    for start in range(0, RESAMPLES, step):
        count = min(step, RESAMPLES - start)
        means[start : start + count] = values[generator.integers(0, rows, (count, rows))].mean(axis=1)
    return means


def _refuse_unpaired(challenger: Losses, opponent: Losses) -> None:
    for name, losses in (("challenger", challenger), ("opponent", opponent)):
        if losses.ndim != 2 or losses.size == 0:
            raise ValueError(f"{name}: losses of shape {losses.shape} (needed: (models, rows), both at least 1)")
        if not np.isfinite(losses).all():
            raise ValueError(f"{name}: losses are not all finite")
    if challenger.shape[1] != opponent.shape[1]:
        raise ValueError(f"{challenger.shape[1]} and {opponent.shape[1]} rows: a paired comparison needs the same rows")
