"""The trials that are replayed: each once, whatever a later sweep reused of them."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nightune.models.errors import InputError
from nightune.tasks import simulate_search as replays
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.recorded_start import recorded_start
from nightune.tasks.simulate_search import Question, read_pool, simulate_search
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.sweeps import Sweep, finish_sweep, open_sweep
from nightune.tasks.tracking.trials.trial_log import TrialLog
from nightune.tasks.tracking.trials.trials import copy_as_reused
from nightune.tuning.errors import StudyError
from nightune.tuning.recorded_search import Pool, left_out
from nightune.tuning.search.domains import Choice, Range
from nightune.tuning.search.search_space import Dimension, SearchSpace
from nightune.tuning.trial import Parent, Status, Trial, TrialResult
from nightune.vocabulary import ARCHITECTURE
from tests.tasks.conftest import SmallStudy, result_of

SPACE = SearchSpace((Dimension("optimizer", Choice(("sgd", "adam"))),))
QUESTION = Question(SPACE, "minimize", "val_loss", 2, "same")


def train(
    store: Store,
    sweep: Sweep,
    data: PreparedData,
    number: int,
    status: Status,
    optimizer: str = "sgd",
    **more: Any,
) -> TrialResult:
    trial = Trial(number, {"optimizer": optimizer}, number, f"{number:016}", parent=more.get("parent"))
    result = result_of(trial, status=status, best_epoch=more.get("best_epoch", 0))  # without a checkpoint to copy
    log = TrialLog(store, sweep, trial, {}, data)
    log.log_epoch(1, {"val_loss": 0.5})
    return replace(result, run_id=log.finish(result, None))


def test_reused_trials_are_recorded_once_and_others_of_the_same_key_as_often_as_they_were_trained(
    store: Store, study: SmallStudy, sweep: Sweep, data: PreparedData
) -> None:
    whole = train(store, sweep, data, 0, Status.COMPLETED)
    train(store, sweep, data, 1, Status.FAILED)
    finish_sweep(store, sweep, "", [])
    later = open_sweep(store, study, "data-1", True, 3)  # type: ignore[arg-type]
    copy_as_reused(store, later, whole.trial, whole, data)
    train(store, later, data, 1, Status.COMPLETED)  # tried again
    for sweeps, count in (([sweep, later], 3), ([later, sweep], 3), ([later], 2)):
        assert len(read_pool(store, QUESTION, sweeps).recordings) == count


def test_what_cannot_be_replayed_is_counted(store: Store, sweep: Sweep, data: PreparedData) -> None:
    train(store, sweep, data, 0, Status.COMPLETED)
    train(store, sweep, data, 1, Status.COMPLETED, parent=Parent(0, 1, 9))
    train(store, sweep, data, 2, Status.COMPLETED, optimizer="rmsprop")
    pool = read_pool(store, QUESTION, [sweep])
    assert (len(pool.recordings), pool.continuations, pool.outside) == (1, 1, 1)
    said = left_out(pool)
    assert ["1 of 3" in each for each in said] == [True, True]
    assert "continue" in said[0]


def test_trials_without_an_objective_are_too_few_whatever_their_number(
    store: Store, sweep: Sweep, data: PreparedData
) -> None:
    train(store, sweep, data, 0, Status.COMPLETED, best_epoch=1)
    train(store, sweep, data, 1, Status.DIVERGED, "adam")
    with pytest.raises(InputError, match=r"1 recorded point with an objective.*2 or more"):
        replays._replay(store, QUESTION, [sweep], ["random"], [], 1)


def test_a_population_is_refused_with_the_reason(store: Store) -> None:
    with pytest.raises(InputError, match="do not branch"):
        simulate_search(store, [], ["random", "pbt"], [], 1)


def test_a_replay_begins_with_the_portfolio_and_scores_of_its_space_even_of_a_function_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = SearchSpace(
        (
            Dimension(ARCHITECTURE, Choice(("gone.py:build",))),
            Dimension("model.width", Range(8, 64, "log", integer=True)),
            Dimension("optimizer", Choice(("sgd", "adam"))),
            Dimension("learning_rate.peak", Range(1e-4, 0.1, "log")),
        )
    )
    start = recorded_start(space, "regression", True, "flowers-0")
    assert start.prior is not None
    first, again = start.configurations(0), start.configurations(0)
    assert len(first) == 8
    assert first == again != start.configurations(1)  # widths are drawn
    assert all({"model.width", "optimizer", "learning_rate.peak"} <= set(each.point) for each in first)
    for several, task in ((False, "regression"), (True, "multiclass")):
        other = recorded_start(space, task, several, "flowers-0")
        assert (other.prior is None) is not several
    for name in ("portfolio", "recorded_scores"):
        damaged = tmp_path / f"{name}.json"
        damaged.write_text("{")
        monkeypatch.setattr(f"nightune.tuning.search.{name}.FILE", damaged)
        with pytest.raises(StudyError, match=r"flowers-0.*\n*.*--methods.*reinstall.*leave auto out"):
            recorded_start(space, "regression", True, "flowers-0")
        damaged.unlink()
        start = recorded_start(space, "regression", True, "flowers-0")
        assert start.configurations(0) == ()
        assert (start.prior is None) is (name == "recorded_scores")  # as nightune tune without the files


def test_a_replay_of_a_study_that_needs_full_trainings_says_so_and_begins_by_any_profile_of_its_sweeps(
    store: Store, study: SmallStudy, sweep: Sweep, data: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, optimizer in enumerate(("sgd", "adam")):
        train(store, sweep, data, number, Status.COMPLETED, optimizer, best_epoch=1)
    question, pools = replace(QUESTION, needs_all=True), list[Pool]()
    profiles = {sweep.id: SimpleNamespace(task="regression")}
    monkeypatch.setattr(replays, "read_profile", lambda store, each: profiles.get(each.id))
    monkeypatch.setattr(replays, "compare", lambda pool, *_: pools.append(pool) or [])
    later = replace(sweep, id="flowers-9", further=(("latency_ms", "minimize"),))
    replay = replays._replay(store, question, [sweep, later], ["auto"], [], 1)
    assert pools[0].needs_all
    assert pools[0].start is not None
    assert any("several objectives" in each for each in replay.limits)
    profiles.clear()
    replay = replays._replay(store, question, [sweep], ["auto"], [], 1)
    assert pools[1].start is None
    assert any("task of the data is not recorded" in each for each in replay.limits)
    assert not any("several objectives" in each for each in replay.limits)
