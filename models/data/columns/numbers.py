"""Columns of numbers written as texts: recognized once signs, units and thousands separators are taken off."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.data.columns.reading import FEWEST_READABLE, SETTLED_BY, Reading, Texts, quoted
from nightune.models.errors import InputError
from nightune.models.serving.number_texts import COMMA, FORMS, MAGNITUDES, POINT, plain_number

if TYPE_CHECKING:
    import pandas as pd

_CODES = (
    "CNY RMB SEK NOK DKK HUF RON BGN TRY RUB UAH ILS KRW TWD HKD SGD NZD ZAR MXN",
    "ARS CLP COP PEN THB IDR MYR PHP VND AED SAR EGP NGN KES PKR BDT BTC ETH",
)
# Signs and codes that may stand before or behind an amount, one currency a row.
_CURRENCIES = (
    ("$", "US$", "USD"),
    ("€", "EUR", "Euro", "euro"),
    ("£", "GBP"),
    ("¥", "JPY", "円"),
    ("CHF", "Fr.", "SFr."),
    ("kr", "kr."),
    ("R$", "BRL"),
    ("A$", "AU$", "AUD"),
    ("C$", "CA$", "CAD"),
    ("zł", "PLN"),
    ("₹", "INR", "Rs", "Rs."),
    ("Kč", "CZK"),
    *((code,) for row in _CODES for code in row.split()),
)
_CURRENCY = {mark.lower(): row[0] for row in _CURRENCIES for mark in row}
_PARTS = re.compile(r"(\D*?)[-+−(\s]*([.,]?\d(?:.*\d)?[.,]?)[-)]?\s*(\D*)")
_CODE = re.compile(r"0\d+")
FEWEST_LETTERS = 3  # a unit of more is a word


def recognize_numbers(texts: Texts, form: str = "", is_stated: bool = False) -> Reading | None:
    """Return how nearly all texts of a column are read as numbers, or None.

    `form` is the study's; `is_stated` reads all other texts as missing, since the study says that these are numbers.
    """
    if not is_stated and not texts.may_be([_around(text) for text in texts.sample]):
        return None
    marks = _marks(texts, is_stated)
    if marks is None or (not is_stated and are_codes(texts)):
        return None
    readings: dict[str, dict[str, str | None]] = {}
    others: dict[str, Mapping[str, int]] = {}
    for each in (form,) if form else FORMS:
        if not is_stated and not texts.may_be([plain_number(text, each, marks) for text in texts.sample]):
            continue
        read = {text: plain_number(text, each, marks) for text in texts.values}
        rest = {t: n for t, n in texts.values.items() if read[t] is None} if is_stated else texts.others(read)
        if rest is not None:
            readings[each], others[each] = read, rest
    if not readings:
        return None
    fewest = min(sum(rest.values()) for rest in others.values())
    settled = [each for each in readings if sum(others[each].values()) == fewest]
    chosen = _thousands_form(texts, readings, marks) if len(settled) == 2 else settled[0]
    if is_stated and len(others[chosen]) == len(texts.values) and not texts.number_rows:
        raise InputError(
            "data.numeric", f"column {texts.name!r} holds no number, but texts such as {quoted(texts.values, 1)}"
        )
    reading = Reading("number", chosen, marks, (*texts.missing, *others[chosen]))
    remarks = _remarks(texts, reading, others[chosen], readings if len(settled) == 2 else {})
    remedy = "" if is_stated else f'; to read its texts as labels: categorical = ["{texts.name}"] in [data]'
    return replace(reading, remarks=(f"{remarks[0]}{remedy}", *remarks[1:]))


def mixed_remark(texts: Texts) -> str | None:
    """Say that a column of labels holds numbers in several currencies or units."""
    if not texts.sample or _marks(texts, is_stated=False) is not None:
        return None
    around = [_around(text) for text in texts.sample]
    if sum(each is not None for each in around) < FEWEST_READABLE * len(around):
        return None
    signs = sorted({each[0] for each in around if each is not None and each[0]})
    return (
        f"column {texts.name!r} holds numbers of several kinds ({quoted(signs)}, or some without), read as labels; "
        f'convert them to one, or take the signs off as they are: numeric = ["{texts.name}"] in [data]'
    )


def are_codes(texts: Texts) -> bool:
    """True for codes such as 01234: digits of one length, some with a zero in front, and no placeholders."""
    values = texts.values
    if not values or texts.placeholders or not all(text.isdigit() for text in values):
        return False
    return len({len(text) for text in values}) == 1 and any(_CODE.fullmatch(text) for text in values)


def code_remark(texts: Texts) -> str | None:
    """Say that digits with a zero in front are labels."""
    if not are_codes(texts):
        return None
    example = next(text for text in texts.values if _CODE.fullmatch(text))
    return (
        f"column {texts.name!r} holds digits with zeros in front, such as {example!r}, read as labels; "
        f'to read them as numbers: numeric = ["{texts.name}"] in [data]'
    )


def _marks(texts: Texts, is_stated: bool) -> tuple[str, ...] | None:
    """The signs and units around the numbers; None if they differ, so that the numbers are not of one kind."""
    found: dict[str, int] = {}
    magnitudes: set[str] = set()
    bare = texts.number_rows
    shapes: dict[str, int] = {}
    for text, rows in texts.values.items():
        shape = re.sub(r"\d+", "1", text)  # the same signs are around all numbers of a shape
        shapes[shape] = shapes.get(shape, 0) + rows
    for shape, rows in shapes.items():
        around = _around(shape)
        if around is None:
            continue  # no number; the share of such texts is limited
        mark, magnitude = around
        magnitudes |= {magnitude} - {""}
        if mark:
            found[mark] = found.get(mark, 0) + rows
        else:
            bare += rows
    few = 0.05 * (sum(found.values()) + bare)
    kept = {mark: rows for mark, rows in found.items() if rows > few or sum(found.values()) <= few}
    kinds = {_CURRENCY.get(mark.lower(), _unit(mark)) for mark in kept}
    is_money = all(_is_currency(mark) for mark in kept)
    is_one_kind = len(kinds) <= 1 and (is_money or not bare)
    return tuple(sorted({*kept, *magnitudes})) if is_one_kind or is_stated else None


def _unit(mark: str) -> str:
    """The unit without case and plural; m, ms, mW and MW are four, but Hours and hour are one."""
    return mark.lower().rstrip("s") if sum(map(str.isalpha, mark)) > FEWEST_LETTERS else mark


def _around(text: str) -> tuple[str, str] | None:
    """The sign or unit, and the magnitude, around a number, each perhaps empty; None if the text is no such number."""
    match = _PARTS.fullmatch(text.strip().replace("\u00a0", " "))
    if match is None:
        return None
    before, behind = (part.strip(" +-−()") for part in (match[1], match[3]))
    magnitude = next((each for each in sorted(MAGNITUDES, key=len, reverse=True) if behind.startswith(each)), "")
    unit = behind.removeprefix(magnitude).strip()
    if not magnitude or (unit and not _is_currency(unit)):
        magnitude, unit = "", behind
    if (before and unit) or (before and not _is_currency(before)) or (unit and not _is_unit(unit)):
        return None
    return before or unit, magnitude


def _is_unit(text: str) -> bool:
    if _is_currency(text):
        return True
    if any(sign.isnumeric() and sign not in "²³" for sign in text):  # ½ is a part of the number
        return False
    return re.fullmatch(r"[%‰°]|[^\W\d_]{1,12}[²³]?(/[^\W\d_]{1,6}[²³]?)?|°[CF]", text) is not None


def _is_currency(text: str) -> bool:
    return text.lower() in _CURRENCY or all(unicodedata.category(sign) == "Sc" for sign in text)


def _thousands_form(texts: Texts, readings: Mapping[str, Mapping[str, str | None]], marks: tuple[str, ...]) -> str:
    """Settle a form where both read the texts: three digits behind a comma, or in an amount of money, are thousands."""
    has_commas = any("," in text for text in readings[POINT])
    has_points = any("." in text for text in readings[POINT])
    signs = [mark for mark in marks if mark not in MAGNITUDES]
    is_money = bool(signs) and all(_is_currency(mark) for mark in signs)
    return COMMA if has_points and not has_commas and is_money and not texts.number_rows else POINT


def _remarks(
    texts: Texts, reading: Reading, others: Mapping[str, int], readings: Mapping[str, Mapping[str, str | None]]
) -> tuple[str, ...]:
    name, done = texts.name, []
    signs = [mark for mark in reading.marks if mark not in MAGNITUDES]
    if signs:
        done.append(f"{quoted(signs)} taken off")
    is_multiplied = len(signs) < len(reading.marks)
    multiplied = next((text for text in texts.values if is_multiplied and (_around(text) or ("", ""))[1]), None)
    if multiplied is not None:
        value = plain_number(multiplied, reading.form, reading.marks)
        done.append(f"{multiplied!r} is {float(value or 0):.15g}")
    separated = next((t for t in texts.values if reading.form != POINT or re.search(r"\d[,'’\s]\d{2,3}", t)), None)
    if separated is not None:
        done.append(f"{separated!r} is {plain_number(separated, reading.form, reading.marks)}")
    gaps = texts.gap_remark(others)
    if any("inf" in text.lower() for text in texts.values):
        done.append("infinite values are read as missing")
    words = "; ".join([*done, *([gaps] if gaps else [])]) or "its texts are plain numbers"
    remarks = [f"column {name!r} is read as numbers: {words}"]
    unsure = {text: [read[text] for read in readings.values()] for text in texts.values} if readings else {}
    ambiguous = next((text for text, (one, two) in unsure.items() if float(one or 0) != float(two or 0)), None)
    if ambiguous is not None:
        remarks.append(ambiguous_number(name, ambiguous, reading.form))
    return tuple(remarks)


def ambiguous_decimals(file: Path, table: "pd.DataFrame", options: Mapping[str, Any]) -> tuple[str, ...]:
    """Report columns of a CSV file whose fields all look like 1.250: decimals, or thousands of another country.

    `options` are those of pandas' reader for the way in which the file is written.
    """
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    suspects = []
    for name in table.columns:
        if table[name].dtype.kind == "f":
            known = np.abs(table[name].dropna().to_numpy())
            if (
                len(known)
                and bool((known < 1000).all() and (known >= 1).any())
                and np.allclose(known * 1000, np.round(known * 1000))
            ):
                suspects.append(name)
    if not suspects:
        return ()
    texts = pd.read_csv(file, **options, dtype=str, usecols=suspects, nrows=10_000)
    unsure = [name for name in suspects if texts[name].dropna().str.fullmatch(r"\s*-?[1-9]\d{0,2}(\.\d{3})?\s*").all()]
    return tuple(
        ambiguous_number(name, next(iter(texts[name][texts[name].str.contains(".", regex=False, na=False)])), POINT)
        for name in unsure
        if texts[name].str.contains(".", regex=False, na=False).any()
    )


def ambiguous_number(name: str, text: str, form: str) -> str:
    """Say that a separator may be that of thousands or of decimals, and how the study settles it."""
    other = COMMA if form == POINT else POINT
    return (
        f"column {name!r}: {text!r} may be written like {POINT} or {COMMA}; it is read like {form}. "
        f'If that is wrong: numeric = {{ "{name}" = "{other}" }} in [data]; '
        f'if it is right, {SETTLED_BY} numeric = {{ "{name}" = "{form}" }}'
    )
