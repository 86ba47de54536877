"""Choose configurations that are good on recorded tasks: the portfolio of a task that takes no part."""

import numpy as np

MOST = 3.0  # regret, in distances from the best to the median: what is worse than this is as bad


def greedy(regrets: np.ndarray, count: int) -> list[int]:
    """Return the places of `count` configurations: each lowers the mean over tasks of the best so far the most.

    `regrets` are (tasks, configurations).
    """
    capped = np.minimum(regrets, MOST)
    best, chosen = np.full(len(capped), np.inf), []
    for _ in range(count):
        place = int(np.argmin(np.minimum(capped, best[:, None]).mean(axis=0)))
        chosen.append(place)
        best = np.minimum(best, capped[:, place])
    return chosen
