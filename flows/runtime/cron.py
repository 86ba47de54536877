"""When nights begin: a cron line in a time zone, checked before anything is started."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import ValidationError


class ScheduleError(ValueError):
    """A cron line or a time zone that cannot be used; the text names it and says what is allowed."""


def check_schedule(cron: str, timezone: str) -> None:
    """Refuse a cron line or a time zone that Prefect would not run: ScheduleError."""
    from prefect.client.schemas.schedules import CronSchedule  # noqa: PLC0415 - Prefect takes seconds to import

    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleError(f"--timezone: unknown {timezone!r} (an IANA name, such as Europe/Paris)") from error
    allowed = "(five fields: minute hour day month weekday, such as '0 2 * * *')"
    if len(cron.split()) != 5:
        raise ScheduleError(f"--cron: {cron!r} is not a cron line {allowed}")
    try:
        CronSchedule(cron=cron, timezone=timezone)
    except ValidationError as error:
        raise ScheduleError(f"--cron: {cron!r} is not a cron line {allowed}") from error


def clock_change(cron: str, timezone: str, now: datetime) -> datetime | None:
    """Return the next day within a year on which a time of the cron line is skipped or comes twice, or None.

    `now` has no time zone: it is the time on the clock there. A line for every hour loses nothing that matters.
    """
    hours = _hours(cron.split()[1])
    zone = ZoneInfo(timezone)
    start = now.replace(minute=0, second=0, microsecond=0)
    for step in range(366 * 24):
        clock = start + timedelta(hours=step)
        is_twice = clock.replace(tzinfo=zone, fold=0).utcoffset() != clock.replace(tzinfo=zone, fold=1).utcoffset()
        if is_twice and clock.hour in hours:  # folds differ in the skipped hour of spring and the double one of autumn
            return clock
    return None


def _hours(field: str) -> set[int]:
    """The hours that a field of a cron line names; none for every hour."""
    hours: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        if span == "*" and not step:
            return set()
        low = 0 if span == "*" else int(first)
        high = int(last) if last else 23 if step or span == "*" else low
        hours |= set(range(low, high + 1, int(step or 1)))
    return hours
