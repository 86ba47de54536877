"""Quantiles of Student's t and of the normal distribution, from SciPy, which is imported when one is computed."""


def student_quantile(degrees: float, probability: float) -> float:
    """Return the quantile of Student's t with these degrees of freedom, at a probability in (0, 1)."""
    from scipy.special import stdtrit  # noqa: PLC0415 - takes a moment, and most commands compute none

    return float(stdtrit(degrees, probability))


def normal_quantile(probability: float) -> float:
    """Return the quantile of the standard normal distribution at a probability in (0, 1)."""
    from scipy.special import ndtri  # noqa: PLC0415 - as above

    return float(ndtri(probability))
