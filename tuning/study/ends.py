"""What ends a search beside its number of trials: epochs, hours, a time of day, and trials without a better one."""

import math
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from pydantic_core import PydanticCustomError

from nightune.tuning.trial import TrialResult
from nightune.vocabulary import shown, sign_of

ENDS = ("total_epochs", "hours", "device_hours", "until", "patience")  # keys of [search]; they change no trial
MAY_CHANGE = (*ENDS, "history", "audit")  # keys of [search] that may change while a sweep continues
MOST_TRIALS = 1000  # of a search that has an end and no number of trials
HOUR = 3600.0  # seconds
TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


def read_time(text: str) -> str:
    """Refuse what is not a time of day."""
    if TIME.fullmatch(text):
        return text
    message = f'{shown(text)} is not a time of day (allowed: "00:00" to "23:59", local time)'
    raise PydanticCustomError("message", "{message}", {"message": message})


def next_time(time: str, now: datetime) -> datetime:
    """Return the first moment after `now` at this time of day, in its time zone."""
    hour, minute = map(int, time.split(":"))
    today = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return today if today > now else today + timedelta(days=1)


def seconds_to_end(ends: Mapping[str, object], now: datetime) -> float:
    """Return the seconds that a search which begins now may take by these ends at most; infinite by those of trials."""
    found = [HOUR * float(str(ends[name])) for name in ("hours", "device_hours") if name in ends]
    if "until" in ends:
        found.append((next_time(str(ends["until"]), now) - now).total_seconds())
    return min(found, default=math.inf)


def trials_since_best(results: Iterable[TrialResult], direction: str) -> int:
    """Return how many trials, by number, follow the first one with the best objective; 0 if none is ranked."""
    ordered = sorted(results, key=lambda result: result.trial.number)
    sign = sign_of(direction)
    ranked = [(sign * result.objective, place) for place, result in enumerate(ordered) if result.is_ranked]
    return len(ordered) - 1 - min(ranked)[1] if ranked else 0


def total_epochs_problem(total: int | None, epochs: int, replicates: int, whose: str) -> str:
    """Say what is wrong if the replicates of `whose` leave no epochs for a trial; empty if there are enough."""
    needed = (replicates + 1) * epochs
    if total is None or needed <= total:
        return ""
    problem = f"{total}, but {whose} up to {replicates} replicates of {epochs} epochs, and the search a trial"
    return f"{problem} (allowed: {needed} or more)"


def end_text(key: str, value: object) -> str:
    """Return an end as it stands in a study, `hours = 8`, which `has_room` reads."""
    if isinstance(value, float):
        short = f"{value:g}"
        return f"{key} = {short if float(short) == value else repr(value)}"
    return f"{key} = {value}"


def has_room(ends: dict[str, object], ended_by: str) -> bool:
    """True if a search that was ended by this, `hours = 8`, may continue with a study of these ends."""
    key, _, value = ended_by.partition(" = ")
    now = ends.get(key)
    if key not in ENDS or now is None:
        return True
    if isinstance(now, int | float):
        try:
            return now > float(value)
        except ValueError:  # changed by hand
            return False
    return now != value
