"""Trials per hour of work, independent of their order and of interruptions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightune.tuning.analysis.throughput import PAUSE_SECONDS, busy_seconds, trials_per_hour

SPANS = st.lists(
    st.tuples(st.integers(0, 10_000), st.integers(0, 500)).map(lambda each: (float(each[0]), float(sum(each)))),
    max_size=12,
)


def test_sequential_trials_include_the_work_between_them() -> None:
    assert trials_per_hour([(0.0, 10.0), (12.0, 30.0), (31.0, 36.0)]) == pytest.approx(3 * 3600 / 36)


def test_trials_side_by_side_share_their_time() -> None:
    assert trials_per_hour([(0.0, 40.0), (0.0, 36.0), (5.0, 30.0)]) == pytest.approx(3 * 3600 / 40)


def test_an_interruption_is_not_counted_as_work() -> None:
    assert busy_seconds([(0.0, 10.0), (10.0 + PAUSE_SECONDS + 1.0, 91.0)]) == pytest.approx(30.0)


def test_without_elapsed_time_there_is_no_throughput() -> None:
    assert trials_per_hour([]) is None
    assert trials_per_hour([(5.0, 5.0)]) is None


@given(SPANS, st.randoms())
def test_work_is_between_the_longest_trial_and_the_whole_time_in_any_order(spans, random) -> None:  # type: ignore[no-untyped-def]
    shuffled = random.sample(spans, len(spans))
    busy = busy_seconds(shuffled)
    assert busy == busy_seconds(spans)
    if spans:
        assert max(end - begin for begin, end in spans) <= busy
        assert busy <= max(end for _, end in spans) - min(begin for begin, _ in spans)
