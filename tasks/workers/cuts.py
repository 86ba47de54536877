"""Decide what an idle worker trains next: the trials of which graph key, and how many of them."""

import math
from collections.abc import Collection, Mapping

MOST_TRIALS = 25
COHORT_SECONDS = 120.0
FIRST_TRIALS = 4  # until a trial has shown how long it takes


def cohort_size(left: int, workers: int, seconds_per_trial: float | None) -> int:
    """Return how many of `left` trials a worker gets at once, at least 1; None if no trial has ended yet.

    A cohort takes two minutes at most, and half of a worker's share of what is left: at the end of a rung, no worker
    waits for a long cohort of another one.
    """
    share = math.ceil(left / (2 * workers))
    in_time = FIRST_TRIALS if seconds_per_trial is None else int(COHORT_SECONDS / max(seconds_per_trial, 1e-3))
    return max(1, min(MOST_TRIALS, share, in_time))


def next_graph_key(sizes: Mapping[str, int], held: Collection[str], of_others: Collection[str]) -> str:
    """Return the graph key of a worker's next cohort, from the number of trials that wait by graph key.

    First those whose program the worker holds, then those that no other worker holds, the largest group first.
    """
    mine = [key for key in sizes if key in held]
    free = [key for key in sizes if key not in of_others]
    return max(mine or free or sizes, key=lambda key: sizes[key])
