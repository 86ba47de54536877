"""Texts as indices of words, and labels as codes, by the words and the labels of the training rows.

It imports only modules that are stored with every registered model (`CARRIED` in `predictor.py`).
"""

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

UNKNOWN_WORD, UNKNOWN_CODE = 1, 0  # 0 fills short texts
_PLAIN = str.maketrans(string.ascii_uppercase, string.ascii_lowercase, string.punctuation)
_WORD = re.compile(r"[^ \t\n\v\f\r]+")


def words_of(text: str) -> list[str]:
    """Return the words of a text as Keras' TextVectorization does by default.

    Letters of ASCII become lower case, punctuation of ASCII is removed, and blanks of ASCII separate words. All other
    characters stay as they are: É is not é.
    """
    return _WORD.findall(text.translate(_PLAIN))


def terms_of(text: str, ngrams: int = 1) -> list[str]:
    """Return the words of a text, then its pairs of words that follow each other, and so on up to `ngrams` words.

    They have a blank between them, and are in the order of Keras' TextVectorization with `ngrams`.
    """
    words = words_of(text)
    if ngrams == 1:
        return words
    spans = [(start, count) for count in range(1, ngrams + 1) for start in range(len(words) - count + 1)]
    return [" ".join(words[start : start + count]) for start, count in spans]


@dataclass(frozen=True)
class TextVocabulary:
    """The words of a column's texts in the training rows, the most frequent first, and how many of a text are read.

    With `ngrams` above 1, up to so many words that follow each other are a word of the vocabulary, too.
    """

    words: tuple[str, ...]
    length: int
    ngrams: int = 1

    @property
    def plain(self) -> dict[str, object]:
        """The fields as JSON has them; single words are left out, as in earlier versions."""
        fields: dict[str, object] = {"words": list(self.words), "length": self.length}
        return fields | ({"ngrams": self.ngrams} if self.ngrams > 1 else {})

    @property
    def content(self) -> list[object]:
        """The fields in the order of a data version's digest."""
        return [self.length, list(self.words), *([self.ngrams] if self.ngrams > 1 else [])]

    @property
    def size(self) -> int:
        """The number of indices: one for each word, 0 where a text has ended, and 1 for unknown words."""
        return len(self.words) + 2

    def encode(self, texts: np.ndarray) -> np.ndarray:
        """Return the indices of the first words of each text, (texts, length) int32, with zeros behind the last.

        A text without words is one unknown word: with zeros alone, layers that average under a mask give NaN.
        """
        indices = np.zeros((len(texts), self.length), dtype=np.int32)
        for row, text in zip(indices, texts.tolist(), strict=True):
            known = [self._places.get(word, UNKNOWN_WORD) for word in terms_of(text, self.ngrams)[: self.length]]
            row[: len(known) or 1] = known or UNKNOWN_WORD
        return indices

    @cached_property
    def _places(self) -> dict[str, int]:
        return {word: place for place, word in enumerate(self.words, start=2)}


@dataclass(frozen=True)
class CodeVocabulary:
    """The labels of a column in the training rows that have a code of their own, the most frequent first."""

    known: tuple[str, ...]

    @property
    def size(self) -> int:
        """The number of codes: one for each known label, and 0 for all others."""
        return len(self.known) + 1

    def encode(self, labels: np.ndarray) -> np.ndarray:
        """Return the code of each label, (labels,) int32."""
        return np.array([self._codes.get(label, UNKNOWN_CODE) for label in labels.tolist()], dtype=np.int32)

    @cached_property
    def _codes(self) -> Mapping[str, int]:
        return {label: code for code, label in enumerate(self.known, start=1)}
