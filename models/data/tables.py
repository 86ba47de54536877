"""Fit the preprocessing of a table on its training rows, and read its split column."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.data.columns.categories import MOST_CATEGORIES, merge_remark, merged_labels
from nightune.models.data.columns.numbers import are_codes
from nightune.models.data.columns.reading import SETTLED_BY, Choices, Texts
from nightune.models.data.columns.recognize import are_texts, recognize
from nightune.models.data.columns.vocabularies import fit_codes, fit_texts, vocabulary_remarks
from nightune.models.data.encodings import with_encodings
from nightune.models.data.targets import rounded
from nightune.models.errors import InputError
from nightune.models.serving.columns import CODE, IMAGE, NUMERIC, TEXT, Column, are_missing, clean_column
from nightune.models.serving.labels import are_gaps, as_texts, folded
from nightune.models.serving.preprocessing import (
    KINDS_OF_STEPS,
    Categories,
    Numbers,
    TablePreprocessing,
    clean_table,
    names_of_kind,
)

if TYPE_CHECKING:
    import pandas as pd


def fit_preprocessing(
    features: "pd.DataFrame", train: np.ndarray, choices: Choices
) -> tuple[TablePreprocessing, list[str]]:
    """Fit on the training rows; the findings name columns left out or read in an unexpected way."""
    choices.refuse_unknown(list(features.columns))
    columns, findings = [], []
    for name in features.columns:
        column, remarks = recognize(features[name], choices)
        known = clean_column(features[name].iloc[train], column)
        if column.kind == IMAGE:
            columns.append(column)
        elif column.kind in (TEXT, CODE):
            columns.append(column)
            findings += [*remarks, *vocabulary_remarks(known, column)]
        elif known.nunique(dropna=False) > 1:
            columns.append(column)
            findings += remarks
        else:
            what = "is empty" if are_missing(known, column).all() else "holds a single value"
            findings.append(f"column {name!r} {what} in the training rows; it is left out")
    if not columns:
        raise InputError("data.source", "no column is left to learn from: all are empty or hold a single value")
    cleaned = clean_table(features.iloc[train], columns)
    texts, codes = (names_of_kind(columns, [kind]) for kind in (TEXT, CODE))
    fitted = replace(
        _fitted_features(columns, cleaned),
        texts={name: fit_texts(cleaned[name], choices.text[name]) for name in texts},
        codes={name: fit_codes(cleaned[name], choices.codes[name]) for name in codes},
        images={name: choices.images[name] for name in names_of_kind(columns, [IMAGE])},
    )
    return with_encodings(fitted, cleaned, choices), findings


def split_keys(column: "pd.Series[Any] | None", is_time: bool, choices: Choices) -> np.ndarray | None:
    """The groups of a group split as integers, or the times of a time split as numbers that sort; None for None."""
    if column is None:
        return None
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    name, missing = column.name, int(column.isna().sum())
    stated = int(are_gaps(column, choices.missing).sum())
    if missing or stated:
        said = f" ({stated} of them hold what [data] missing calls a gap)" if stated else ""
        raise InputError(
            "data.split.column",
            f"{name!r} is missing in {missing + stated} rows{said}; fill them in, or remove them",
        )
    if not is_time:
        return pd.factorize(_group_labels(column, choices))[0].astype(np.int64)
    kind, remarks = recognize(column, _with_codes_as_numbers(column, choices))
    unsettled = next((remark for remark in remarks if SETTLED_BY in remark), None)
    if unsettled:
        raise InputError("data.split.column", f"a time split needs an order: {unsettled}")
    if kind.kind not in NUMERIC:
        raise InputError(
            "data.split.column",
            f"{name!r} holds {column.iloc[0]!r}; a time split needs numbers or dates in the form 2026-01-31",
        )
    times = clean_column(column, kind).to_numpy(dtype=np.float64)
    if np.isnan(times).any():
        raise InputError(
            "data.split.column", f"{name!r} holds texts that are no times ({'; '.join(remarks)}); correct them"
        )
    return times


def refuse_span(column: "pd.Series[Any]", gap: int | str, choices: Choices) -> None:
    """Refuse a gap that is a span of time for times that are numbers."""
    if not isinstance(gap, str):
        return
    kind, _ = recognize(column, _with_codes_as_numbers(column, choices))
    if kind.kind != "date":
        raise InputError(
            "data.split.gap", f"{gap!r} needs dates, and {column.name!r} holds numbers; write a number of rows"
        )


def split_findings(column: "pd.Series[Any] | None", is_time: bool, choices: Choices) -> list[str]:
    """Say which spellings of a group are one."""
    merged = {} if column is None or is_time else _merged_groups(column, choices)
    return (
        []
        if column is None or not merged
        else [merge_remark(f"split: column {column.name!r}", str(column.name), merged)]
    )


def _group_labels(column: "pd.Series[Any]", choices: Choices) -> "pd.Series[Any]":
    try:
        return folded(as_texts(column), tuple(_merged_groups(column, choices)))
    except (ValueError, TypeError, NotImplementedError) as error:
        raise InputError(
            "data.split.column", f"{column.name!r} holds no groups: {error}; use texts or numbers"
        ) from error


def _merged_groups(column: "pd.Series[Any]", choices: Choices) -> dict[str, tuple[str, ...]]:
    return {} if column.name in choices.categorical else merged_labels(Texts.of(column, ()).rows)


def _with_codes_as_numbers(column: "pd.Series[Any]", choices: Choices) -> Choices:
    """Times such as 0830 sort as numbers."""
    name = str(column.name)
    is_stated = name in choices.dates or name in choices.categorical
    if is_stated or not are_texts(column) or not are_codes(Texts.of(column, ())):
        return choices
    return replace(choices, numeric={**choices.numeric, name: ""})


def _fitted_features(columns: Sequence[Column], cleaned: "pd.DataFrame") -> TablePreprocessing:
    """Fit the features of numbers, booleans and categories, if there are any."""
    if not any(names_of_kind(columns, kinds) for kinds in KINDS_OF_STEPS.values()):
        return TablePreprocessing(tuple(columns), (), {}, {}, (), {})
    return _plain(_make_transformer(columns, cleaned).fit(cleaned), columns)


def _make_transformer(columns: Sequence[Column], cleaned: "pd.DataFrame") -> Any:
    from sklearn.compose import ColumnTransformer  # noqa: PLC0415 - a second, only for tables
    from sklearn.impute import MissingIndicator, SimpleImputer  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import OneHotEncoder, StandardScaler  # noqa: PLC0415

    numbers, booleans, categories = (names_of_kind(columns, kinds) for kinds in KINDS_OF_STEPS.values())
    gaps = [name for name in [*numbers, *booleans] if cleaned[name].isna().any()]
    encoder = OneHotEncoder(
        handle_unknown="ignore",
        max_categories=MOST_CATEGORIES,
        sparse_output=False,
        feature_name_combiner=_category_name,
        dtype=np.float64,
    )
    steps = [
        ("number", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        ("boolean", SimpleImputer(strategy="most_frequent"), booleans),
        ("missing", MissingIndicator(features="all"), gaps),
        ("category", encoder, categories),
    ]
    used = [step for step in steps if step[2]]
    return ColumnTransformer(used, sparse_threshold=0, verbose_feature_names_out=_feature_name)


def _feature_name(step: str, name: str) -> str:
    return f"{name.removeprefix('missingindicator_')} is missing" if step == "missing" else name


def _category_name(column: Any, category: Any) -> str:
    return f"{column}={category}"


def _plain(transformer: Any, columns: Sequence[Column]) -> TablePreprocessing:
    """Extract the fitted values from scikit-learn's objects, means and scales rounded."""
    steps = transformer.named_transformers_
    names = {step: names_of_kind(columns, kinds) for step, kinds in KINDS_OF_STEPS.items()}
    numbers: dict[str, Numbers] = {}
    if "number" in steps:
        imputer, scaler = (step for _, step in steps["number"].steps)
        fitted = zip(imputer.statistics_, rounded(scaler.mean_), rounded(scaler.scale_), strict=True)
        numbers = {name: Numbers(*map(float, each)) for name, each in zip(names["number"], fitted, strict=True)}
    usual = steps["boolean"].statistics_ if "boolean" in steps else ()
    gaps = next((used for step, _, used in transformer.transformers_ if step == "missing"), ())
    return TablePreprocessing(
        columns=tuple(columns),
        feature_names=tuple(str(name) for name in transformer.get_feature_names_out()),
        numbers=numbers,
        booleans={name: float(value) for name, value in zip(names["boolean"], usual, strict=True)},
        gaps=tuple(gaps),
        categories=_plain_categories(steps["category"], names["category"]) if "category" in steps else {},
    )


def _plain_categories(encoder: Any, names: Sequence[str]) -> dict[str, Categories]:
    plain = {}
    for name, known, rare in zip(names, encoder.categories_, encoder.infrequent_categories_, strict=True):
        plain[name] = Categories(tuple(map(str, known)), () if rare is None else tuple(map(str, rare)))
    return plain
