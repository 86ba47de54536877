"""The trials that are replayed: each once, whatever a later sweep reused of them."""

from dataclasses import replace
from pathlib import Path

import pytest

from nightune.models.errors import InputError
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.recorded_start import recorded_start
from nightune.tasks.simulate_search import Question, read_pool, simulate_search
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.sweeps import Sweep, finish_sweep, open_sweep
from nightune.tasks.tracking.trials.trial_log import TrialLog
from nightune.tasks.tracking.trials.trials import copy_as_reused
from nightune.tuning.errors import StudyError
from nightune.tuning.recorded_search import left_out
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
    parent: Parent | None = None,
) -> TrialResult:
    trial = Trial(number, {"optimizer": optimizer}, number, f"{number:016}", parent=parent)
    result = result_of(trial, status=status, best_epoch=0)  # without a checkpoint to copy
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
    assert start is not None
    assert start.prior is not None
    first, again = start.configurations(0), start.configurations(0)
    assert len(first) == 8
    assert first == again != start.configurations(1)  # widths are drawn
    assert all({"model.width", "optimizer", "learning_rate.peak"} <= set(each.point) for each in first)
    for several, task in ((False, "regression"), (True, "multiclass")):
        other = recorded_start(space, task, several, "flowers-0")
        assert other is not None
        assert (other.prior is None) is not several
    damaged = tmp_path / "portfolio.json"
    damaged.write_text("{")
    monkeypatch.setattr("nightune.tuning.search.portfolio.FILE", damaged)
    with pytest.raises(StudyError, match=r"flowers-0.*\n*.*reinstall"):
        recorded_start(space, "regression", True, "flowers-0")
    damaged.unlink()
    assert recorded_start(space, "regression", True, "flowers-0") is None
