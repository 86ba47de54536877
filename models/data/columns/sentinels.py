"""Numbers that may stand for no value, such as -999: repeated, at the end of a column and far from all others."""

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

NINES = (-99, -999, -9999, -99999, -999999, 999, 9999, 99999, 999999)
FEWEST_ROWS, FEWEST_OTHERS = 2, 10


def sentinel_remark(name: str, numbers: npt.NDArray[np.floating[Any]], missing: Collection[str]) -> str | None:
    """Say that a number of nines may stand for no value, and how it becomes a gap; None without one.

    `missing` are the gaps of the study.
    """
    known = numbers[np.isfinite(numbers)]
    ends = {float(end) for end in (known.min(), known.max())} if len(known) else set()
    for end in sorted(ends & {float(each) for each in NINES}):
        others = known[known != end]
        if f"{end:.0f}" in missing or len(known) - len(others) < FEWEST_ROWS or len(others) < FEWEST_OTHERS:
            continue
        distance = min(abs(others.min() - end), abs(others.max() - end))
        if distance > np.ptp(others) > 0:
            count = f"{len(known) - len(others)} fields hold {end:.0f}, far from all others"
            return f'column {name!r}: {count}; if it stands for no value: missing = ["{end:.0f}"] in [data]'
    return None
