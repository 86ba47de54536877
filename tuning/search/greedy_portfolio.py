"""Choose a portfolio: a few configurations, at least one of which is good on each of many data sets.

A pure function of recorded losses. Regrets make data sets comparable: 0 is the best recorded configuration of a data
set, 1 the median one. The greedy choice is within 1 − 1/e of the best set of its size (Nemhauser, Wolsey, Fisher 1978).
"""

from collections.abc import Sequence

import numpy as np

WORST = 2.0  # regrets end here: how bad a bad configuration is does not matter, and failures have no loss


def choose(losses: np.ndarray, count: int) -> list[int]:
    """Return the places of `count` configurations, the most useful first.

    `losses` are (data sets, configurations, seeds), lower is better, NaN for a failure. Each step adds the
    configuration that most reduces the mean over data sets of the regret of the best one so far; of equal ones, as once
    each data set has its best, that of the smallest mean regret, then the first. Raises ValueError if there are fewer.
    """
    regrets = regrets_of(losses)
    if count > regrets.shape[1]:
        raise ValueError(f"{count} configurations cannot be chosen from {regrets.shape[1]}")
    best, mean, chosen = np.full(len(regrets), np.inf), regrets.mean(axis=0), list[int]()
    for _ in range(count):
        reached = np.minimum(regrets, best[:, None]).mean(axis=0)
        reached[chosen] = np.inf
        chosen.append(int(np.lexsort((mean, reached))[0]))
        best = np.minimum(best, regrets[:, chosen[-1]])
    return chosen


def regrets_of(losses: np.ndarray) -> np.ndarray:
    """Return the regrets (data sets, configurations) of the mean losses over seeds, from 0 to `WORST`."""
    means = _means(losses)
    best, median = np.array([_ends(row) for row in means]).T[:, :, None]
    regrets: np.ndarray = np.clip((means - best) / (median - best), 0.0, WORST)
    return regrets


def leader_regret(losses: np.ndarray, tried: Sequence[int]) -> float:
    """Return the regret of the configuration that leads among those tried on one data set: `leader_regrets`' last."""
    return float(leader_regrets(losses, tried)[-1])


def leader_regrets(losses: np.ndarray, tried: Sequence[int]) -> np.ndarray:
    """Return the regrets of the leaders after the first, the first two, … of the configurations tried on one data set.

    `losses` are (configurations, seeds). The leader is chosen by its loss with one seed and judged by its losses with
    the others, for each seed in turn: the luck of the trial that led does not count.
    """
    best, median = _ends(_means(losses))
    mine = losses[list(tried)]
    found = np.empty(mine.shape)
    for seed in range(mine.shape[1]):
        seen = np.where(np.isfinite(mine[:, seed]), mine[:, seed], np.inf)
        before = np.minimum.accumulate(np.concatenate([[np.inf], seen]))[:-1]
        leader = np.maximum.accumulate(np.where(seen < before, np.arange(len(seen)), -1))
        regret = (np.delete(mine, seed, axis=1).mean(axis=1) - best) / (median - best)
        regret = np.where(np.isfinite(regret), np.minimum(regret, WORST), WORST)
        found[:, seed] = np.where(leader < 0, WORST, regret[leader])
    means: np.ndarray = found.mean(axis=1)
    return means


def _ends(losses: np.ndarray) -> tuple[float, float]:
    """Return the best and the median of the finite losses of one data set; 0 and 1 if there is none.

    Where the median is the best, it is taken as 1 more.
    """
    finite = losses[np.isfinite(losses)]
    if not len(finite):
        return 0.0, 1.0
    best, median = float(finite.min()), float(np.median(finite))
    return best, median if median > best else best + 1.0


def _means(losses: np.ndarray) -> np.ndarray:
    """Return the mean over seeds; infinite where a seed failed."""
    means: np.ndarray = np.where(np.isfinite(losses), losses, np.inf).mean(axis=-1)
    return means
