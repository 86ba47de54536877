import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightune.models.data.splits import Rows, Split, group_rows, random_rows, stratified_rows, time_rows
from nightune.models.errors import InputError

shares = st.sampled_from([0.1, 0.2, 0.25, 0.3])
seeds = st.integers(0, 2**32 - 1)


def parts(rows: Rows) -> list[np.ndarray]:
    return [part for part in (rows.train, rows.validation, rows.ranking, rows.test) if part is not None]


def assert_each_row_once(rows: Rows, count: int) -> None:
    assert sorted(np.concatenate(parts(rows)).tolist()) == list(range(count))
    assert all(len(part) for part in parts(rows))


@given(st.integers(10, 300), shares, shares, seeds)
@settings(deadline=None, max_examples=60)
def test_random_split_holds_each_row_once_in_the_asked_sizes(count, validation, test, seed):
    rows = random_rows(count, Split(validation=validation, test=test, seed=seed))
    assert_each_row_once(rows, count)
    assert abs(len(rows.validation) - validation * count) <= 0.5 + 1e-9
    assert abs(len(rows.test) - test * count) <= 0.5 + 1e-9


@given(st.lists(st.integers(0, 5), min_size=30, max_size=300), shares, shares, seeds)
@settings(deadline=None, max_examples=60)
def test_stratified_split_keeps_the_shares_of_classes_within_two_rows(classes, validation, test, seed):
    labels = np.array(classes)
    rows = stratified_rows(labels, Split(validation=validation, test=test, seed=seed))
    assert_each_row_once(rows, len(labels))
    for part in parts(rows):
        for label in np.unique(labels):
            expected = np.sum(labels == label) * len(part) / len(labels)
            assert abs(np.sum(labels[part] == label) - expected) < 2


@given(st.lists(st.integers(0, 40), min_size=10, max_size=300), shares, shares, seeds)
@settings(deadline=None, max_examples=60)
def test_groups_never_straddle_splits(groups, validation, test, seed):
    names = np.array([*groups, 100, 101, 102])
    rows = group_rows(names, Split("group", validation, test, column="g", seed=seed))
    assert_each_row_once(rows, len(names))
    homes = [name for part in parts(rows) for name in set(names[part].tolist())]
    assert len(homes) == len(set(homes))


@given(st.lists(st.integers(0, 12), min_size=10, max_size=200), shares, shares)
@settings(deadline=None, max_examples=100)
def test_time_split_is_in_order_and_keeps_times_together_where_it_can(times, validation, test):
    values = np.array(times, dtype=float)
    rows = time_rows(values, Split("time", validation, test, column="t"))
    assert_each_row_once(rows, len(values))
    assert values[rows.train].max() <= values[rows.validation].min()
    assert values[rows.validation].max() <= values[rows.test].min()
    if len(set(times)) >= 3:
        assert values[rows.train].max() < values[rows.validation].min()
        assert values[rows.validation].max() < values[rows.test].min()
        assert rows.findings == ()
    else:
        assert "two splits" in rows.findings[0]


@given(seeds)
@settings(deadline=None, max_examples=20)
def test_same_seed_gives_the_same_rows(seed):
    labels = np.arange(90) % 3
    groups = np.arange(90) // 4
    for make in (
        lambda: random_rows(90, Split(seed=seed)),
        lambda: stratified_rows(labels, Split(seed=seed)),
        lambda: group_rows(groups, Split("group", column="g", seed=seed)),
    ):
        for one, other in zip(parts(make()), parts(make()), strict=True):
            np.testing.assert_array_equal(one, other)


def test_other_seed_gives_other_rows():
    assert random_rows(90, Split(seed=1)).test.tolist() != random_rows(90, Split(seed=2)).test.tolist()


def test_equal_groups_fill_the_shares_exactly():
    rows = group_rows(np.arange(100) // 10, Split("group", 0.2, 0.2, column="g"))
    assert [len(part) for part in parts(rows)] == [60, 20, 20]


def test_one_giant_group_leaves_no_split_empty():
    rows = group_rows(np.array([0] * 97 + [1, 2, 3]), Split("group", 0.2, 0.2, column="g"))
    assert sorted(len(part) for part in parts(rows)) == [1, 2, 97]


def test_time_split_cuts_at_the_nearest_change_of_time():
    times = np.array([1] * 7 + [2] * 2 + [3] * 1, dtype=float)
    rows = time_rows(times, Split("time", 0.2, 0.2, column="t"))
    assert [len(part) for part in parts(rows)] == [7, 2, 1]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Split("stratifed"), ["data.split.kind", "'stratifed'; did you mean 'stratified'?"]),
        (lambda: Split(validation=0.0), ["data.split.validation", "0.0", "above 0, below 1"]),
        (lambda: Split(test=1.5), ["data.split.test", "1.5", "above 0, below 1"]),
        (lambda: Split(validation=0.5, test=0.5), ["data.split", "validation 0.5 and test 0.5"]),
        (lambda: Split("random", column="day"), ["data.split.column", "'day'", "'group' or 'time'"]),
        (lambda: random_rows(2, Split()), ["data.split.validation", "none of 2 rows"]),
        (
            lambda: group_rows(np.array([0, 0, 1, 1]), Split("group", column="g")),
            ["data.split.column", "'g' holds 2 groups", "at least 3"],
        ),
    ],
)
def test_impossible_split_is_refused_with_the_remedy(make, words):
    with pytest.raises(InputError) as caught:
        make()
    assert caught.value.key == words[0]
    assert not [word for word in words[1:] if word not in caught.value.message]


@given(st.lists(st.integers(0, 60), min_size=40, max_size=200), st.sampled_from([0.1, 0.15, 0.2]), seeds)
@settings(deadline=None, max_examples=60)
def test_ranking_rows_are_a_split_of_their_own_in_every_kind(values, ranking, seed):
    numbers = np.array([*values, 100, 101, 102, 103])
    for kind in (random_rows, group_rows, time_rows):
        split = Split(
            {random_rows: "random", group_rows: "group", time_rows: "time"}[kind],
            ranking=ranking,
            column=None if kind is random_rows else "c",
            seed=seed,
        )
        if kind is random_rows:
            rows = random_rows(len(numbers), split)
            assert abs(len(rows.ranking) - ranking * len(numbers)) <= 0.5 + 1e-9
        elif kind is group_rows:
            rows = group_rows(numbers, split)
        else:
            rows = time_rows(numbers.astype(float), split)
            assert numbers[rows.validation].max() < numbers[rows.ranking].min()
            assert numbers[rows.ranking].max() < numbers[rows.test].min()
        assert_each_row_once(rows, len(numbers))


def test_ranking_shares_that_leave_nothing_are_refused():
    with pytest.raises(InputError, match=r"data\.split: validation 0\.4, ranking 0\.2 and test 0\.4"):
        Split(validation=0.4, test=0.4, ranking=0.2)
    with pytest.raises(InputError, match=r"data\.split\.ranking: -0\.1 .*from 0, below 1"):
        Split(ranking=-0.1)


@given(st.lists(st.integers(0, 60), min_size=80, max_size=200), st.integers(1, 5), st.sampled_from([0.0, 0.1]))
@settings(deadline=None, max_examples=60)
def test_a_gap_leaves_out_whole_times_between_splits(times, gap, ranking):
    values = np.array([*times, *range(61)], dtype=float)  # each time has a row
    rows = time_rows(values, Split("time", 0.2, 0.2, column="t", ranking=ranking, gap=gap))
    for older, newer in itertools.pairwise(parts(rows)):
        assert values[newer].min() - values[older].max() == gap + 1
    left = len(values) - sum(map(len, parts(rows)))
    assert left > 0
    assert str(left) in rows.findings[0]


def test_a_gap_leaves_the_shares_of_validation_and_test():
    rows = time_rows(np.arange(100.0), Split("time", 0.2, 0.2, column="t", gap=10))
    assert [len(part) for part in parts(rows)] == [40, 20, 20]
    assert (rows.train.max(), rows.validation.min(), rows.test.min()) == (39, 50, 80)


@pytest.mark.parametrize(("gap", "days"), [("7 days", 7), ("1 week", 7), ("0.5 days", 1), ("36 hours", 2)])
def test_a_span_is_the_least_time_between_splits(gap, days):
    rows = time_rows(np.arange(100.0) * 86400, Split("time", 0.2, 0.2, column="t", gap=gap))
    assert rows.validation.min() - rows.train.max() == days
    assert rows.test.min() - rows.validation.max() == days


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: Split("random", gap=3), "time split"),
        (lambda: Split("time", gap="soon"), "7 days"),
        (lambda: Split("time", gap=-1), "from 0"),
        (lambda: time_rows(np.arange(20.0), Split("time", gap=15)), "smaller"),
        (lambda: time_rows(np.arange(20.0), Split("time", gap="1 day")), "smaller"),
    ],
)
def test_impossible_gap_is_refused(make, word):
    with pytest.raises(InputError, match=rf"data\.split\.gap: .*{word}"):
        make()
