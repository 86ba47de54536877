"""Settle how a CSV file is written: encoding, separator and decimal sign, by the study or else by its first lines."""

import codecs
import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from nightune.models.data.source_options import SourceOptions
from nightune.models.errors import InputError

KEY = "data.source"
UTF_8 = "utf-8-sig"  # spreadsheets write a byte order mark in front of the first name
SEPARATORS = (",", ";", "\t", "|")
BLANKS = " "  # in a study: runs of blanks
SAMPLE_BYTES, SAMPLE_ROWS = 2**18, 200
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
WESTERN = "cp1252"  # of Windows in Western Europe and America; Latin-1 is nearly a part of it
MOST_FOREIGN = 0.3  # of the letters: in a Western language fewer have accents
OTHER_ENCODINGS = ("cp1250", "cp1251", "cp1253", "cp1254", "shift_jis", "gb18030", "euc_kr")
# Numbers of which the sign before the decimals is certain: 1,250 and 1.250 may be thousands.
_COMMA = re.compile(r"[-+]?(?![1-9]\d{0,2}(,\d{3})+$)(\d+|\d{1,3}(\.\d{3})+),\d+")
_POINT = re.compile(r"[-+]?(?![1-9]\d{0,2}(\.\d{3})+$)(\d+|\d{1,3}(,\d{3})+)\.\d+")
# Of quotes: a field in them after a separator and a blank, one within a field after a backslash, and a doubled one. In
# "a \"b\"", the last two are one after a backslash and the end of the field.
_SPACED = re.compile(r'[,;\t|] +"(?!["\s,;|]|$)')
_ESCAPED = re.compile(r'\\"(?![,;\t|]|$)')
_DOUBLED = re.compile(r'[^,;\t|\\]""|\\""(?![,;\t|]|$)')


@dataclass(frozen=True)
class Dialect:
    """How a file is written, and what of it was guessed."""

    separator: str = ","
    decimal: str = "."
    encoding: str = UTF_8
    findings: tuple[str, ...] = ()
    has_note: bool = False  # a first line such as sep=; which spreadsheets read
    skips_blanks: bool = False  # in front of fields in quotes
    escape: str = ""  # the sign before a quote within quotes, if it is not another quote

    @property
    def options(self) -> dict[str, Any]:
        """The options of pandas' reader; those of a usual file are the reader's own."""
        separator = r"\s+" if self.separator == BLANKS else self.separator
        given = {"sep": separator, "decimal": self.decimal}
        usual = {"sep": ",", "decimal": "."}
        special: dict[str, Any] = {"skiprows": 1} if self.has_note else {}
        special |= {"skipinitialspace": True} if self.skips_blanks else {}
        special |= {"escapechar": self.escape} if self.escape else {}
        return {"encoding": self.encoding, **special} | {
            name: each for name, each in given.items() if each != usual[name]
        }

    def fields(self, line: str) -> list[str]:
        """Return the fields of a row of one line, which no runs of blanks divide."""
        return next(read_rows([line], self.separator, self.skips_blanks, self.escape), [])


def settle_dialect(file: Path, options: SourceOptions, name: str) -> Dialect:
    """Settle how a file is written; the findings say what differs from UTF-8, commas and decimal points.

    InputError for bytes that are no text in a known encoding.
    """
    encoding, of_encoding = (options.encoding, []) if options.encoding else _encoding(file, name)
    text = _sample(file, encoding, name)
    note = re.match(r"\ufeff?sep=(.)\r?\n", text)
    body = text[note.end() :] if note else text
    skips_blanks, of_file = _quotes(body)
    escape = options.escape or of_file
    rows_by = _Rows(body, skips_blanks, escape)
    separator = options.separator or (note[1] if note else rows_by.separator())
    decimal = options.decimal or ("." if separator == "," else rows_by.decimal(separator))
    guessed = [
        *([f"separator = {_quoted(separator)}"] if not options.separator and separator != "," else []),
        *([f"decimal = {_quoted(decimal)}"] if not options.decimal and decimal != "." else []),
    ]
    findings = [*of_encoding, *([f"{name} is read with {', '.join(guessed)} (keys of [data])"] if guessed else [])]
    findings += [f"{name}: blanks in front of quotes are left out"] if skips_blanks else []
    if escape:
        findings.append(f'{name}: {escape}" in a field is a quote, and {escape} before another sign is left out')
    return Dialect(separator, decimal, encoding, tuple(findings), note is not None, skips_blanks, escape)


def read_rows(lines: Iterable[str], separator: str, skips_blanks: bool, escape: str) -> Iterator[list[str]]:
    """Yield the fields of rows; csv.Error for a field of more than 128 KiB. `escape` is empty if quotes double."""
    return csv.reader(lines, delimiter=separator, skipinitialspace=skips_blanks, escapechar=escape or None)


def _quotes(text: str) -> tuple[bool, str]:
    """Return whether fields in quotes have a blank in front, and the sign that escapes quotes: none if they double."""
    lines = text.splitlines()[:SAMPLE_ROWS]
    spaced = sum(_SPACED.search(line) is not None for line in lines)
    is_escaped = any(map(_ESCAPED.search, lines)) and not any(map(_DOUBLED.search, lines))
    return bool(lines) and spaced > len(lines) / 2, "\\" if is_escaped else ""


def _quoted(sign: str) -> str:
    return '"\\t"' if sign == "\t" else f'"{sign}"'


def _encoding(file: Path, name: str) -> tuple[str, list[str]]:
    with file.open("rb") as stream:
        start = stream.read(4)
        marked = next((encoding for mark, encoding in _MARKS.items() if start.startswith(mark)), None)
        if marked:
            return marked, [f"{name} is read as {marked}, as its first bytes say"]
        stream.seek(0)
        if b"\0" in stream.readline(SAMPLE_BYTES):
            remedy = 'if it is UTF-16, write encoding = "utf-16-le" (or "utf-16-be") in [data]'
            raise InputError(KEY, f"the first line of {name} holds null characters; {remedy}")
        stream.seek(0)
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while block := stream.read(2**22):
                decoder.decode(block)
            decoder.decode(b"", final=True)
            return UTF_8, []
        except UnicodeDecodeError:
            stream.seek(0)
            foreign = b"\n".join(islice((line for line in stream if not line.isascii()), 2000))
    return WESTERN, [_western(foreign, name)]


def _western(lines: bytes, name: str) -> str:
    """Say what words a file has as Western text; InputError if it is none."""
    remedy = 'write it as encoding = "…" in [data], or save the file as UTF-8'
    try:
        text = lines.decode(WESTERN)
    except UnicodeDecodeError:
        text = ""
    letters = [sign for sign in text if sign.isalpha()]
    foreign = sum(not sign.isascii() for sign in letters)
    if not text or "\0" in text or foreign > MOST_FOREIGN * max(1, len(letters)):
        known = ", ".join((WESTERN, *OTHER_ENCODINGS))
        raise InputError(KEY, f"{name} is not UTF-8 text, and its encoding is unknown: {remedy} (such as {known})")
    words = list(dict.fromkeys(re.findall(r"[^\s,;|\"]*[^\x00-\x7f\s,;|\"][^\s,;|\"]*", text)))[:3]
    shown = ", ".join(map(repr, words))
    return f'{name} is not UTF-8; it is read with encoding = "{WESTERN}", such as {shown}. If that is wrong, {remedy}'


def _sample(file: Path, encoding: str, name: str) -> str:
    """Return the first whole lines of a file."""
    with file.open("rb") as stream:
        content = stream.read(SAMPLE_BYTES)
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(content)
    except (UnicodeDecodeError, UnicodeError) as error:
        message = f"{encoding!r} does not read {name} ({error}); use another one, or save the file as UTF-8"
        raise InputError("data.encoding", message) from error
    return text if len(content) < SAMPLE_BYTES else text[: text.rfind("\n") + 1]


class _Rows:
    """The first rows of a file under each separator."""

    def __init__(self, text: str, skips_blanks: bool, escape: str) -> None:
        self._text, self._skips_blanks, self._escape = text, skips_blanks, escape

    def under(self, separator: str) -> list[list[str]]:
        """Return the rows that are not empty; none if quotes are left open."""
        if separator == BLANKS:
            return [line.split() for line in self._text.splitlines()[:SAMPLE_ROWS] if line.strip()]
        try:
            rows = read_rows(self._text.splitlines(keepends=True), separator, self._skips_blanks, self._escape)
            return [row for row in islice(rows, SAMPLE_ROWS) if row]
        except csv.Error:  # a field of more than 128 KiB
            return []

    def separator(self) -> str:
        """Return what divides most rows into as many fields as the first one.

        A comma, if it does as well as another sign, unless all commas stand between digits and so may be decimal.
        """
        scores = {separator: self._score(separator) for separator in SEPARATORS}
        best = max(SEPARATORS, key=lambda separator: scores[separator])
        is_as_good = scores[","][0] == scores[best][0] and scores[","][1]
        return "," if not scores[best][1] or (is_as_good and not self._has_decimal_commas()) else best

    def _score(self, separator: str) -> tuple[float, int]:
        """Return the share of rows with as many fields as the first one, and their number; 0 below two fields."""
        rows = self.under(separator)
        width = len(rows[0]) if rows else 0
        return (sum(len(row) == width for row in rows) / len(rows), width) if width > 1 else (0.0, 0)

    def _has_decimal_commas(self) -> bool:
        body = self._text.partition("\n")[2]
        return "," in body and not re.search(r"(?<!\d),|,(?!\d)", body)

    def decimal(self, separator: str) -> str:
        """Return a comma if there are numbers with a comma before their decimals, and none with a point."""
        fields = [field.strip() for row in self.under(separator)[1:] for field in row]
        has_commas = any(_COMMA.fullmatch(field) for field in fields)
        has_points = any(_POINT.fullmatch(field) for field in fields)
        return "," if has_commas and not has_points else "."
