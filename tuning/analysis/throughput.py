"""How many trials an hour a sweep has trained, from when each began and ended."""

from collections.abc import Iterable

PAUSE_SECONDS = 60.0  # a longer time without a trial is an interruption, not work between two trials

Span = tuple[float, float]  # begin and end, in seconds since any one moment


def trials_per_hour(spans: Iterable[Span]) -> float | None:
    """Trials an hour of the time in which the sweep was at work; None where no time has passed.

    Trials that were trained side by side share their time. Compiling, checkpoints and tracking between two trials
    count as work; the time between an interruption and its resumption does not.
    """
    ordered = sorted(spans)
    busy = busy_seconds(ordered)
    return len(ordered) * 3600.0 / busy if busy > 0.0 else None


def busy_seconds(spans: Iterable[Span]) -> float:
    """The length of the spans' union, with the gaps that are no pauses."""
    total, begin, end = 0.0, 0.0, 0.0
    for number, (first, last) in enumerate(sorted(spans)):
        if number and first - end <= PAUSE_SECONDS:
            end = max(end, last)
        else:
            total += end - begin
            begin, end = first, last
    return total + end - begin
