"""Read dates as people write them: 31/12/2020 · 12/31/2020 3:30 PM · 31 Dec 2020 · 2020/12/31."""

import re
from datetime import UTC, datetime, timedelta, timezone

DAY_FIRST, MONTH_FIRST, YEAR_FIRST = "DD/MM/YYYY", "MM/DD/YYYY", "YYYY/MM/DD"  # whatever separates the parts
COMPACT = "YYYYMMDD"
FORMS = (DAY_FIRST, MONTH_FIRST, YEAR_FIRST, COMPACT)
PLACES = {DAY_FIRST: (2, 1, 0), MONTH_FIRST: (2, 0, 1), YEAR_FIRST: (0, 1, 2)}  # of year, month, day
LATEST_SHORT_YEAR = 68  # 68 is 2068, 69 is 1969, as POSIX has it

_MONTHS = (  # English, German, French, Spanish, Italian, Portuguese
    "january januar janvier enero gennaio janeiro",
    "february februar février fevrier febrero febbraio fevereiro",
    "march märz maerz mrz mars marzo março",
    "april avril abril aprile",
    "may mai mayo maggio maio",
    "june juni juin junio giugno junho",
    "july juli juillet julio luglio julho",
    "august août aout agosto",
    "september septembre septiembre settembre setembro",
    "october oktober octobre octubre ottobre outubro",
    "november novembre noviembre novembro",
    "december dezember décembre decembre diciembre dicembre dezembro",
)
_TIME = (
    r"(?:[T,]?\s*(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"\s*(?P<half>[ap]\.?m\.?)?\s*(?P<zone>Z|UTC|GMT|[+-]\d{2}:?\d{2})?)?"
)
_COMPACT = re.compile(rf"(\d{{4}})(\d{{2}})(\d{{2}}){_TIME}", re.IGNORECASE)
_WORD = r"[^\W\d_]{3,}"
_WEEKDAY = rf"(?:{_WORD}\.?,?\s+)?"
_NUMERIC = re.compile(rf"{_WEEKDAY}(\d{{1,4}})([/.-])\s?(\d{{1,2}})\2\s?(\d{{1,4}})\.?{_TIME}", re.IGNORECASE)
_MONTH = re.compile(r"(?P<year>\d{4})[/.-](?P<month>\d{1,2})|(?P<month_first>\d{1,2})[/.-](?P<year_last>\d{4})")
_MONTH_WORD = re.compile(rf"(?P<month>{_WORD})\.?,?[\s/-]*(?P<year>\d{{4}})", re.IGNORECASE)
_DAY_WORD = re.compile(
    rf"{_WEEKDAY}(?P<day>\d{{1,2}})(?:st|nd|rd|th|\.|er)?[\s/-]*(?:de\s+)?(?P<month>{_WORD})\.?,?[\s/-]*(?:de\s+)?"
    rf"(?P<year>\d{{4}}|\d{{2}}){_TIME}",
    re.IGNORECASE,
)
_WORD_DAY = re.compile(
    rf"{_WEEKDAY}(?P<month>{_WORD})\.?\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<year>\d{{4}}){_TIME}", re.IGNORECASE
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_date(text: str, form: str) -> float | None:
    """Return the seconds since 1970 (UTC) of a date; None if the text is no date of this order of day and month."""
    stripped = " ".join(text.split())
    if form == COMPACT:
        compact = _COMPACT.fullmatch(stripped)
        return None if compact is None else _seconds((int(compact[1]), int(compact[2]), int(compact[3])), compact)
    numeric = _NUMERIC.fullmatch(stripped)
    if numeric is not None:
        parts = _ordered(numeric, form)
        return None if parts is None else _seconds(parts, numeric)
    if (month := _MONTH.fullmatch(stripped)) is not None:
        return _start(int(month["year"] or month["year_last"]), int(month["month"] or month["month_first"]))
    if (named := _MONTH_WORD.fullmatch(stripped)) is not None:
        return _start(int(named["year"]), _month(named["month"]))
    worded = _DAY_WORD.fullmatch(stripped) or _WORD_DAY.fullmatch(stripped)
    named_month = None if worded is None else _month(worded["month"])
    if worded is None or named_month is None:
        return None
    return _seconds((_year(worded["year"]), named_month, int(worded["day"])), worded)


def _start(year: int, month: int | None) -> float | None:
    """The start of a month."""
    if month is None or not (1 <= month <= 12 and year):
        return None
    return (datetime(year, month, 1, tzinfo=UTC) - _EPOCH).total_seconds()


def _ordered(match: re.Match[str], form: str) -> tuple[int, int, int] | None:
    """Year, month and day; a year has four digits, or two where each part has two or slashes separate them."""
    parts = (match[1], match[3], match[4])
    year, month, day = (parts[place] for place in PLACES[form])
    if len(year) not in ((4,) if form == YEAR_FIRST else (2, 4)) or max(len(month), len(day)) > 2:
        return None
    if len(year) == 2 and match[2] != "/" and not len(month) == len(day) == 2:
        return None
    return _year(year), int(month), int(day)


def _year(text: str) -> int:
    if len(text) > 2:
        return int(text)
    return int(text) + (2000 if int(text) <= LATEST_SHORT_YEAR else 1900)


def _month(word: str) -> int | None:
    """Return the month that alone begins with the word."""
    lower = word.lower()
    found = {number for number, names in enumerate(_MONTHS, 1) if any(name.startswith(lower) for name in names.split())}
    found |= {9} if lower == "sept" else set()
    return found.pop() if len(found) == 1 else None


def _seconds(parts: tuple[int, int, int], match: re.Match[str]) -> float | None:
    hour, minute, second = (int(match[name] or 0) for name in ("hour", "minute", "second"))
    if match["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if match["half"][0] in "pP" else 0)
    micro = int((match["fraction"] or "0").ljust(6, "0")[:6])
    try:
        moment = datetime(*parts, hour, minute, second, micro, tzinfo=_zone(match["zone"]))
    except ValueError:  # 31 February, 25:00
        return None
    return (moment - _EPOCH).total_seconds()


def _zone(text: str | None) -> timezone:
    if text is None or text.upper() in ("Z", "UTC", "GMT"):
        return UTC
    minutes = int(text[1:3]) * 60 + int(text[-2:])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))
