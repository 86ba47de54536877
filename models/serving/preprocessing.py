"""A fitted preprocessing that converts rows of a table to features: plain numbers and names, saved as JSON.

It imports only modules that are stored with every registered model (`CARRIED` in `predictor.py`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.errors import InputError
from nightune.models.serving.columns import CATEGORY, CODE, IMAGE, NUMERIC, TEXT, TRUTHS, Column, clean_column
from nightune.models.serving.encodings import Encodings
from nightune.models.serving.image_rows import as_images
from nightune.models.serving.input_trees import ArrayTree
from nightune.models.serving.labels import as_text
from nightune.models.serving.number_texts import POINT, plain_number
from nightune.models.serving.vocabularies import CodeVocabulary, TextVocabulary

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1  # of the JSON form
LATER = ("texts", "codes", "images", "encodings")  # fields that are left out where they are empty, as before
FEATURES = "features"  # the name of all columns that are no inputs of their own, where some are


@dataclass(frozen=True)
class Numbers:
    """The median that replaces missing numbers of a column, and the mean and scale that standardize it."""

    median: float
    mean: float
    scale: float


@dataclass(frozen=True)
class Categories:
    """The texts of a category column in the training rows, and those of them too rare for a feature of their own."""

    known: tuple[str, ...]
    rare: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class TablePreprocessing:
    """The columns in the table's order, and the values fitted on the training rows, by column name."""

    columns: tuple[Column, ...]
    feature_names: tuple[str, ...]
    numbers: Mapping[str, Numbers]
    booleans: Mapping[str, float]  # the value that replaces missing ones
    gaps: tuple[str, ...]  # columns with a feature that marks missing values
    categories: Mapping[str, Categories]
    texts: Mapping[str, TextVocabulary] = field(default_factory=dict)
    codes: Mapping[str, CodeVocabulary] = field(default_factory=dict)
    images: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)  # height, width and channels
    encodings: Encodings = field(default_factory=Encodings)  # the last of the features

    def transform(self, table: "pd.DataFrame") -> ArrayTree:
        """Convert rows to features (rows, features); unknown categories become zeros, missing values as in training.

        With columns of texts, codes or images, a dictionary of arrays; see `as_named`.
        InputError for columns that another reader has turned into numbers which training read as texts.
        """
        cleaned = clean_table(table, self.columns)
        for name, known in [
            *((name, fitted.known) for name, fitted in self.categories.items()),
            *((name, fitted.known) for name, fitted in self.codes.items()),
            *self.encodings.texts_only.items(),
        ]:
            _refuse_lost_digits(table, name, known)
        return self.transform_clean(cleaned)

    def transform_clean(self, cleaned: "pd.DataFrame") -> ArrayTree:
        """Convert cleaned rows to features, and to indices of words and codes, if there are columns of these."""
        named = {name: self._own_input(cleaned[name]) for name in self._own_inputs}
        if not named:
            return self._features(cleaned)
        if self._is_one_array:
            return next(iter(named.values()))
        return {FEATURES: self._features(cleaned), **named} if self.feature_names else named

    def as_named(self, inputs: ArrayTree) -> dict[str, np.ndarray]:
        """Return inputs by name: "features", and by their own names columns of texts, codes and images.

        Their arrays are (rows, length) and (rows,) int32, and (rows, height, width, channels) float32.
        """
        if isinstance(inputs, dict):
            return inputs
        assert isinstance(inputs, np.ndarray)  # a table has no inputs in order
        return {self._own_inputs[0] if self._is_one_array else FEATURES: inputs}

    @property
    def vocabulary_sizes(self) -> dict[str, int]:
        """The number of different indices or codes of each column of texts or codes, as an embedding's `input_dim`."""
        sizes = {name: fitted.size for name, fitted in self.texts.items()}
        sizes |= {name: fitted.size for name, fitted in self.codes.items()}
        return {name: sizes[name] for name in self._own_inputs if name in sizes}

    @property
    def _own_inputs(self) -> list[str]:
        """The columns of texts, codes and images in the table's order."""
        return names_of_kind(self.columns, (TEXT, CODE, IMAGE))

    @property
    def _is_one_array(self) -> bool:
        """True if a column of texts or images is all that the model reads: then it is one array."""
        return not self.feature_names and not self.codes and len(self._own_inputs) == 1

    def _own_input(self, values: "pd.Series[Any]") -> np.ndarray:
        """Return the array of a column that is an input of its own."""
        name, given = str(values.name), values.to_numpy()
        if name in self.images:
            _refuse_missing_images(values)
            return as_images(list(given), self.images[name], f"data.images.{name}")
        return self.texts[name].encode(given) if name in self.texts else self.codes[name].encode(given)

    def _features(self, cleaned: "pd.DataFrame") -> np.ndarray:
        """Return float32 features: numbers, booleans, marks of missing values, one per category."""
        parts = [_standardized(cleaned[name].to_numpy(), fitted) for name, fitted in self.numbers.items()]
        parts += [_filled(cleaned[name].to_numpy(), usual) for name, usual in self.booleans.items()]
        parts += [np.isnan(cleaned[name].to_numpy()).astype(np.float64) for name in self.gaps]
        for name, known in self.categories.items():
            parts += _one_hot(cleaned[name].to_numpy(), known)
        parts += self.encodings.features(cleaned)
        # A value may be too large for float32; the caller refuses infinite values.
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(np.stack(parts, axis=1), dtype=np.float32)

    @property
    def content(self) -> dict[str, Any]:
        """The fitted values as plain values; equal content means equal features."""
        content: dict[str, Any] = {
            "columns": [[column.name, column.kind] for column in self.columns],
            "features": list(self.feature_names),
        }
        # A usual form alone is left out: numbers with NA among them were read as these before texts were.
        readings = {column.name: column.reading for column in self.columns if not column.is_plain}
        if readings:
            content["readings"] = readings
        if self.numbers:
            for name in ("median", "mean", "scale"):
                content[name] = [getattr(fitted, name) for fitted in self.numbers.values()]
        if self.booleans:
            content["most_frequent"] = list(self.booleans.values())
        if self.categories:
            content["categories"] = [list(fitted.known) for fitted in self.categories.values()]
        if self.texts:
            content["texts"] = [[name, *fitted.content] for name, fitted in self.texts.items()]
        if self.codes:
            content["codes"] = [[name, list(fitted.known)] for name, fitted in self.codes.items()]
        if self.images:
            content["images"] = [[name, list(shape)] for name, shape in self.images.items()]
        if self.encodings.plain:
            content["encodings"] = self.encodings.plain
        return content

    def as_json(self) -> str:
        """Convert to JSON text; `from_json` restores it bit for bit."""
        columns = [column.plain for column in self.columns]
        texts = {name: fitted.plain for name, fitted in self.texts.items()}
        plain = {**asdict(self), "columns": columns, "encodings": self.encodings.plain, "texts": texts}
        plain = {name: value for name, value in plain.items() if value or name not in LATER}
        return json.dumps({"format": FORMAT, **plain}, indent=1, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "TablePreprocessing":
        """Read what `as_json` wrote; ValueError for another format."""
        held = json.loads(text)
        if held["format"] != FORMAT:
            raise ValueError(f"preprocessing of format {held['format']}; this version reads {FORMAT}")
        return cls(
            columns=tuple(Column.from_plain(column) for column in held["columns"]),
            feature_names=tuple(held["feature_names"]),
            numbers={name: Numbers(**fitted) for name, fitted in held["numbers"].items()},
            booleans=held["booleans"],
            gaps=tuple(held["gaps"]),
            categories={
                name: Categories(tuple(fitted["known"]), tuple(fitted["rare"]))
                for name, fitted in held["categories"].items()
            },
            texts={
                name: TextVocabulary(tuple(fitted["words"]), fitted["length"], fitted.get("ngrams", 1))
                for name, fitted in held.get("texts", {}).items()
            },
            codes={name: CodeVocabulary(tuple(fitted["known"])) for name, fitted in held.get("codes", {}).items()},
            images={name: tuple(shape) for name, shape in held.get("images", {}).items()},
            encodings=Encodings.from_plain(held.get("encodings", {})),
        )


def is_table(rows: Any) -> bool:
    """True for a DataFrame, of pandas or others, and for an array of records."""
    return hasattr(rows, "columns") or _are_records(rows)


def as_table(rows: Any) -> "pd.DataFrame":
    """Return rows as a DataFrame: tables of others, records (masked fields are gaps), and what pandas makes one of."""
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    if isinstance(rows, pd.DataFrame):
        return rows
    try:
        if callable(getattr(rows, "to_pandas", None)):
            rows = rows.to_pandas()
        return pd.DataFrame({name: rows[name] for name in rows.dtype.names} if _are_records(rows) else rows)
    except (ValueError, TypeError) as error:
        raise InputError(
            "inputs", f"{type(rows).__name__} holds no rows of a table ({error}); send a DataFrame"
        ) from error


def _are_records(rows: Any) -> bool:
    return getattr(getattr(rows, "dtype", None), "names", None) is not None


def refuse_non_finite(inputs: ArrayTree, table: "pd.DataFrame", preprocessing: TablePreprocessing) -> None:
    """Refuse a number that is infinite as a feature in float32, with its row, column and value."""
    features = preprocessing.as_named(inputs).get(FEATURES)
    bad = np.empty(0) if features is None else np.argwhere(~np.isfinite(features))
    if not len(bad):
        return
    row, name = int(bad[0][0]), preprocessing.feature_names[int(bad[0][1])]
    value = next(table.iloc[row, place] for place, held in enumerate(table.columns) if str(held) == name)
    raise InputError(
        "inputs", f"row {row}: column {name!r} holds {value!s}, which is too large for the model's float32"
    )


def clean_table(table: "pd.DataFrame", columns: Sequence[Column]) -> "pd.DataFrame":
    """Select the columns, and convert them to float64 (missing: NaN) or text (missing: "missing")."""
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    table = table.set_axis([str(name) for name in table.columns], axis="columns")  # as training named its columns
    missing = [column.name for column in columns if column.name not in table.columns]
    if missing:
        held = ", ".join(table.columns)
        raise InputError("data.source", f"the table lacks column {missing[0]!r} (it holds: {held})")
    cleaned = {column.name: clean_column(table[column.name], column) for column in columns}
    return pd.DataFrame(cleaned, index=table.index)


def names_of_kind(columns: Sequence[Column], kinds: Sequence[str]) -> list[str]:
    """List the names of the columns of these kinds."""
    return [column.name for column in columns if column.kind in kinds]


KINDS_OF_STEPS = {"number": NUMERIC, "boolean": ("boolean",), "category": (CATEGORY,)}


def _refuse_missing_images(values: "pd.Series[Any]") -> None:
    missing = np.flatnonzero(values.map(lambda value: isinstance(value, str) and not value) | values.isna())
    if len(missing):
        raise InputError(
            f"data.images.{values.name}", f"{len(missing)} rows have no image, the first is row {missing[0]}"
        )


def _refuse_lost_digits(table: "pd.DataFrame", name: str, known: Sequence[str]) -> None:
    """Refuse numbers in a column whose labels were texts such as 007 or 1.50: as numbers they are other labels."""
    values = next(table.iloc[:, place] for place, held in enumerate(table.columns) if str(held) == name)
    if values.dtype.kind not in "iufb" or not values.notna().any():
        return
    is_lost = _is_other_truth if values.dtype.kind == "b" else is_lost_as_number
    lost = next((text for text in known if is_lost(text)), None)
    if lost is not None:
        raise InputError(
            "data.source",
            f"column {name!r} holds {values.dtype} values, and was trained on texts such as {lost!r}, which these do "
            f'not keep; read it with dtype={{"{name}": str}}',
        )


def _is_other_truth(text: str) -> bool:
    return text.strip().lower() in TRUTHS and text not in ("True", "False")


def is_lost_as_number(text: str) -> bool:
    """True for a text such as 007 or 1.50, which its number is not written like."""
    plain = plain_number(text, POINT)
    if plain is None or "inf" in plain:
        return False
    return as_text(int(plain) if plain.lstrip("-").isdigit() else float(plain)) != text


def _filled(values: np.ndarray, usual: float) -> np.ndarray:
    return np.where(np.isnan(values), usual, values)


def _standardized(values: np.ndarray, fitted: Numbers) -> np.ndarray:
    return (_filled(values, fitted.median) - fitted.mean) / fitted.scale


def _one_hot(texts: np.ndarray, fitted: Categories) -> list[np.ndarray]:
    """Return one column per common category, and one for all rare categories if there are any."""
    rare = set(fitted.rare)
    parts = [(texts == text).astype(np.float64) for text in fitted.known if text not in rare]
    if rare:
        parts.append(np.isin(texts.astype(str), fitted.rare).astype(np.float64))
    return parts
