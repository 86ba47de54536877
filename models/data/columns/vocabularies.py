"""Columns that are inputs of their own, texts, codes and images: how they are read, and their vocabularies."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from nightune.models.data.columns.categories import label_of_gaps, merged_labels, word_remark
from nightune.models.data.columns.reading import Choices, Texts, quoted
from nightune.models.errors import InputError
from nightune.models.serving.columns import CODE, IMAGE, TEXT, Column, are_missing, kind_of_values
from nightune.models.serving.preprocessing import FEATURES
from nightune.models.serving.vocabularies import CodeVocabulary, TextVocabulary, terms_of

if TYPE_CHECKING:
    import pandas as pd


def vocabulary_column(values: "pd.Series[Any]", choices: Choices) -> tuple[Column, list[str]] | None:
    """Return a column that the study calls one of texts, codes or images, and remarks; None for all others.

    InputError for a column that has the name of the input of all other columns.
    """
    name, dtype = str(values.name), str(values.dtype)
    own = {"text": choices.text, "codes": choices.codes, "images": choices.images}
    key = next((key for key, names in own.items() if name in names), None)
    if key is None:
        return None
    if name == FEATURES:
        raise InputError(f"data.{key}", f"{name!r} is the name of the input of all other columns; rename the column")
    if "/" in name or not name:
        raise InputError(f"data.{key}", f"{name!r} cannot name an input of Keras; rename the column, without '/'")
    if key == "images":
        return Column(name, dtype, IMAGE), []
    kind_of_values(values)  # refuses lists and other objects
    if key == "text":
        return Column(name, dtype, TEXT, gaps=choices.missing, missing_label=""), []
    texts = Texts.of(values, choices.missing)
    merged = merged_labels(texts.rows)
    remarks = [word_remark(f"column {name!r}", "values of their own", texts.rows)]
    if merged:
        spellings = next(iter(merged.values()))
        remarks.append(
            f"column {name!r}: {len(merged)} of its values are written in several ways, such as {quoted(spellings)}; "
            "each has a code of its own"
        )
    column = Column(name, dtype, CODE, gaps=choices.missing, missing_label=label_of_gaps(texts.rows, {}))
    return column, [remark for remark in remarks if remark]


def fit_texts(texts: Iterable[str], settings: Mapping[str, int]) -> TextVocabulary:
    """Return the most frequent words, in the order of Keras' TextVectorization; two indices are not of words."""
    ngrams = settings.get("ngrams", 1)
    counts = Counter(word for text in texts for word in terms_of(text, ngrams))
    words = sorted(counts, key=lambda word: (counts[word], word), reverse=True)
    return TextVocabulary(tuple(words[: settings["words"] - 2]), settings["length"], ngrams)


def fit_codes(labels: Iterable[str], size: int) -> CodeVocabulary:
    """Return the most frequent labels, one less than the number of codes; 0: all labels have a code of their own."""
    counts = Counter(labels)
    known = sorted(counts, key=lambda label: (-counts[label], label))
    return CodeVocabulary(tuple(known[: size - 1] if size else known))


def vocabulary_remarks(cleaned: "pd.Series[Any]", column: Column) -> list[str]:
    """Refuse a column without any value in the training rows; report one with a single value."""
    key = "text" if column.kind == TEXT else "codes"
    if are_missing(cleaned, column).all():
        raise InputError(f"data.{key}", f"column {column.name!r} is empty in the training rows; take it out of {key}")
    if cleaned.nunique() == 1:
        return [f"column {column.name!r} holds a single value in the training rows; its input tells nothing apart"]
    return []
