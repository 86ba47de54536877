"""Rides between places of a town: the fare follows the distance, the two places and the hour."""

import numpy as np
import pandas as pd


def rides(rows: int = 3000, places: int = 60) -> pd.DataFrame:
    """Return rides with their places as codes, and the fare; the same ones for the same numbers."""
    random = np.random.default_rng(22)
    start, end = random.integers(0, places, (2, rows))
    toll, hour = random.gamma(2.0, 2.0, places), random.integers(0, 24, rows)
    kilometres = random.gamma(2.0, 3.0, rows)
    rush = np.where(np.isin(hour, [7, 8, 17, 18]), 1.4, 1.0)
    fare = 3 + rush * 1.8 * kilometres + toll[start] + toll[end] + random.normal(0, 0.5, rows)
    code = np.array([f"{7000000000000000001 + 13 * place}" for place in range(places)])  # ids of 19 digits
    return pd.DataFrame(
        {"start": code[start], "end": code[end], "hour": hour, "kilometres": kilometres.round(2), "fare": fare.round(2)}
    )
