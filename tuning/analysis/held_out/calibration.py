"""Calibration errors, each beside those of chance alone: sound predictions of few rows look badly calibrated, too."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nightune.tuning.analysis.held_out.summary import Bin, Calibration

Array = npt.NDArray[np.float64]

BINS = 10
DRAWS = 200
MOST_ROWS = 20_000  # to simulate
EXPECTED = "expected calibration error"
COVERAGE = "quantile coverage error"
BIAS = "mean absolute bias of ten bins"


def of_probabilities(shares: Array, hits: npt.NDArray[np.bool_], weights: Array, seed: int) -> Calibration:
    """Return the expected calibration error (Naeini et al., 2015) in ten bins of equal width.

    `shares` are probabilities, (models, rows), and `hits` whether their events occurred. Chance is simulated:
    outcomes drawn by the probabilities themselves, for all models of a row by one number.
    """
    shares, hits, weights = _part(shares, hits, weights)
    places = np.minimum((shares * BINS).astype(np.int64), BINS - 1)
    generator = np.random.default_rng(seed)
    drawn = [_error(places, shares, generator.random(shares.shape[1]) < shares, weights, BINS) for _ in range(DRAWS)]
    bins = _bins(places, shares, hits.astype(float), weights, np.linspace(0.0, 1.0, BINS + 1))
    return _calibration(EXPECTED, _error(places, shares, hits, weights, BINS), drawn, bins)


def of_quantiles(predicted: Array, truths: Array, levels: Sequence[float], weights: Array, seed: int) -> Calibration:
    """Return the mean distance of each level from the share of rows that are at most its prediction.

    `predicted` is (models, rows, levels), `truths` (rows,). Chance is that of rows independent of each other.
    """
    wanted = np.asarray(levels, float)
    shares = weights / weights.sum()
    covered = np.einsum("mrl,r->ml", (truths[None, :, None] <= predicted).astype(float), shares)
    generator, draws = np.random.default_rng(seed), []
    for _ in range(DRAWS):
        found = (generator.random(len(truths))[:, None] <= wanted).astype(float).T @ shares
        draws.append(float(np.mean(np.abs(found - wanted))))
    rows = float(len(truths))
    bins = tuple(
        (level, level, rows, level, float(share)) for level, share in zip(levels, covered.mean(0), strict=True)
    )
    return _calibration(COVERAGE, float(np.mean(np.abs(covered - wanted))), draws, bins)


def of_quantity(predicted: Array, truths: Array, weights: Array, seed: int) -> Calibration | None:
    """Return the mean distance of prediction and truth in ten bins of equal counts of predictions.

    `predicted` is (models, rows). Chance is that of errors whose signs are drawn. None for fewer than 20 rows, and for
    one prediction alone.
    """
    middle = predicted.mean(axis=0)
    edges = np.unique(np.quantile(middle, np.linspace(0.0, 1.0, BINS + 1)))
    if len(truths) < 2 * BINS or len(edges) < 3:
        return None
    places = np.clip(np.searchsorted(edges, middle, side="right") - 1, 0, len(edges) - 2)[None]
    guesses, known = middle[None], truths[None]
    generator, errors = np.random.default_rng(seed), (middle - truths)[None]
    signs = (generator.choice([-1.0, 1.0], errors.shape) for _ in range(DRAWS))
    draws = [_error(places, guesses, guesses - sign * errors, weights, len(edges) - 1) for sign in signs]
    bins = _bins(places, guesses, known, weights, edges)
    return _calibration(BIAS, _error(places, guesses, known, weights, len(edges) - 1), draws, bins)


def _part(shares: Array, hits: npt.NDArray[np.bool_], weights: Array) -> tuple[Array, npt.NDArray[np.bool_], Array]:
    step = -(-shares.shape[1] // MOST_ROWS)
    return shares[:, ::step], hits[:, ::step], weights[::step]


def _error(places: npt.NDArray[np.int64], shares: Array, hits: np.ndarray, weights: Array, bins: int) -> float:
    """The mean over models of Σ |Σ w (hit − share)| over the bins, by the sum of the weights."""
    total = float(weights.sum())
    errors = [
        np.abs(np.bincount(place, weights * (hit - share), bins)).sum() / total
        for place, share, hit in zip(places, shares, hits, strict=True)
    ]
    return float(np.mean(errors))


def _bins(
    places: npt.NDArray[np.int64], shares: Array, observed: Array, weights: Array, edges: Array
) -> tuple[Bin, ...]:
    """Return the bins that have rows: their counts are means over the models."""
    count, models = len(edges) - 1, len(places)
    flat, each = places.reshape(-1), np.tile(weights, models)
    rows, sums, seen = (
        np.bincount(flat, value, count) for value in (each, each * shares.reshape(-1), each * observed.reshape(-1))
    )
    return tuple(
        (
            float(edges[n]),
            float(edges[n + 1]),
            float(rows[n] / models),
            float(sums[n] / rows[n]),
            float(seen[n] / rows[n]),
        )
        for n in range(count)
        if rows[n] > 0
    )


def _calibration(name: str, error: float, draws: Sequence[float], bins: tuple[Bin, ...]) -> Calibration:
    usual, high = np.quantile(draws, [0.5, 0.95])
    return Calibration(name, error, float(usual), float(high), bins)
