"""A night that begins with the best points of the one before."""

from pathlib import Path

import pytest

from nightune.tasks.reporting.sweep_report import SweepReport
from nightune.tasks.tracking.store.store import client, open_store
from nightune.tuning.search.earlier import point_of
from tests.flows.conftest import SMALL_STUDY

pytestmark = pytest.mark.usefixtures("plain_flows", "store_root")

TRIALS = SMALL_STUDY.replace("trials = 4", "trials = 6").replace("epochs = 2", "epochs = 1")
HISTORY, NO_HISTORY = (TRIALS.replace("epochs = 1", f"epochs = 1\nhistory = {each}") for each in ("true", "false"))


def tune(study: Path, text: str, **options: object) -> SweepReport:
    from nightune.flows.tune import tune as flow

    study.write_text(text)
    report = flow(study, engine="fit", **options)
    assert isinstance(report, SweepReport)
    return report


def test_the_best_points_of_a_night_begin_the_next_one(small_study: Path, store_root: Path) -> None:
    from nightune.tasks.load_study import load_study

    first = tune(small_study, TRIALS, fresh=True, is_night=True)
    second = tune(small_study, TRIALS, fresh=True, is_night=True)
    space = load_study(small_study).space
    best = [point_of(space, each.trial.params) for each in first.results[:5]]
    begun = {each.trial.number: each for each in second.results}
    assert [point_of(space, begun[number].trial.params) for number in range(5)] == best
    assert len({each.trial.key for each in (*first.results, *second.results)}) == 12  # with seeds of their own
    runs = client(open_store(store_root))
    tags = [runs.get_run(begun[number].run_id).data.tags["nightune.proposed_by"] for number in range(6)]
    assert tags == ["history"] * 5 + ["random"]
    assert runs.get_run(second.sweep.run_id).data.tags["nightune.began_from"] == first.sweep.id
    assert tune(small_study, TRIALS).results == second.results


def test_only_nights_and_studies_that_say_so_begin_with_history(small_study: Path) -> None:
    from nightune.tasks.load_study import load_study

    for text, by_hand, at_night in ((TRIALS, False, True), (HISTORY, True, True), (NO_HISTORY, False, False)):
        small_study.write_text(text)
        search = load_study(small_study).search
        assert (search.uses_history(is_night=False), search.uses_history(is_night=True)) == (by_hand, at_night)


@pytest.mark.nights
def test_a_search_by_hand_begins_with_history_only_where_the_study_says_so(small_study: Path) -> None:
    first = tune(small_study, TRIALS, fresh=True, is_night=True)
    plain = tune(small_study, TRIALS, fresh=True)
    begun = tune(small_study, HISTORY, fresh=True)
    best = {each.trial.params["learning_rate.peak"] for each in plain.results[:5]}
    assert {each.trial.params["learning_rate.peak"] for each in begun.results if each.trial.number < 5} == best
    assert first.results[0].trial.params not in [each.trial.params for each in plain.results]
