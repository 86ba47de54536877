"""What ends a search beside its number of trials: the keys, the budget of epochs and hours, and patience."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from nightune.tuning.search.domains import Choice, Range
from nightune.tuning.search.search_space import Dimension, SearchSpace
from nightune.tuning.search_budget import SearchBudget, SearchEndedError
from nightune.tuning.study.budgets import brackets
from nightune.tuning.study.ends import MOST_TRIALS, end_text, has_room, next_time, trials_since_best
from nightune.tuning.study.rounds import bracket_points
from nightune.tuning.study.search_section import SearchSection
from nightune.tuning.study.sections import ConfirmationSection
from nightune.tuning.trial import Status, Trial, TrialResult

START = datetime(2026, 1, 1, 22, 0, tzinfo=UTC)


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def time(self) -> datetime:
        return START + timedelta(seconds=self.seconds)


def section(**keys: Any) -> SearchSection:
    return SearchSection.model_validate({"method": "random", "epochs": 10, **keys})


def trial(number: int) -> Trial:
    return Trial(number, {}, 0, f"key{number}")


def result(number: int, objective: float = 0.5, epochs: int = 10, seconds: float = 60.0, **more: Any) -> TrialResult:
    status = more.pop("status", Status.COMPLETED)
    return TrialResult(trial(number), status, objective, 1, epochs, epochs, epochs, seconds, **more)


def budget_of(clock: Clock, replicates: int = 0, results: Any = (), **keys: Any) -> SearchBudget:
    deadline = keys.pop("deadline", None)
    return SearchBudget(section(**keys), lambda trials: replicates, results, clock, clock.time, deadline=deadline)


def test_a_search_with_an_end_has_rounds_and_up_to_a_thousand_trials() -> None:
    search = section(hours=8)
    assert search.trials == MOST_TRIALS
    rounds = brackets(search, SearchSpace(()))
    assert sum(each.trials for each in rounds) == MOST_TRIALS
    assert {each.trials for each in rounds[:-1]} == {16}
    assert len(brackets(section(trials=40), SearchSpace(()))) == 1


def test_the_trials_of_a_bounded_search_are_those_of_an_unbounded_one() -> None:
    space = SearchSpace((Dimension("rate", Range(1e-4, 1.0, "log")), Dimension("units", Choice((8, 16, 32)))))
    bounded, unbounded = section(hours=8, trials=40), section(trials=40)
    points = [point for each in brackets(bounded, space) for point in bracket_points(bounded, space, each, (), (3, 0))]
    assert points == bracket_points(unbounded, space, brackets(unbounded, space)[0], (), (3, 0))


def test_points_that_begin_a_search_are_drawn_no_second_time() -> None:
    space = SearchSpace((Dimension("units", Choice(tuple(range(10)))),))
    search = section(trials=6)
    (bracket,) = brackets(search, space)
    drawn = bracket_points(search, space, bracket, (), (3, 0))
    begun = bracket_points(search, space, bracket, (), (3, 0), kept=[drawn[4], drawn[5]])
    assert begun[:2] == [drawn[4], drawn[5]]
    assert len({str(each) for each in begun}) == len(begun) == 6
    other = {"units": 11}
    assert bracket_points(search, space, bracket, (), (3, 0), kept=[other]) == [other, *drawn[1:]]


def test_a_number_of_trials_stays_beside_an_end() -> None:
    assert section(hours=8, trials=40).trials == 40


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({"method": "grid", "hours": 8}, "grid"),
        ({"method": "hyperband", "until": "07:00"}, "hyperband"),
        ({"method": "successive_halving", "trials": 16, "patience": 3}, "successive_halving"),
        ({"total_epochs": 9}, "fewer"),
        ({"until": "7 am"}, "time of day"),
        ({"until": "24:00"}, "time of day"),
        ({"hours": 0}, "hours"),
        ({"hours": float("inf")}, "hours"),
        ({"patience": 0}, "patience"),
    ],
)
def test_ends_that_a_search_cannot_have_are_refused(keys: dict[str, Any], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        section(**keys)


def test_a_time_of_day_is_the_next_one() -> None:
    assert next_time("07:00", START) == datetime(2026, 1, 2, 7, 0, tzinfo=UTC)
    assert next_time("23:30", START) == datetime(2026, 1, 1, 23, 30, tzinfo=UTC)
    assert next_time("22:00", START) == datetime(2026, 1, 2, 22, 0, tzinfo=UTC)


def test_epochs_in_total_are_never_exceeded_and_leave_the_confirmation_its_own() -> None:
    budget = budget_of(Clock(), replicates=3, total_epochs=65)
    trained = 0
    for number in range(10):
        if not budget.admits(trial(number), 10):
            break
        trained += 4 if number == 0 else 10
        budget.settle(trial(number), result(number, epochs=4 if number == 0 else 10))
    assert trained == 34  # 65 − 30 for the confirmation leave 35: after 4 + 10 + 10 + 10 no other trial fits
    assert budget.ended_by == "total_epochs = 65"
    assert not budget.admits(trial(11), 10)


def test_a_trial_that_makes_the_confirmation_larger_needs_room_for_it() -> None:
    clock = Clock()
    trained = [result(number) for number in range(59)]

    def admits(total: int) -> bool:
        replicates = [ConfirmationSection().after(trials).trainings for trials in range(61)]
        budget = SearchBudget(section(total_epochs=total), replicates.__getitem__, trained, clock, clock.time)
        return budget.admits(trial(59), 10)

    assert not admits(60 * 10 + 15 * 10 - 1)
    assert admits(60 * 10 + 15 * 10)


def test_a_trial_that_continues_counts_only_its_new_epochs() -> None:
    budget = budget_of(Clock(), results=[result(0, epochs=6, status=Status.NOT_PROMOTED)], total_epochs=10)
    assert budget.admits(trial(0), 10)


def test_trials_under_way_count_with_all_their_epochs() -> None:
    budget = budget_of(Clock(), total_epochs=25)
    assert budget.admits(trial(0), 10)
    assert budget.admits(trial(1), 10)
    assert not budget.admits(trial(2), 10)
    assert not budget.ended_by


def test_hours_admit_what_is_expected_to_fit_beside_the_confirmation() -> None:
    clock = Clock()
    budget = budget_of(clock, replicates=2, hours=0.1)  # 360 s, two trainings of 60 s in the confirmation
    admitted = 0
    while budget.admits(trial(admitted), 10):
        clock.seconds += 60
        budget.settle(trial(admitted), result(admitted))
        admitted += 1
    assert (admitted, budget.ended_by) == (4, "hours = 0.1")
    budget.check()  # 240 of 360 s: a training under way continues
    clock.seconds = 361
    with pytest.raises(SearchEndedError):
        budget.check()


def test_earlier_processes_count_in_hours() -> None:
    clock = Clock()
    budget = SearchBudget(section(hours=0.1), lambda trials: 0, [result(0)], clock, clock.time, earlier_seconds=301)
    assert not budget.admits(trial(1), 10)


def test_a_time_of_day_ends_the_search() -> None:
    clock = Clock()
    budget = budget_of(clock, until="22:10", deadline=next_time("22:10", START))
    assert budget.admits(trial(0), 10)
    budget.settle(trial(0), result(0))
    clock.seconds = 539
    assert budget.admits(trial(1), 10)
    budget.settle(trial(1), None)
    clock.seconds = 541
    assert not budget.admits(trial(2), 10)
    assert budget.ended_by == "until = 22:10"


def test_device_hours_count_trainings_not_waiting() -> None:
    clock = Clock()
    budget = budget_of(clock, results=[result(0)], device_hours=0.04)  # 144 s
    clock.seconds = 10_000
    assert budget.admits(trial(1), 10)
    budget.settle(trial(1), result(1))
    assert not budget.admits(trial(2), 10)


def test_patience_counts_trials_by_number_since_the_first_best() -> None:
    results = [result(3, 0.4), result(0, 0.5), result(1, 0.3), result(2, 0.3), result(4, float("nan"))]
    assert trials_since_best(results, "minimize") == 3
    assert trials_since_best(results, "maximize") == 4
    assert trials_since_best([result(0, float("nan"))], "minimize") == 0


@pytest.mark.parametrize(
    ("ends", "ended_by", "room"),
    [
        ({"hours": 8.0}, "hours = 8", False),
        ({"hours": 9.0}, "hours = 8", True),
        ({"hours": 7.0}, "hours = 8", False),
        ({"patience": 5}, "hours = 8", True),
        ({"until": "07:00"}, "until = 07:00", False),
        ({"until": "09:00"}, "until = 07:00", True),
        ({"patience": 5}, "patience = five", False),
    ],
)
def test_a_greater_end_leaves_room(ends: dict[str, object], ended_by: str, room: bool) -> None:
    assert has_room(ends, ended_by) is room


def test_an_end_is_written_as_in_the_study() -> None:
    assert end_text("hours", 8.0) == "hours = 8"
    assert end_text("until", "07:00") == "until = 07:00"


def test_more_draws_renumber_no_point_of_a_search_that_was_begun() -> None:
    space = SearchSpace(tuple(Dimension(name, Choice(tuple(range(8)))) for name in ("a", "b")))
    short, long = section(trials=24), section(trials=48)
    (first,), (longer,) = brackets(short, space), brackets(long, space)
    drawn = bracket_points(long, space, longer, (), (3, 0))
    kept = [drawn[30], drawn[40], drawn[5]]
    begun = bracket_points(short, space, first, (), (3, 0), kept=kept)
    extended = bracket_points(long, space, longer, (), (3, 0), kept=kept)
    assert extended[:24] == begun
    assert len({str(each) for each in extended}) == 48
    rounds = [
        point
        for each in brackets(section(trials=48, hours=8), space)
        for point in bracket_points(section(trials=48, hours=8), space, each, (), (3, 0), kept=kept)
    ]
    assert rounds == extended


def test_a_trial_waits_where_others_may_leave_it_room() -> None:
    budget = budget_of(Clock(), total_epochs=25)
    assert budget.admits(trial(0), 10)
    assert budget.admits(trial(1), 10)
    assert not budget.admits(trial(2), 10)
    assert not budget.ended_by
    budget.settle(trial(0), result(0, epochs=2))
    budget.settle(trial(1), result(1, epochs=3))
    assert budget.admits(trial(2), 10)


def test_own_seconds_count_where_trials_share_a_device() -> None:
    budget = budget_of(Clock(), device_hours=0.05)  # 180 s
    for number in range(4):
        assert budget.admits(trial(number), 10)
    for number in range(4):
        budget.settle(trial(number), result(number, seconds=100.0), own_seconds=25.0)
    assert budget.admits(trial(4), 10)


def test_every_value_of_an_end_is_read_as_it_was_written() -> None:
    for hours in (8.0, 1 / 3, 8.3333333, 2.5):
        assert not has_room({"hours": hours}, end_text("hours", hours))


def test_a_process_that_is_killed_has_recorded_half_of_its_seconds_or_all_but_half_a_minute() -> None:
    clock = Clock()
    budget, recorded = budget_of(clock, hours=1.0), list[float]()
    for _ in range(3600):
        clock.seconds += 0.1
        if budget.is_record_due():
            recorded.append(clock.seconds)
        assert clock.seconds - recorded[-1] <= min(30.0, clock.seconds / 2)
    assert len(recorded) <= 25
