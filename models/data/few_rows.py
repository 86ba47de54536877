"""A few rows of a split that stand for all in a short training: each of several heads has some that it learns from."""

import numpy as np

from nightune.models.data.dataset import Dataset, Examples
from nightune.vocabulary import POSITIONS


def few_rows(dataset: Dataset, examples: Examples, count: int) -> Examples:
    """Return at most `count` examples of a split of the data set, in its order: the first ones with a weight above 0.

    If a head learns little or nothing from these, because its own weights are 0 there or no position has a class, later
    rows take the places of some: each such head has count / (2 · heads) rows, if the split has so many.
    """
    indices = _chosen(dataset, examples, count)
    are_all_before = np.array_equal(indices, np.arange(len(indices)))
    return examples.part(slice(len(indices)) if are_all_before else indices)  # arrays on disk stay there


def are_first(dataset: Dataset, examples: Examples, count: int) -> bool:
    """Return True if `few_rows` are the first `count` rows, or all of fewer."""
    indices = _chosen(dataset, examples, count)
    return bool(np.array_equal(indices, np.arange(min(count, len(examples)))))


def _chosen(dataset: Dataset, examples: Examples, count: int) -> np.ndarray:
    weights = examples.weights
    weighing = np.arange(len(examples)) if weights is None else np.flatnonzero(weights)
    learning = _learning(dataset, examples)
    share = max(1, count // (2 * max(1, len(learning))))
    needed = [weighing[each[weighing]][:share] for each in learning]
    own = np.unique(np.concatenate(needed))[:count] if needed else weighing[:0]
    rest = np.setdiff1d(weighing, own, assume_unique=True)[: count - len(own)]
    return np.sort(np.concatenate([own, rest]))


def _learning(dataset: Dataset, examples: Examples) -> list[np.ndarray]:
    """Return from which rows each target learns, (rows,) bool, of those that do not learn from all."""
    if not dataset.heads:
        return [_has_class(examples.targets)] if dataset.task == POSITIONS else []
    found = []
    for head in dataset.heads:
        is_learned = np.ones(len(examples), bool)
        if head.has_weights:
            is_learned &= np.asarray(head.row_weights(examples.targets, None)) > 0
        if head.task == POSITIONS:
            is_learned &= _has_class(examples.targets[:, slice(*head.columns)])
        found += [] if is_learned.all() else [is_learned]
    return found


def _has_class(targets: np.ndarray) -> np.ndarray:
    return np.asarray((targets >= 0).any(axis=1))
