"""Paired comparison of two configurations in a metric that is no mean over rows, or on rows that come in groups.

The statistical model is that of `paired_gain`: rows are resampled in pairs, and the part of the seeds' variance that
is common to all rows is added. The bootstrap is too narrow where few rows decide, such as those of a rare class. So its
draws get the variance of the jackknife within classes (Efron and Tibshirani 1993, chapter 11), which is larger there,
and the tails of Student's distribution (expanded percentile interval, Hesterberg 2015) with the degrees of freedom of
Satterthwaite (1946). Reasons and measurements: docs/decisions/0022.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nightune.tuning.analysis.paired_gain import (
    RESAMPLES,
    Gain,
    Losses,
    SeedSpread,
    compare,
    lower_confidences,
    refuse_bad_confidence,
)
from nightune.tuning.analysis.quantiles import normal_quantile, student_quantile
from nightune.tuning.analysis.resampling import Codes, TestRows, Weights

Values = npt.NDArray[np.float64]
Metric = Callable[[Weights], Values]  # weights (resamples, rows) → the loss of one model in each, lower is better

CELLS = 1_600_000_000  # models × rows × resamples: about 15 s of one processor for the area under the curve
FEWEST_RESAMPLES = 1000  # with more rows than allow so many, the jackknife's normal distribution replaces the bootstrap


class UndefinedMetricError(ValueError):
    """The metric is not defined on these rows, or its variance is not: too few rows of a class, or groups."""


@dataclass(frozen=True, eq=False)
class Side:
    """The models of one configuration: their losses of rows, and the metric of each, if that is not their mean."""

    losses: Losses
    metrics: tuple[Metric, ...] = ()

    @property
    def serving(self) -> "Side":
        """The first model alone."""
        return Side(self.losses[:1], self.metrics[:1])

    @property
    def functions(self) -> tuple[Metric, ...]:
        """The metric of each model as a function of weights."""
        return self.metrics or tuple(map(_mean_of, self.losses))


def compare_sides(
    challenger: Side, opponent: Side, rows: TestRows, confidence: float, seed: int, opponent_is_fixed: bool = False
) -> Gain:
    """Return the gain: by the mean losses of independent rows, or by the metric, groups or weights of rows.

    UndefinedMetricError where the metric or its variance is undefined.
    """
    if not challenger.metrics and rows.are_plain:
        return compare(challenger.losses, opponent.losses, confidence, seed, opponent_is_fixed)
    return compare_metrics(challenger.functions, opponent.functions, rows, confidence, seed, opponent_is_fixed)


def refuse_undefined(side: Side, rows: TestRows) -> None:
    """Raise UndefinedMetricError if a metric of the side, or its variance, is not defined on the rows."""
    if side.metrics or not rows.are_plain:
        _measured(side.functions, rows)


def compare_metrics(
    challenger: Sequence[Metric],
    opponent: Sequence[Metric],
    rows: TestRows,
    confidence: float,
    seed: int,
    opponent_is_fixed: bool = False,
) -> Gain:
    """Return the gain in the metric with a central interval; deterministic."""
    refuse_bad_confidence(confidence)
    models, own = [*challenger, *opponent], len(challenger)
    values, left_out = _measured(models, rows)
    gain = _gain(values[:, None], own)[0]
    deviations = _gain(left_out, own) - gain
    generator = np.random.default_rng(seed)
    row_draws = _row_draws(models, own, rows, deviations, generator)
    spread = _seed_spread(values, left_out, rows, own, opponent_is_fixed)
    seed_draws = spread.draw(generator)
    degrees = _degrees(deviations, rows.blocks)

    def interval(level: float) -> tuple[float, float]:
        tail = (1 - level) / 2
        wider = student_quantile(degrees, tail) / normal_quantile(tail)
        low, high = np.quantile(gain + wider * row_draws + seed_draws, [tail, 1 - tail])
        return float(low), float(high)

    low, high = interval(confidence)
    return Gain(
        gain=float(gain),
        low=low,
        high=high,
        confidence=confidence,
        challenger_loss=float(values[:own].mean()),
        opponent_loss=float(values[own:].mean()),
        challenger_models=own,
        opponent_models=len(opponent),
        rows=rows.count,
        seed_deviation=spread.deviation,
        seed_reach=spread.reach(confidence),
        lows=tuple((level, interval(level)[0]) for level in lower_confidences(confidence)),
        groups=None if rows.groups is None else rows.unit_count,
        is_weighted=rows.weights is not None,
    )


def _measured(models: Sequence[Metric], rows: TestRows) -> tuple[Values, Values]:
    """Return each model's loss on all rows, (models,), and without each block of the jackknife, (models, blocks)."""
    values = _evaluate(models, iter([rows.all]))[:, 0]
    kind = "group" if rows.unit_count == 1 else "groups"
    units = f"{rows.count} test rows" + ("" if rows.groups is None else f" in {rows.unit_count} {kind}")
    if rows.unit_count < 2:
        raise UndefinedMetricError(f"{units} show no variance")
    left_out = _evaluate(models, rows.jackknife())
    if not (np.isfinite(values).all() and np.isfinite(left_out).all()):
        raise UndefinedMetricError(f"without some of the {units} it has no value")
    return values, left_out


def _row_draws(
    models: Sequence[Metric], own: int, rows: TestRows, deviations: Values, generator: np.random.Generator
) -> Values:
    """Draw deviations of the gain due to rows, with at least the jackknife's variance."""
    resamples = min(RESAMPLES, CELLS // (len(models) * rows.count))
    draws = np.zeros(RESAMPLES)
    if resamples >= FEWEST_RESAMPLES:
        gains = _gain(_evaluate(models, rows.bootstrap(generator, resamples)), own)
        gains = gains[np.isfinite(gains)]  # a resample of few rows may have constant targets
        draws = np.resize(gains - gains.mean(), RESAMPLES) if len(gains) else draws
    missing = max(float(_variances(deviations, rows.blocks).sum()) - float(draws.var()), 0.0)
    return draws + math.sqrt(missing) * generator.standard_normal(RESAMPLES)


def _seed_spread(values: Values, left_out: Values, rows: TestRows, own: int, opponent_is_fixed: bool) -> SeedSpread:
    """The variance over seeds, pooled over both sides, and its part that is due to rows."""
    between = by_rows = 0.0
    for side in (slice(0, own), slice(own, len(values))):
        scores = values[side] - values[side].mean()
        between += float((scores**2).sum())
        residuals = left_out[side] - left_out[side].mean(axis=0) - scores[:, None]
        by_rows += sum(float(_variances(residual, rows.blocks).sum()) for residual in residuals)
    return SeedSpread.pooled(between, (by_rows, 1), (own, len(values) - own), opponent_is_fixed)


def _variances(deviations: Values, blocks: Codes) -> Values:
    """The jackknife's variance from each stratum; about the full value, so that a lone row of a class has one."""
    counts = np.bincount(blocks)
    sums = np.bincount(blocks, weights=deviations**2)
    return np.where(counts > 1, (counts - 1) / counts, 1.0) * sums


def _degrees(deviations: Values, blocks: Codes) -> float:
    """The degrees of freedom of the variance: the larger of two estimates that are both too low.

    One counts the blocks of each stratum; the other, by fourth moments, the blocks that decide, in whatever stratum.
    """
    variances, counts = _variances(deviations, blocks), np.bincount(blocks)
    total = float(variances.sum())
    if total == 0.0:
        return float(len(blocks))
    by_strata = total**2 / float((variances**2 / np.maximum(counts - 1, 1)).sum())
    squares = deviations**2
    spread = float((squares**2).sum() / squares.sum() ** 2) - 1 / len(squares)
    by_moments = min(2 / spread, len(squares) - 1.0) if spread > 0 else len(squares) - 1.0
    return max(1.0, by_strata, by_moments)


def _gain(values: Values, own: int) -> Values:
    """Return the opponent's mean loss over its models minus the challenger's: (resamples,)."""
    gains: Values = values[own:].mean(axis=0) - values[:own].mean(axis=0)
    return gains


def _evaluate(models: Sequence[Metric], chunks: Iterator[Weights]) -> Values:
    """Return (models, resamples)."""
    parts = [np.stack([model(weights) for model in models]) for weights in chunks]
    return np.concatenate(parts, axis=1)


def _mean_of(losses: Values) -> Metric:
    def mean(weights: Weights) -> Values:
        total = weights.sum(axis=1)
        means: Values = weights @ losses / np.where(total > 0, total, np.nan)
        return means

    return mean
