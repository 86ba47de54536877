"""Check the schedule of nights, a cron expression in a time zone, before anything starts."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import ValidationError


class ScheduleError(ValueError):
    """A cron expression or a time zone that cannot be used; the text names it and the allowed values."""


def check_schedule(cron: str, timezone: str) -> None:
    """Raise ScheduleError unless Prefect accepts the cron expression and the time zone exists."""
    from prefect.client.schemas.schedules import CronSchedule  # noqa: PLC0415 - Prefect takes seconds to import

    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleError(f"--timezone: unknown {timezone!r} (an IANA name, such as Europe/Paris)") from error
    allowed = "(five fields: minute hour day month weekday, such as '0 2 * * *')"
    if len(cron.split()) != 5:
        raise ScheduleError(f"--cron: {cron!r} is not a cron expression {allowed}")
    try:
        CronSchedule(cron=cron, timezone=timezone)
    except ValidationError as error:
        raise ScheduleError(f"--cron: {cron!r} is not a cron expression {allowed}") from error


def clock_change(cron: str, timezone: str, now: datetime) -> datetime | None:
    """Return the next change of clocks within a year that skips or repeats an hour of the cron expression, or None.

    `now` is the local time, without a time zone. None for expressions that run every hour, which lose little, and for
    those that Prefect reads but cronsim does not (ranges across midnight).
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
        is_changed = clock.replace(tzinfo=zone, fold=0).utcoffset() != clock.replace(tzinfo=zone, fold=1).utcoffset()
        if is_changed and clock.hour in hours:  # folds differ in skipped and in repeated hours
            return clock
    return None
