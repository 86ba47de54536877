"""A few rows of a split that stand for all in a short training: each of several heads has some that it learns from."""

from collections.abc import Iterator, Sequence

import numpy as np

from nightune.models.data.dataset import Dataset, Examples
from nightune.models.data.heads import HeadData
from nightune.vocabulary import POSITIONS


def few_rows(dataset: Dataset, examples: Examples, count: int, class_weights: Sequence[np.ndarray] = ()) -> Examples:
    """Return at most `count` examples of a split of the data set, in its order: the first ones with a weight above 0.

    If a head learns little or nothing from these, because its own weights are 0 there, no position has a class, or
    their classes have the weight 0, later rows take the places of some: each such head has count / (2 · heads) rows, if
    the split has so many. `class_weights` are those of the trainings, each (classes,), of several heads one after the
    other.
    """
    indices = _chosen(dataset, examples, count, class_weights)
    are_all_before = np.array_equal(indices, np.arange(len(indices)))
    return examples.part(slice(len(indices)) if are_all_before else indices)  # arrays on disk stay there


def are_first(dataset: Dataset, examples: Examples, count: int, class_weights: Sequence[np.ndarray] = ()) -> bool:
    """Return True if `few_rows` are the first `count` rows, or all of fewer."""
    indices = _chosen(dataset, examples, count, class_weights)
    return bool(np.array_equal(indices, np.arange(min(count, len(examples)))))


def _chosen(dataset: Dataset, examples: Examples, count: int, class_weights: Sequence[np.ndarray]) -> np.ndarray:
    weights = examples.weights
    weighing = np.arange(len(examples)) if weights is None else np.flatnonzero(weights)
    found = [each for each in _learning(dataset, examples, class_weights) if not each.all()]
    learning = list({each.tobytes(): each for each in found}.values())  # trainings alike need the same rows
    share = max(1, count // (2 * max(1, len(learning))))
    needed = [weighing[each[weighing]][:share] for each in learning]
    own = np.unique(np.concatenate(needed))[:count] if needed else weighing[:0]
    rest = np.setdiff1d(weighing, own, assume_unique=True)[: count - len(own)]
    return np.sort(np.concatenate([own, rest]))


def _learning(dataset: Dataset, examples: Examples, class_weights: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield from which rows each target learns, (rows,) bool; with weights of classes for each training."""
    if not dataset.heads:
        yield from _by_class(dataset.task, examples.targets, class_weights)
        return
    first = 0
    for head in dataset.heads:
        own = _weights_of(head, first, class_weights)
        first += len(head.classes or ()) if head.has_weighable_classes else 0
        weights = head.row_weights(examples.targets, None) if head.has_weights else None
        has_weight = np.ones(len(examples), bool) if weights is None else np.asarray(weights) > 0
        by_class = list(_by_class(head.task, head.targets(examples.targets), own))
        yield from [each & has_weight for each in by_class] or [has_weight]


def _weights_of(head: HeadData, first: int, class_weights: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the weights of a head's classes, which begin at `first` among those of all heads; none without classes."""
    if not head.has_weighable_classes:
        return []
    return [each[first : first + len(head.classes or ())] for each in class_weights]


def _by_class(task: str, targets: np.ndarray, class_weights: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield which rows have a class with a weight; at positions which have one anywhere, or any class at all."""
    if task == POSITIONS and not class_weights:
        yield np.asarray((targets >= 0).any(axis=1))
    for weights in class_weights:
        weighs = np.append(weights > 0, False)[targets]  # -1, no class, is the last
        yield weighs.any(axis=1) if task == POSITIONS else weighs
