"""Columns of dates written as texts: recognized by the order of day, month and year that reads nearly all of them."""

from collections.abc import Mapping

from nightune.models.data.columns.reading import SETTLED_BY, Reading, Texts, quoted
from nightune.models.errors import InputError
from nightune.models.serving.columns import ISO, are_iso_dates
from nightune.models.serving.date_texts import COMPACT, DAY_FIRST, MONTH_FIRST, YEAR_FIRST, read_date


def recognize_dates(texts: Texts, form: str = "", is_stated: bool = False) -> Reading | None:
    """Return how nearly all texts of a column are read as dates, or None; `form` is the study's."""
    values = texts.values
    if not values or texts.number_rows:
        return None
    if not form and _all_iso(values):
        return Reading("date", ISO, (), texts.missing, _remarks(texts, ISO, {}, is_ambiguous=False))
    forms = (form,) if form else (DAY_FIRST, MONTH_FIRST, YEAR_FIRST)
    likely = [each for each in forms if is_stated or texts.may_be([read_date(text, each) for text in texts.sample])]
    if not likely:
        return None
    readings = {each: {text: read_date(text, each) for text in values} for each in likely}
    counts = {each: _rows_read(texts, read) for each, read in readings.items()}
    chosen = max(counts, key=lambda each: counts[each])
    others = texts.others(readings[chosen])
    if is_stated:
        others = {text: rows for text, rows in values.items() if readings[chosen][text] is None}
        if len(others) == len(values):
            written = f"written like {form}" if form else "in a form that is known"
            raise InputError("data.dates", f"column {texts.name!r} holds no date {written}: {quoted(values, 1)}")
    if others is None:
        return None
    both = [readings[each] for each in (DAY_FIRST, MONTH_FIRST) if counts.get(each) == counts[chosen]]
    is_ambiguous = len(both) == 2 and both[0] != both[1]
    if is_ambiguous:
        chosen = _likelier(readings)
        is_ambiguous = not all("." in text for text in values)  # 01.02.2020 is day first wherever it is written
    said = "" if len(both) == 2 and both[0] == both[1] else chosen  # 31 Dec 2020 and 2020-12 have no order
    return Reading("date", chosen, (), (*texts.missing, *others), _remarks(texts, said, others, is_ambiguous))


def compact_remark(name: str, distinct: list[int]) -> str | None:
    """Say that whole numbers look like dates without separators, such as 20201231."""
    if len(distinct) < 10 or not all(read_date(str(value), COMPACT) is not None for value in distinct[:1000]):
        return None
    return (
        f"column {name!r} holds numbers such as {distinct[0]}, which look like dates and are read as amounts; "
        f'if they are dates: dates = {{ "{name}" = "{COMPACT}" }} in [data]'
    )


def _all_iso(values: Mapping[str, int]) -> bool:
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    return are_iso_dates(pd.Series(list(values), dtype=object))


def _rows_read(texts: Texts, read: Mapping[str, float | None]) -> int:
    return sum(rows for text, rows in texts.values.items() if read[text] is not None)


def _likelier(readings: Mapping[str, Mapping[str, float | None]]) -> str:
    """Of two orders, that in which all dates are of one day of the month, such as the first; else day first."""
    from datetime import UTC, datetime  # noqa: PLC0415 - only here

    days = {
        form: {datetime.fromtimestamp(moment, UTC).day for moment in readings[form].values() if moment is not None}
        for form in (DAY_FIRST, MONTH_FIRST)
    }
    return MONTH_FIRST if len(days[MONTH_FIRST]) == 1 < len(days[DAY_FIRST]) else DAY_FIRST


def _remarks(texts: Texts, form: str, others: Mapping[str, int], is_ambiguous: bool) -> tuple[str, ...]:
    name, gaps = texts.name, texts.gap_remark(others)
    example = next(text for text in texts.values if text not in others)
    written = f" written like {form}" if form else ""
    remarks = [f"column {name!r} is read as dates{written}, such as {example!r}{f'; {gaps}' if gaps else ''}"]
    if is_ambiguous:
        other = MONTH_FIRST if form == DAY_FIRST else DAY_FIRST
        remarks.append(
            f"column {name!r}: no date tells day from month ({quoted(texts.values, 1)}); it is read like {form}. "
            f'If that is wrong: dates = {{ "{name}" = "{other}" }} in [data]; '
            f'if it is right, {SETTLED_BY} dates = {{ "{name}" = "{form}" }}'
        )
    return tuple(remarks)
