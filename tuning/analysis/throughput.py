"""Trials per hour of a sweep, from the start and end times of its trials."""

from collections.abc import Iterable

PAUSE_SECONDS = 60.0  # a longer gap between trials is an interruption

Span = tuple[float, float]  # start and end, in seconds


def trials_per_hour(spans: Iterable[Span]) -> float | None:
    """Return trials per hour of busy time; None if there is none.

    Concurrent trials share their time. Compilation, checkpoints and tracking between two trials are busy time; the time
    between an interruption and the resumption is not.
    """
    ordered = sorted(spans)
    busy = busy_seconds(ordered)
    return len(ordered) * 3600.0 / busy if busy > 0.0 else None


def busy_seconds(spans: Iterable[Span]) -> float:
    """Return the length of the union of the spans, including gaps of up to PAUSE_SECONDS."""
    total, begin, end = 0.0, 0.0, 0.0
    for number, (first, last) in enumerate(sorted(spans)):
        if number and first - end <= PAUSE_SECONDS:
            end = max(end, last)
        else:
            total += end - begin
            begin, end = first, last
    return total + end - begin
