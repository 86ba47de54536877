"""Tables made numbers: what each column holds, and a transformation fitted on the training rows only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models.columns import CATEGORY, NUMERIC, Column, clean_column, kind_of, missing_share
from models.errors import InputError, unknown_name

if TYPE_CHECKING:
    import pandas as pd

MOST_CATEGORIES = 50  # of one column; rarer ones share a column


@dataclass(frozen=True, eq=False)
class TableParts:
    """A table taken apart: what predicts, what is predicted, and the column that splits the rows."""

    features: "pd.DataFrame"
    targets: np.ndarray
    split_column: "pd.Series[Any] | None"
    findings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class TablePreprocessing:
    """A fitted transformation from rows of a table to float32 features."""

    columns: tuple[Column, ...]
    transformer: Any  # a fitted ColumnTransformer of scikit-learn
    feature_names: tuple[str, ...]

    def transform(self, table: "pd.DataFrame") -> np.ndarray:
        """Turn rows into features (rows, features); unknown categories become zeros, missing values as in training."""
        return self.transform_clean(self.clean(table))

    @property
    def content(self) -> dict[str, Any]:
        """What was fitted, as plain values: equal content transforms alike."""
        steps = self.transformer.named_transformers_
        content: dict[str, Any] = {
            "columns": [[column.name, column.kind] for column in self.columns],
            "features": list(self.feature_names),
        }
        if "number" in steps:
            imputer, scaler = (step for _, step in steps["number"].steps)
            numbers = {"median": imputer.statistics_, "mean": scaler.mean_, "scale": scaler.scale_}
            content |= {name: values.tolist() for name, values in numbers.items()}
        if "boolean" in steps:
            content["most_frequent"] = steps["boolean"].statistics_.tolist()
        if "category" in steps:
            content["categories"] = [list(categories) for categories in steps["category"].categories_]
        return content

    def clean(self, table: "pd.DataFrame") -> "pd.DataFrame":
        """Pick this transformation's columns, as float64 (missing: NaN) or text (missing: "missing")."""
        import pandas as pd  # noqa: PLC0415 - half a second, only where tables are

        missing = [column.name for column in self.columns if column.name not in table.columns]
        if missing:
            held = ", ".join(str(name) for name in table.columns)
            raise InputError("data.source", f"the table lacks column {missing[0]!r} (it holds: {held})")
        cleaned = {column.name: clean_column(table[column.name], column) for column in self.columns}
        return pd.DataFrame(cleaned, index=table.index)

    def transform_clean(self, cleaned: "pd.DataFrame") -> np.ndarray:
        """Turn cleaned rows into features."""
        # A value may be too large for float32; the caller refuses what is not finite.
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(self.transformer.transform(cleaned), dtype=np.float32)


def take_apart(table: "pd.DataFrame", target: str | None, drop: Sequence[str], split_column: str | None) -> TableParts:
    """Separate target and split column from the features; rows without a target are left out, with a finding."""
    names = list(table.columns)
    if target is None:
        raise InputError("data.target", f"a table needs the name of the column to predict (known: {', '.join(names)})")
    for key, name in [("data.target", target), ("data.split.column", split_column)]:
        if name is not None and name not in names:
            raise InputError(key, unknown_name(name, names, "column"))
    if target == split_column:
        raise InputError("data.split.column", f"{target!r} is the target; split by another column")
    for name in drop:
        if name == target:
            raise InputError("data.drop", f"{name!r} is the target; it cannot be left out")
        if name not in names:
            raise InputError("data.drop", unknown_name(name, names, "column"))
    kept, findings = _rows_with_target(table, target)
    used = [name for name in names if name not in {target, split_column, *drop}]
    if not used:
        raise InputError("data.source", "no column is left to learn from")
    column = None if split_column is None else kept[split_column]
    return TableParts(kept[used], _target_values(kept[target]), column, findings)


def fit_preprocessing(
    features: "pd.DataFrame", train: np.ndarray, categorical: Sequence[str]
) -> tuple[TablePreprocessing, list[str]]:
    """Fit on the training rows; say which columns were left out or read in an unexpected way."""
    for name in categorical:
        if name not in features.columns:
            raise InputError("data.categorical", unknown_name(name, list(features.columns), "feature column"))
    columns, findings = [], []
    for name in features.columns:
        column, remarks = kind_of(features[name], is_category=name in categorical)
        findings += remarks
        known = clean_column(features[name].iloc[train], column)
        if known.nunique(dropna=False) > 1:
            columns.append(column)
        else:
            what = "is empty" if missing_share(known) == 1 else "holds a single value"
            findings.append(f"column {name!r} {what} in the training rows; it is left out")
    if not columns:
        raise InputError("data.source", "no column is left to learn from: all are empty or hold a single value")
    unfitted = TablePreprocessing(tuple(columns), None, ())
    cleaned = unfitted.clean(features.iloc[train])
    transformer = _make_transformer(columns, cleaned).fit(cleaned)
    _round_scales(transformer)
    names = tuple(str(name) for name in transformer.get_feature_names_out())
    return TablePreprocessing(tuple(columns), transformer, names), findings


def split_keys(column: "pd.Series[Any]", is_time: bool) -> np.ndarray:
    """The groups of a group split as integers, or the times of a time split as numbers that sort."""
    import pandas as pd  # noqa: PLC0415 - half a second, only where tables are

    name, missing = column.name, int(column.isna().sum())
    if missing:
        raise InputError("data.split.column", f"{name!r} is missing in {missing} rows; fill it in, or leave them out")
    if not is_time:
        return pd.factorize(column)[0].astype(np.int64)
    kind = kind_of(column, is_category=False)[0]
    if kind.kind not in NUMERIC:
        raise InputError(
            "data.split.column",
            f"{name!r} holds {column.iloc[0]!r}; a time split needs numbers or dates in the form 2026-01-31",
        )
    return clean_column(column, kind).to_numpy(dtype=np.float64)


def _rows_with_target(table: "pd.DataFrame", target: str) -> tuple["pd.DataFrame", tuple[str, ...]]:
    column = table[target]
    lacks = column.isna()
    if column.dtype.kind == "f":
        lacks |= np.isinf(column)
    if not lacks.any():
        return table, ()
    count = int(lacks.sum())
    if count == len(table):
        raise InputError("data.target", f"column {target!r} is empty")
    share = f"{count} of {len(table)} rows ({count / len(table):.1%})"
    finding = f"target: {share} have no value in column {target!r}; they are left out"
    return table[~lacks], (finding,)


def _target_values(column: "pd.Series[Any]") -> np.ndarray:
    """Booleans, whole numbers, floats or an array of texts."""
    import pandas as pd  # noqa: PLC0415 - half a second, only where tables are

    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind in ("boolean", "integer"):
        return column.to_numpy(dtype=np.bool_ if kind == "boolean" else np.int64)
    if kind in ("floating", "mixed-integer-float", "decimal"):
        return column.to_numpy(dtype=np.float64)
    if kind in ("string", "mixed-integer", "mixed") and all(isinstance(value, str | int | float) for value in column):
        return column.astype(str).to_numpy(dtype=np.str_)
    raise InputError(
        "data.target", f"column {column.name!r} holds {kind} values; numbers, texts or booleans are needed"
    )


def _make_transformer(columns: Sequence[Column], cleaned: "pd.DataFrame") -> Any:
    from sklearn.compose import ColumnTransformer  # noqa: PLC0415 - a second, only where tables are
    from sklearn.impute import MissingIndicator, SimpleImputer  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import OneHotEncoder, StandardScaler  # noqa: PLC0415

    numbers = [column.name for column in columns if column.kind in NUMERIC]
    booleans = [column.name for column in columns if column.kind == "boolean"]
    gaps = [name for name in [*numbers, *booleans] if cleaned[name].isna().any()]
    categories = [column.name for column in columns if column.kind == CATEGORY]
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


def _round_scales(transformer: Any) -> None:
    """Round means and scales to 10 digits: processors add up in different orders, and data versions must agree."""
    if "number" not in transformer.named_transformers_:
        return
    scaler = transformer.named_transformers_["number"][-1]
    for attribute in ("mean_", "scale_"):
        rounded = [float(f"{value:.10g}") for value in getattr(scaler, attribute)]
        setattr(scaler, attribute, np.array(rounded))
