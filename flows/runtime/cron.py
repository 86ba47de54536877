"""When nights begin: a cron line in a time zone, checked before anything is started."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
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

    `now` has no time zone: it is the time on the clock there. A line for every hour loses nothing that matters, and
    what Prefect reads but cronsim does not (ranges over midnight) gets no warning.
    """
    try:
        hours = CronSim(cron, now).hours
    except CronSimError:
        return None
    if len(hours) == 24:
        return None
    zone = ZoneInfo(timezone)
    start = now.replace(minute=0, second=0, microsecond=0)
    for step in range(366 * 24):
        clock = start + timedelta(hours=step)
        is_twice = clock.replace(tzinfo=zone, fold=0).utcoffset() != clock.replace(tzinfo=zone, fold=1).utcoffset()
        if is_twice and clock.hour in hours:  # folds differ in the skipped hour of spring and the double one of autumn
            return clock
    return None
