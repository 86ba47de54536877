"""Fit the features of columns that the study names: parts of dates, hashed labels, and means of the target."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nightune.models.data.columns.reading import Choices
from nightune.models.data.targets import Targets, rounded
from nightune.models.errors import InputError
from nightune.models.serving.columns import HASHED, TARGET_ENCODED, Column
from nightune.models.serving.encodings import TURNS, DateParts, Encodings, Hashed, TargetEncoding, year_of
from nightune.models.serving.preprocessing import TablePreprocessing, is_lost_as_number, names_of_kind

if TYPE_CHECKING:
    import pandas as pd

MOST_FOLDS = 5  # of the training rows, of which each gets means of the others


def with_encodings(preprocessing: TablePreprocessing, cleaned: "pd.DataFrame", choices: Choices) -> TablePreprocessing:
    """Add the parts of dates and the hashed labels to a preprocessing, fitted on cleaned training rows."""
    columns = preprocessing.columns
    parts = {
        name: _date_parts(cleaned[name].to_numpy(), preprocessing.numbers[name].median, choices.date_parts[name])
        for name in _dates(columns, choices)
    }
    hashed = {name: Hashed(choices.hashed[name], _lost(cleaned[name])) for name in names_of_kind(columns, [HASHED])}
    return _extended(preprocessing, Encodings(parts, hashed))


def with_target_means(
    preprocessing: TablePreprocessing, cleaned: "pd.DataFrame", train: np.ndarray, targets: Targets
) -> tuple[TablePreprocessing, np.ndarray]:
    """Add the means of the target by label; return those of the training rows apart, (rows, features) float32.

    `cleaned` are all rows. A training row gets the means of the other folds of the training rows, since that of all of
    them contains its own target; they are the last features.
    """
    names = names_of_kind(preprocessing.columns, [TARGET_ENCODED])
    if not names:
        return preprocessing, np.empty((len(train), 0), np.float32)
    _refuse_several_targets(targets, names[0])
    fitted = {name: _target_means(cleaned[name].to_numpy()[train], targets, targets.values[train]) for name in names}
    encodings = replace(preprocessing.encodings, target_encoded={name: each for name, (each, _) in fitted.items()})
    crossed = np.hstack([each.standardized(means) for each, means in fitted.values()])
    return _extended(preprocessing, encodings), crossed.astype(np.float32)


def _extended(preprocessing: TablePreprocessing, encodings: Encodings) -> TablePreprocessing:
    own = len(preprocessing.feature_names) - len(preprocessing.encodings.feature_names)
    names = (*preprocessing.feature_names[:own], *encodings.feature_names)
    return replace(preprocessing, encodings=encodings, feature_names=names)


def _dates(columns: Sequence[Column], choices: Choices) -> list[str]:
    """Return the columns whose parts the study asks for; InputError for one that holds no dates."""
    other = next((column for column in columns if column.name in choices.date_parts and column.kind != "date"), None)
    if other is not None:
        remedy = f'name it in dates if it holds some, dates = ["{other.name}"], or take it out of date_parts'
        raise InputError("data.date_parts", f"column {other.name!r} is read as a {other.kind}, not as dates; {remedy}")
    return [column.name for column in columns if column.name in choices.date_parts]


def _date_parts(seconds: np.ndarray, median: float, wanted: Sequence[str]) -> DateParts:
    """Return the parts that the study names, or else those that vary in the training rows."""
    known = seconds[~np.isnan(seconds)]
    years = year_of(np.where(np.isnan(seconds), median, seconds))
    varying = [part for part, turn in TURNS.items() if len(np.unique(turn(known))) > 1]
    varying = ["year", *varying] if len(np.unique(years)) > 1 else varying
    mean, scale = rounded(np.array([years.mean()]))[0], rounded(np.array([years.std() or 1.0]))[0]
    return DateParts(tuple(wanted or varying), float(median), float(mean), float(scale))


def _lost(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the first label that a number would not keep, if there is one."""
    return next(((label,) for label in labels if is_lost_as_number(label)), ())


def _refuse_several_targets(targets: Targets, name: str) -> None:
    if targets.values.ndim > 1 or targets.task == "multilabel":
        remedy = f'use codes = ["{name}"] or hashed = ["{name}"]'
        raise InputError("data.target_encoded", f"{name!r} needs one target, and the data has several; {remedy}")


def _target_means(labels: np.ndarray, targets: Targets, known: np.ndarray) -> tuple[TargetEncoding, np.ndarray]:
    """Fit scikit-learn's encoder; return it as plain values, and the cross-fitted means of the rows (rows, classes)."""
    from sklearn.base import clone  # noqa: PLC0415 - a second, only for these columns
    from sklearn.preprocessing import StandardScaler, TargetEncoder  # noqa: PLC0415

    of_classes = "binary" if len(np.unique(known)) <= 2 else "multiclass"
    kind = "continuous" if targets.task == "regression" else of_classes
    column = labels.reshape(-1, 1)
    encoder = TargetEncoder(target_type=kind).fit(column, known)
    crossed = np.empty((len(known), len(encoder.encodings_)))
    for others, rows in _folds(known, kind):
        crossed[rows] = clone(encoder).fit(column[others], known[others]).transform(column[rows])
    scaler = StandardScaler().fit(crossed)
    means = np.stack(encoder.encodings_, axis=1)
    encoding = TargetEncoding(
        known=tuple(map(str, encoder.categories_[0])),
        means=tuple(tuple(map(float, rounded(row))) for row in means),
        usual=tuple(map(float, rounded(np.atleast_1d(encoder.target_mean_)))),
        mean=tuple(map(float, rounded(scaler.mean_))),
        scale=tuple(map(float, rounded(scaler.scale_))),
    )
    return encoding, crossed


def _folds(known: np.ndarray, kind: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the other training rows and the rows of each fold; each class is among the others of every fold."""
    from sklearn.model_selection import KFold, StratifiedKFold  # noqa: PLC0415 - as above

    rarest = len(known) if kind == "continuous" else int(np.bincount(known)[np.unique(known)].min())
    if rarest < MOST_FOLDS and kind != "continuous":
        problem = f"a class has {rarest} training rows, and means by label need {MOST_FOLDS} of each class"
        raise InputError("data.target_encoded", f"{problem}; merge rare classes, or use codes or hashed")
    splitter = (KFold if kind == "continuous" else StratifiedKFold)(
        min(MOST_FOLDS, rarest), shuffle=True, random_state=0
    )
    yield from splitter.split(known, known)
