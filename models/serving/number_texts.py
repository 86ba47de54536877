"""Read numbers as people write them: 1,250.00 · 1.250,00 · $12 · 41230 EUR · 5% · (1 250)."""

import re
from collections.abc import Sequence
from functools import cache

POINT, COMMA = "1,250.00", "1.250,00"  # how a column writes its numbers: the mark of decimals is the last one
FORMS = (POINT, COMMA)

# Texts that stand for no value in a column of numbers or dates, in lower case; the last row is that of spreadsheets.
PLACEHOLDERS = frozenset(
    [
        *("", "?", "??", "-", "--", "---", "–", "—", ".", "..", "...", "…", "*", "n/a", "na", "nan", "-nan", "<na>"),
        *("none", "null", "nil", "missing", "unknown", "n.a.", "n.a", "n/k", "nk", "tbd", "not available"),
        *("1.#ind", "1.#qnan", "-1.#ind", "-1.#qnan"),
        *("#n/a", "#n/a n/a", "#na", "#value!", "#div/0!", "#ref!", "#num!", "#null!", "#name?"),
    ]
)

MAGNITUDES = {
    "k": 3,
    "K": 3,
    "M": 6,
    "mn": 6,
    "Mio": 6,
    "Mio.": 6,
    "B": 9,
    "bn": 9,
    "Mrd": 9,
    "Mrd.": 9,
}  # powers of ten

_SIMPLE_MARKS = {POINT: (",", ""), COMMA: (".", "")}
_EVERYWHERE = str.maketrans(
    {
        **dict.fromkeys("\u00a0\u2007\u2009\u202f", " "),  # blanks that do not break, of several widths
        **dict.fromkeys("−‒", "-"),  # a typographic minus, a figure dash
        **dict.fromkeys("’ʼ`´", "'"),  # Swiss thousands
    }
)
_NUMBER = {
    form: re.compile(
        rf"(\d+|[1-9]\d{{0,2}}(?:{mark}\d{{3}})+|[1-9]\d{{0,2}}(?: \d{{3}})+|[1-9]\d{{0,2}}(?:'\d{{3}})+"
        rf"|[1-9]\d?(?:{mark}\d{{2}})+{mark}\d{{3}})?({decimal}\d*)?(e[+-]?\d+)?",
        re.IGNORECASE | re.ASCII,
    )
    for form, mark, decimal in [(POINT, ",", r"\."), (COMMA, r"\.", ",")]
}
_INFINITE = re.compile(r"inf(inity)?", re.IGNORECASE)


def plain_number(text: str, form: str, marks: Sequence[str] = ()) -> str | None:
    """Return a number's text with a decimal point and nothing else around it; None if the text is no such number.

    `marks` are the signs and units that may stand before or behind the number, once. Those that are magnitudes may
    stand right behind it, before a unit, and multiply it: 1.2M is 1.2e6.
    """
    simple = _simple_reader(form, tuple(marks)).fullmatch(text)
    if simple is not None:
        return (simple[1] or simple[2] or simple[3]).replace(*_SIMPLE_MARKS[form]).replace(",", ".")
    rest, is_negative = text.translate(_EVERYWHERE).strip(), False
    if rest.startswith("(") and rest.endswith(")"):
        rest, is_negative = rest[1:-1].strip(), True
    rest, sign = _without_sign(rest)
    rest = _without_mark(rest, [mark for mark in marks if mark not in MAGNITUDES])
    rest, power = _without_magnitude(rest, marks)
    rest, inner = _without_sign(rest)
    if (sign and inner) or (is_negative and (sign or inner)):
        return None
    digits = _digits(rest, form)
    if digits is None or (power and "e" in digits.lower()):
        return None
    digits += f"e{power}" if power else ""
    return f"-{digits}" if is_negative or "-" in (sign, inner) else digits


@cache
def _simple_reader(form: str, marks: tuple[str, ...]) -> re.Pattern[str]:
    """Match most texts of a column at once: a number with one style of thousands, and at most one sign around it."""
    mark, decimal = (",", r"\.") if form == POINT else (r"\.", ",")
    number = rf"(-?(?:[1-9]\d{{0,2}}(?:{mark}\d{{3}})+|\d+)(?:{decimal}\d+)?)"
    signs = "|".join(re.escape(each) for each in marks if each not in MAGNITUDES) or "(?!)"
    return re.compile(rf" *{number} *|(?:{signs}) *{number}|{number} *(?:{signs})", re.ASCII)


def is_placeholder(text: str, gaps: Sequence[str] = ()) -> bool:
    """True if a text stands for no value: a usual placeholder, or one of the column's own."""
    return text.strip().lower() in PLACEHOLDERS or text in gaps or text.strip() in gaps


def _without_sign(text: str) -> tuple[str, str]:
    if text[:1] in ("+", "-"):
        return text[1:].strip(), text[0]
    if text.endswith("-"):  # 1,250- in accounts
        return text[:-1].strip(), "-"
    return text, ""


def _without_mark(text: str, marks: Sequence[str]) -> str:
    for mark in sorted(marks, key=len, reverse=True):
        if mark and text.startswith(mark):
            return text[len(mark) :].strip()
        if mark and text.endswith(mark):
            return text[: -len(mark)].strip()
    return text


def _without_magnitude(text: str, marks: Sequence[str]) -> tuple[str, int]:
    for mark in sorted((mark for mark in marks if mark in MAGNITUDES), key=len, reverse=True):
        if text.endswith(mark):
            return text[: -len(mark)].strip(), MAGNITUDES[mark]
    return text, 0


def _digits(text: str, form: str) -> str | None:
    if _INFINITE.fullmatch(text):
        return "inf"
    match = _NUMBER[form].fullmatch(text)
    if match is None or not re.match(r"[.,]?\d", text):
        return None
    whole, fraction, exponent = (part or "" for part in match.groups())
    return re.sub(r"[,.' ]", "", whole) + fraction.replace(",", ".") + exponent
