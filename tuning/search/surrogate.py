"""A Gaussian process of the objective: scikit-learn's, with lengths shared by columns and priors on its settings."""

from dataclasses import dataclass
from threading import Lock
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np
from cachetools import LRUCache, cached

LIMIT_FITTED = 160  # points at most to fit lengths, signal and noise: beyond them these change little
NOISE = (1e-4, 2.0)  # variance of the noise, where the scores' variance is 1; the same for the next two
SIGNAL = (0.05, 20.0)
LENGTH = (0.02, 20.0)
# Priors on the logarithms, as (mean, deviation); that of the lengths' mean grows with the number of parts.
NOISE_PRIOR, SIGNAL_PRIOR, LENGTH_DEVIATION = (np.log(0.1), 1.5), (0.0, 0.7), 0.9
ITERATIONS = 30


@dataclass(frozen=True)
class Posterior:
    """The scores that a model expects at places: their means, (places,), and covariances without noise."""

    mean: np.ndarray
    covariance: np.ndarray
    noise: float


@dataclass(frozen=True)
class Surrogate:
    """A Gaussian process of scores, (points, columns) → scores, fitted to some of them."""

    process: Any
    noise: float

    def mean(self, places: np.ndarray) -> np.ndarray:
        """Return the scores that are expected at places, (places, columns)."""
        return np.asarray(self.process.predict(places))

    def at(self, places: np.ndarray) -> Posterior:
        """Return the scores that are expected at places, (places, columns), and their covariances."""
        mean, covariance = self.process.predict(places, return_cov=True)
        return Posterior(mean, covariance - self.noise * np.eye(len(places)), self.noise)


def _identity(*arrays: np.ndarray) -> tuple[object, ...]:
    return tuple((each.shape, each.tobytes()) for each in arrays)


@cached(LRUCache(maxsize=1), key=_identity, lock=Lock())
def fitted(rows: np.ndarray, scores: np.ndarray, groups: np.ndarray) -> Surrogate:
    """Fit a Gaussian process with a Matérn 5/2 kernel to scores of mean 0 and variance 1.

    `rows` are (points, columns); columns of one of the `groups` share a length. Lengths, signal and noise are those of
    the largest posterior density, fitted to the first `LIMIT_FITTED` rows. The last one is kept: what proposes a round
    is also asked what it expects of it.
    """
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415
    from sklearn.gaussian_process import GaussianProcessRegressor  # noqa: PLC0415 - takes half a second
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel  # noqa: PLC0415

    def regressor(kernel: Any, optimizer: Any) -> Any:
        return GaussianProcessRegressor(kernel, alpha=1e-6, optimizer=optimizer)

    lengths = np.full(rows.shape[1], np.exp(_length_mean(groups)))
    start = ConstantKernel(1.0, SIGNAL) * Matern(lengths, LENGTH, nu=2.5) + WhiteKernel(0.1, NOISE)
    few = slice(None, LIMIT_FITTED)
    with catch_warnings():
        simplefilter("ignore", ConvergenceWarning)  # a length at its upper end: the objective does not depend on it
        kernel = regressor(start, _Fit(groups)).fit(rows[few], scores[few]).kernel_
    return Surrogate(regressor(kernel, None).fit(rows, scores), float(kernel.k2.noise_level))


def posterior(rows: np.ndarray, scores: np.ndarray, groups: np.ndarray, places: np.ndarray) -> Posterior:
    """Return what a Gaussian process that is `fitted` to the scores of rows expects at places, (places, columns)."""
    return fitted(rows, scores, groups).at(places)


@dataclass(frozen=True)
class _Fit:
    """An optimizer for scikit-learn: it maximizes likelihood times priors, with one length for each group."""

    groups: np.ndarray

    def __call__(self, negative_likelihood: Any, initial: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, float]:
        from scipy.optimize import minimize  # noqa: PLC0415 - as scikit-learn

        # The order of scikit-learn's settings, all logarithms: the signal, the lengths of all columns, the noise.
        count = int(self.groups.max()) + 1
        owner = np.concatenate([[0], 1 + self.groups, [1 + count]])
        mean = np.concatenate([[SIGNAL_PRIOR[0]], np.full(count, _length_mean(self.groups)), [NOISE_PRIOR[0]]])
        deviation = np.concatenate([[SIGNAL_PRIOR[1]], np.full(count, LENGTH_DEVIATION), [NOISE_PRIOR[1]]])
        first = np.array([np.flatnonzero(owner == each)[0] for each in range(count + 2)])

        def value(settings: np.ndarray) -> tuple[float, np.ndarray]:
            loss, gradient = negative_likelihood(settings[owner], eval_gradient=True)
            away = (settings - mean) / deviation
            return loss + 0.5 * float(away @ away), np.bincount(owner, gradient) + away / deviation

        found = minimize(
            value, initial[first], jac=True, method="L-BFGS-B", bounds=bounds[first], options={"maxiter": ITERATIONS}
        )
        return found.x[owner], float(found.fun)


def _length_mean(groups: np.ndarray) -> float:
    """More parts, longer lengths: the distance of two points at random grows with the root of their number."""
    return float(np.log(0.5) + 0.5 * np.log(max(int(groups.max()) + 1, 4) / 4))
