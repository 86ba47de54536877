"""Is one configuration better than another? Losses of several models of each, on the very same rows, give an interval.

Two things make an honest interval wide: other rows might have been drawn, and other seeds. Rows are resampled in pairs
(Efron and Tibshirani 1993, chapter 8). What a seed does row by row is in that already; what it shifts in all rows
alike is estimated from the spread of the models' scores, as in a crossed random-effects model (Owen 2007), and added.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nightune.vocabulary import shown

Losses = npt.NDArray[np.float64]  # (models, rows), lower is better, the same rows for every model

RESAMPLES = 4000
CHUNK_CELLS = 4_000_000  # row numbers drawn at a time: 32 MB


@dataclass(frozen=True, slots=True)
class Gain:
    """By how much the challenger's mean loss is below its opponent's, with an interval. All in units of the loss."""

    gain: float
    low: float
    high: float
    confidence: float
    challenger_loss: float
    opponent_loss: float
    challenger_models: int
    opponent_models: int
    rows: int
    seed_deviation: float  # of one model's mean loss over seeds; NaN where no side has two models

    def is_above(self, minimum: float) -> bool:
        """True if even the low end of the interval is above the minimum."""
        return self.low > minimum


def compare(
    challenger: Losses, opponent: Losses, confidence: float, seed: int, opponent_is_fixed: bool = False
) -> Gain:
    """Return the gain with a central interval; the same arguments give the same numbers.

    A fixed opponent has no seeds, such as a guess that ignores the inputs. ValueError unless both hold finite losses
    of the same rows.
    """
    _refuse_unpaired(challenger, opponent)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: {shown(confidence)} is not a share above 0, below 1")
    rows = challenger.shape[1]
    differences = opponent.mean(axis=0) - challenger.mean(axis=0)
    generator = np.random.default_rng(seed)
    spread = _SeedSpread.of(challenger, opponent, opponent_is_fixed)
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
    )


@dataclass(frozen=True)
class _SeedSpread:
    """What seeds do to a model's mean loss. Both sides are taken to vary alike, so that few models tell more."""

    deviation: float  # of one model's mean loss, NaN where unknown
    shift_variance: float  # the part of its square that moves all rows alike
    degrees: int
    weight: float  # of the variance in the difference of the two means: 1/m + 1/n models

    @classmethod
    def of(cls, challenger: Losses, opponent: Losses, opponent_is_fixed: bool) -> "_SeedSpread":
        degrees = len(challenger) + len(opponent) - 2
        weight = 1 / len(challenger) + (0.0 if opponent_is_fixed else 1 / len(opponent))
        if degrees == 0:
            return cls(math.nan, 0.0, 0, weight)
        rows = challenger.shape[1]
        between = within = 0.0
        for losses in (challenger, opponent):
            scores = losses.mean(axis=1, keepdims=True) - losses.mean()
            residuals = losses - losses.mean(axis=0) - scores
            between += float((scores**2).sum())
            within += float((residuals**2).sum()) / max(rows - 1, 1)
        variance, by_row = between / degrees, within / degrees / rows
        return cls(math.sqrt(variance), max(variance - by_row, 0.0), degrees, weight)

    def draw(self, generator: np.random.Generator) -> npt.NDArray[np.float64]:
        """Shifts of the difference by other seeds, with the tails of a variance known from few models (Student)."""
        if self.shift_variance == 0.0:
            return np.zeros(RESAMPLES)
        return generator.standard_t(self.degrees, RESAMPLES) * math.sqrt(self.shift_variance * self.weight)


def _resampled_means(values: npt.NDArray[np.float64], generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """Means of as many rows drawn with replacement, RESAMPLES times."""
    rows, means = len(values), np.empty(RESAMPLES)
    step = max(1, CHUNK_CELLS // rows)
    for start in range(0, RESAMPLES, step):
        count = min(step, RESAMPLES - start)
        means[start : start + count] = values[generator.integers(0, rows, (count, rows))].mean(axis=1)
    return means


def _refuse_unpaired(challenger: Losses, opponent: Losses) -> None:
    for name, losses in (("challenger", challenger), ("opponent", opponent)):
        if losses.ndim != 2 or losses.size == 0:
            raise ValueError(f"{name}: losses of shape {losses.shape}; (models, rows) with one of each is needed")
        if not np.isfinite(losses).all():
            raise ValueError(f"{name}: losses are not all finite")
    if challenger.shape[1] != opponent.shape[1]:
        raise ValueError(f"{challenger.shape[1]} rows and {opponent.shape[1]}: the comparison is paired")
