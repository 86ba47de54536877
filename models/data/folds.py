"""Divide the rows outside the test split by scikit-learn's splitters; encode each fold by its training rows."""

import warnings
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from nightune.models.data.inputs import Inputs, encode_inputs
from nightune.models.data.raw_data import RawData
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import FoldRows, Rows, Split, span_seconds, split_rows
from nightune.models.data.targets import Targets, strata
from nightune.models.errors import InputError
from nightune.models.serving.input_trees import ArrayTree
from nightune.models.serving.preprocessing import FEATURES, TablePreprocessing

KEY = "data.split.folds"


def folded_rows(split: Split, targets: Targets, keys: np.ndarray | None) -> Rows:
    """Seal the test rows of the same split without folds, and divide the others into folds.

    `keys` are those of `split_rows`. Each fold trains on rows outside its validation rows, for a time split on older
    ones. InputError if there are too few rows, groups or times, or if a fold trains without a class.
    """
    held = split_rows(replace(split, folds=0), strata(targets), keys)
    pool, findings = np.sort(np.concatenate([held.train, held.validation])), held.findings
    if split.kind == "time" and keys is not None:
        pool, findings = _older_rows(split, keys, held)
    if len(pool) < split.folds:
        raise InputError(KEY, f"{split.folds} folds of {len(pool)} rows outside the test split; use fewer folds")
    folds = tuple(_cut(split, targets, keys, pool))
    findings = (*findings, *_missing_classes(split, targets, pool, folds))
    return Rows(pool, folds[-1].validation, held.test, findings=findings, folds=folds)


def encode_fold(raw: RawData, settings: DataSettings, whole: Inputs, fold: FoldRows, targets: Targets) -> ArrayTree:
    """Return the inputs of all rows by a preprocessing fitted on the fold's training rows, in the whole's columns.

    A category that the fold's training rows lack is unknown to it, and its column is 0, as for rows to predict. Words
    and codes are those of the fold's training rows.
    """
    if whole.preprocessing is None:
        return whole.values
    fitted = encode_inputs(raw, settings, fold.train, targets)
    assert fitted.preprocessing is not None
    named, of_whole = fitted.preprocessing.as_named(fitted.values), whole.preprocessing.as_named(whole.values)
    if FEATURES in of_whole:
        values = np.zeros_like(of_whole[FEATURES])
        own = named.get(FEATURES, values[:, :0])  # none, if no column varies in the fold
        for place, column in zip(_places(fitted.preprocessing, whole.preprocessing), own.T, strict=True):
            values[:, place] += column
        named[FEATURES] = values
    if not isinstance(whole.values, dict):
        return next(iter(named.values()))
    return {name: named[name] for name in of_whole}


def _places(fitted: TablePreprocessing, whole: TablePreprocessing) -> Iterator[int]:
    """Yield the column of the whole for each feature of a fold; a category that is rare in the whole shares one."""
    places = {feature: place for place, feature in enumerate(_features(whole))}
    for kind, name, category in _features(fitted):
        exact = (kind, name, category)
        yield places[exact if exact in places else (kind, name, None)]


def _features(preprocessing: TablePreprocessing) -> Iterator[tuple[str, str, str | None]]:
    """Yield what each feature is: kind, column, and category; None as category for all rare ones."""
    for name in preprocessing.numbers:
        yield "number", name, None
    for name in preprocessing.booleans:
        yield "boolean", name, None
    for name in preprocessing.gaps:
        yield "missing", name, None
    for name, known in preprocessing.categories.items():
        rare = set(known.rare)
        yield from (("category", name, text) for text in known.known if text not in rare)
        if rare:
            yield "category", name, None
    yield from (("encoding", column, name) for column, name in preprocessing.encodings.keys)


def _older_rows(split: Split, times: np.ndarray, held: Rows) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the rows older than the test rows by more than the gap, and a finding about the others."""
    known, first = np.unique(times), times[held.test].min()
    if isinstance(split.gap, str):
        is_older = times <= first - span_seconds(split.gap)
    else:
        is_older = np.searchsorted(known, times) < np.searchsorted(known, first) - split.gap
    left = len(times) - int(is_older.sum()) - len(held.test)
    finding = f"split: {left} rows between the folds and the test split are in no split"
    return np.flatnonzero(is_older), (finding,) if left else ()


def _cut(split: Split, targets: Targets, keys: np.ndarray | None, pool: np.ndarray) -> Iterator[FoldRows]:
    """Yield the folds by scikit-learn's splitter for the kind of the split."""
    from sklearn import model_selection  # noqa: PLC0415 - a second, only for folds

    count, has_classes = split.folds, targets.has_strata
    shuffled = {"n_splits": count, "shuffle": True, "random_state": split.seed}
    if split.kind == "time" and keys is not None:
        yield from _time_folds(split, keys[pool], pool)
        return
    groups = keys[pool] if split.kind == "group" and keys is not None else None
    if groups is not None:
        _refuse_few_groups(split, groups)
        by_group = model_selection.GroupKFold(count)
        splitter = model_selection.StratifiedGroupKFold(**shuffled) if has_classes else by_group
    elif split.kind == "stratified":
        _refuse_few_of_a_class(split, targets.stratified, pool)
        splitter = model_selection.StratifiedKFold(**shuffled)
    else:
        splitter = model_selection.KFold(**shuffled)
    labels = _frequent(strata(targets)[pool], count) if has_classes else None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)  # of rare labels, merged
        for train, validation in splitter.split(np.zeros(len(pool)), labels, groups):
            yield FoldRows(pool[train], pool[validation])


def _frequent(labels: np.ndarray, count: int) -> np.ndarray:
    """Merge the strata of fewer rows than folds: a stratified splitter needs one row of each stratum in each fold."""
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    merged: np.ndarray = np.where(counts[inverse] < count, -1, inverse)
    return merged


def _time_folds(split: Split, times: np.ndarray, pool: np.ndarray) -> Iterator[FoldRows]:
    """Yield folds of whole times: each trains on the times before those that it validates on, less the gap."""
    from sklearn.model_selection import TimeSeriesSplit  # noqa: PLC0415 - as in _cut

    known = np.unique(times)
    try:
        cuts = list(TimeSeriesSplit(split.folds, gap=0 if isinstance(split.gap, str) else split.gap).split(known))
    except ValueError as error:
        raise InputError(
            KEY,
            f"{split.folds} folds with gap {split.gap!r} need more different times than the {len(known)} before the "
            "test split; use fewer folds, a smaller gap or more rows",
        ) from error
    for number, (train, validation) in enumerate(cuts, start=1):
        first, last = known[validation[0]], known[validation[-1]]
        end = first - span_seconds(split.gap) if isinstance(split.gap, str) else known[train[-1]]
        older = pool[times <= end]
        if not len(older):
            raise InputError("data.split.gap", f"{split.gap!r} leaves fold {number} no older rows; set a smaller gap")
        yield FoldRows(older, pool[(times >= first) & (times <= last)])


def _refuse_few_groups(split: Split, groups: np.ndarray) -> None:
    count = len(np.unique(groups))
    if count < split.folds:
        problem = f"{split.folds} folds need as many groups; {split.column!r} holds {count} outside the test split"
        raise InputError(KEY, f"{problem}: use {count} folds or fewer" if count > 1 else problem)


def _refuse_few_of_a_class(split: Split, targets: Targets, pool: np.ndarray) -> None:
    """Refuse classes with fewer rows than folds: some fold would be validated without them."""
    if targets.task == "multilabel":
        return
    classes = targets.classes or ()
    counts = np.bincount(targets.values[pool], minlength=len(classes))
    few = {repr(label): int(count) for label, count in zip(classes, counts, strict=True) if count < split.folds}
    if few:
        said = ", ".join(f"{label} has {count}" for label, count in list(few.items())[:5])
        least = min(few.values())
        remedy = f"use {least} folds, or merge rare classes" if least > 1 else "merge rare classes"
        raise InputError(
            KEY, f"{split.folds} folds need as many rows of each class outside the test split; {said}: {remedy}"
        )


def _missing_classes(split: Split, targets: Targets, pool: np.ndarray, folds: tuple[FoldRows, ...]) -> list[str]:
    """Refuse a fold that trains without a class of the other rows; report labels that its training rows lack."""
    if targets.heads:
        return [line for _, each in targets.heads for line in _missing_classes(split, each, pool, folds)]
    if targets.classes is None or targets.shape:
        return []
    findings = []
    for number, fold in enumerate(folds, start=1):
        lacking = _held(targets, pool) & ~_held(targets, fold.train)
        labels = ", ".join(repr(targets.classes[place]) for place in np.flatnonzero(lacking)[:5])
        if labels and targets.task == "multilabel":
            findings.append(f"split: fold {number} trains on no row with label {labels}")
        elif labels:
            remedy = "use fewer folds" if split.kind == "time" else "use fewer folds, or another kind of split"
            raise InputError(KEY, f"fold {number} trains on no row of class {labels}; {remedy}, or add rows")
    return findings


def _held(targets: Targets, rows: np.ndarray) -> np.ndarray:
    """Return for each class or label whether some of the rows have it."""
    values = targets.values[rows]
    if targets.task == "multilabel":
        held: np.ndarray = values.any(axis=0)
        return held
    return np.isin(np.arange(len(targets.classes or ())), values)
