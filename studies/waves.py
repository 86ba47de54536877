"""Noisy waves of three forms, with any phase and pitch: what tells them apart is the form, at no fixed place."""

import numpy as np


def waves(rows: int = 1500, steps: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Return series (rows, steps, 1) float32 and their form, 0 to 2; the same ones for the same numbers."""
    random = np.random.default_rng(21)
    form = random.integers(0, 3, rows)
    turns = random.uniform(0, 1, (rows, 1)) + random.uniform(2, 4, (rows, 1)) * np.arange(steps) / steps
    place = turns % 1.0
    forms = np.stack([np.sin(2 * np.pi * turns), np.sign(0.5 - place), 2 * place - 1])
    series = forms[form, np.arange(rows)] + random.normal(0, 0.4, (rows, steps))
    return series[:, :, None].astype(np.float32), form
