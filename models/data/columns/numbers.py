"""Columns of numbers written as texts: recognized once signs, units and thousands separators are taken off."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nightune.models.data.columns.reading import Reading, Texts, quoted
from nightune.models.errors import InputError
from nightune.models.serving.number_texts import COMMA, FORMS, POINT, plain_number

if TYPE_CHECKING:
    import pandas as pd

# Signs and codes that may stand before or behind an amount, by currency: two of one table row are not mixed up.
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
    *(
        (code,)
        for code in [
            "CNY",
            "RMB",
            "SEK",
            "NOK",
            "DKK",
            "HUF",
            "RON",
            "BGN",
            "TRY",
            "RUB",
            "UAH",
            "ILS",
            "KRW",
            "TWD",
            "HKD",
            "SGD",
            "NZD",
            "ZAR",
            "MXN",
        ]
    ),
    *(
        (code,)
        for code in [
            "ARS",
            "CLP",
            "COP",
            "PEN",
            "THB",
            "IDR",
            "MYR",
            "PHP",
            "VND",
            "AED",
            "SAR",
            "EGP",
            "NGN",
            "KES",
            "PKR",
            "BDT",
            "BTC",
            "ETH",
        ]
    ),
)
_CURRENCY = {mark.lower(): row[0] for row in _CURRENCIES for mark in row}
_PARTS = re.compile(r"(\D*?)[-+−(\s]*([.,]?\d(?:.*\d)?[.,]?)[-)]?\s*(\D*)")
_CODE = re.compile(r"0\d+")


def recognize_numbers(texts: Texts, form: str = "", is_stated: bool = False) -> Reading | None:
    """Return how nearly all texts of a column are read as numbers, or None.

    `form` is the study's; `is_stated` reads all other texts as missing, since the study says that these are numbers.
    """
    marks = _marks(texts, is_stated)
    if marks is None or (not is_stated and _are_codes(texts)):
        return None
    readings: dict[str, dict[str, str | None]] = {}
    others: dict[str, Mapping[str, int]] = {}
    for each in (form,) if form else FORMS:
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
    return replace(reading, remarks=_remarks(texts, reading, others[chosen], readings if len(settled) == 2 else {}))


def _marks(texts: Texts, is_stated: bool) -> tuple[str, ...] | None:
    """The signs and units around the numbers; None if they differ, so that the numbers are not of one kind."""
    found: dict[str, int] = {}
    bare = texts.number_rows
    for text, rows in texts.values.items():
        match = _PARTS.fullmatch(text.strip().replace("\u00a0", " "))
        around = [part.strip(" +-−()") for part in (match[1], match[3])] if match else []
        used = [part for part in around if part and _is_mark(part, is_prefix=part == around[0])]
        if not match or len(used) < sum(map(bool, around)) or len(used) > 1:
            continue  # no number; the share of such texts is limited
        if used:
            found[used[0]] = found.get(used[0], 0) + rows
        else:
            bare += rows
    few = 0.05 * (sum(found.values()) + bare)
    kept = {mark: rows for mark, rows in found.items() if rows > few or sum(found.values()) <= few}
    kinds = {_CURRENCY.get(mark.lower(), mark.lower().rstrip("s")) for mark in kept}
    is_money = all(_is_currency(mark) for mark in kept)
    is_one_kind = len(kinds) <= 1 and (is_money or not bare)
    return tuple(sorted(kept)) if is_one_kind or is_stated else None


def _is_mark(text: str, is_prefix: bool) -> bool:
    if _is_currency(text):
        return True
    return not is_prefix and re.fullmatch(r"[%‰°]|[^\W\d_]{1,12}[²³]?(/[^\W\d_]{1,6}[²³]?)?|°[CF]", text) is not None


def _is_currency(text: str) -> bool:
    return text.lower() in _CURRENCY or all(unicodedata.category(sign) == "Sc" for sign in text)


def _are_codes(texts: Texts) -> bool:
    """True for codes such as 01234: digits of one length, some with a zero in front, and no placeholders."""
    values = texts.values
    if texts.placeholders or not all(text.isdigit() for text in values):
        return False
    return len({len(text) for text in values}) == 1 and any(_CODE.fullmatch(text) for text in values)


def _thousands_form(texts: Texts, readings: Mapping[str, Mapping[str, str | None]], marks: tuple[str, ...]) -> str:
    """Settle a form where both read the texts: three digits behind a comma, or in an amount of money, are thousands."""
    has_commas = any("," in text for text in readings[POINT])
    has_points = any("." in text for text in readings[POINT])
    is_money = bool(marks) and all(_is_currency(mark) for mark in marks)
    return COMMA if has_points and not has_commas and is_money and not texts.number_rows else POINT


def _remarks(
    texts: Texts, reading: Reading, others: Mapping[str, int], readings: Mapping[str, Mapping[str, str | None]]
) -> tuple[str, ...]:
    name, done = texts.name, []
    if reading.marks:
        done.append(f"{quoted(reading.marks)} taken off")
    separated = [text for text in texts.values if reading.form != POINT or re.search(r"\d[,'’\s]\d{2,3}", text)]
    if separated:
        done.append(f"{separated[0]!r} is {plain_number(separated[0], reading.form, reading.marks)}")
    gaps = texts.gap_remark(others)
    plain = (plain_number(text, reading.form, reading.marks) for text in texts.values)
    if any(text is not None and np.isinf(float(text)) for text in plain):
        done.append("infinite values are read as missing")
    words = "; ".join([*done, *([gaps] if gaps else [])]) or "its texts are plain numbers"
    remarks = [
        f'column {name!r} is read as numbers: {words}; to read its texts as labels: categorical = ["{name}"] in [data]'
    ]
    unsure = {text: [read[text] for read in readings.values()] for text in texts.values} if readings else {}
    ambiguous = next((text for text, (one, two) in unsure.items() if float(one or 0) != float(two or 0)), None)
    if ambiguous is not None:
        remarks.append(ambiguous_number(name, ambiguous, reading.form))
    return tuple(remarks)


def ambiguous_decimals(file: Path, table: "pd.DataFrame") -> tuple[str, ...]:
    """Report columns of a CSV file whose fields all look like 1.250: decimals, or thousands of another country."""
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
    texts = pd.read_csv(file, encoding="utf-8-sig", dtype=str, usecols=suspects, nrows=10_000)
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
        f'If that is wrong: numeric = {{ "{name}" = "{other}" }} in [data]; if it is right, write {form} to settle it'
    )
