"""Quantiles of Student's t and of the normal distribution, from SciPy, which is imported when one is computed."""

import math


def student_quantile(degrees: float, probability: float) -> float:
    """Return the quantile of Student's t with these degrees of freedom, at a probability in (0, 1)."""
    from scipy.special import stdtrit  # noqa: PLC0415 - takes a moment, and most commands compute none

    return float(stdtrit(degrees, probability))


def normal_quantile(probability: float) -> float:
    """Return the quantile of the standard normal distribution at a probability in (0, 1)."""
    from scipy.special import ndtri  # noqa: PLC0415 - as above

    return float(ndtri(probability))


def share_interval(share: float, rows: int, confidence: float) -> tuple[float, float]:
    """Return the interval of a share of so many independent rows (Wilson, 1927): within [0, 1], also at its ends."""
    z = normal_quantile((1 + confidence) / 2)
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    reach = z / (1 + z * z / rows) * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return max(0.0, middle - reach), min(1.0, middle + reach)
