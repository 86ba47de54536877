"""How much data is held in memory; what is more stays on disk, and is read batch by batch while the last one trains."""

import os

import psutil

from models.errors import InputError

SETTING = "NIGHTUNE_DATA_GIB"
HELD_SHARE = 0.25  # of the memory that is free: beside the data there are copies of it, models and their activations


def held_bytes() -> int:
    """How large an array may be to be held: the environment's number of GiB, or a quarter of what is free.

    InputError where the environment gives no number.
    """
    told = os.environ.get(SETTING, "")
    if not told:
        return int(HELD_SHARE * psutil.virtual_memory().available)
    try:
        gib = float(told)
    except ValueError:
        gib = -1.0
    if not 0.0 <= gib <= 2**20:
        raise InputError(SETTING, f"{told!r} is no number of GiB (allowed: 0 or more)")
    return int(gib * 2**30)
