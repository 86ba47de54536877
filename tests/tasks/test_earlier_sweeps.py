"""What a search reads of earlier sweeps: of which ones, at which rungs, and of which objectives."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from nightune.tasks.earlier_sweeps import alike_sweeps, read_earlier
from nightune.tasks.load_study import load_study
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.propose_trials import make_trial
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.first_rungs import write_first_rungs
from nightune.tasks.tracking.sweeps.sweeps import Sweep, finish_sweep, open_sweep
from nightune.tasks.tracking.trials.trial_log import TrialLog
from nightune.tuning.study.study import Study
from tests.flows.conftest import SMALL_STUDY
from tests.tasks.conftest import result_of

Begin = Callable[..., tuple[Study, Sweep]]
AUTO = SMALL_STUDY.replace('"random"\ntrials = 4\nepochs = 2', '"auto"\nstart = "none"\ntrials = 20\nepochs = 12')


@pytest.fixture
def begin(store: Store, tmp_path: Path) -> Begin:
    """Begin the next sweep of a study of this text, on data of this version."""

    def begin(text: str, version: str = "data-1") -> tuple[Study, Sweep]:
        path = tmp_path / "flowers.toml"
        path.write_text(text)
        study = load_study(path)
        return study, open_sweep(store, study, version, True, study.trial_count)

    return begin


def train(store: Store, data: PreparedData, study: Study, sweep: Sweep, first: int, count: int) -> None:
    """Write trials of the sweep that were trained for all epochs, at once."""
    for number, point in enumerate(study.draw(study.space, count, [], (1, 2)), start=first):
        ended = result_of(make_trial(study, sweep.number, data, number, point), epochs=study.search.epochs)
        log = TrialLog(store, sweep, ended.trial, {}, data)
        log.log_epoch(1, {"val_loss": ended.objective})
        log.finish(replace(ended, further={"parameters": 9.0} if sweep.further else {}), None)


def test_rungs_that_an_earlier_sweep_left_out_have_no_losses_though_it_had_more_trials(
    begin: Begin, store: Store, data: PreparedData
) -> None:
    study, sweep = begin(AUTO)
    write_first_rungs(store, sweep.run_id, {16: 12})
    train(store, data, study, sweep, 16, 4)
    finish_sweep(store, sweep, "", [])
    today, next_sweep = begin(AUTO.replace("trials = 20", "trials = 16"))
    assert {rung.epochs for bracket in today.brackets for rung in bracket.rungs} == {3, 6, 12}
    found = read_earlier(Setting(store, next_sweep, today, data)).same_data
    assert [set(each.losses) for each in found] == [{12}] * 4


def test_sweeps_of_other_limits_answer_another_question(begin: Begin, store: Store) -> None:
    for text in (AUTO, AUTO + "[limits]\nseconds = 60\n", AUTO + "[limits]\nparameters = 99\n"):
        _, sweep = begin(text)
        finish_sweep(store, sweep, "", [])
    study, sweep = begin(AUTO)
    assert [each.number for each, _ in alike_sweeps(store, study, sweep)] == [1, 0]
    study, sweep = begin(AUTO + "[limits]\nparameters = 99\n")
    assert [each.number for each, _ in alike_sweeps(store, study, sweep)] == [2]


@pytest.mark.parametrize(("objective", "of_other_data"), [('metric = "val_loss"', 4), ("", 0)])
def test_with_several_objectives_a_model_learns_from_the_same_data_alone(
    objective: str, of_other_data: int, begin: Begin, store: Store, data: PreparedData
) -> None:
    several = objective or 'metrics = ["val_loss", "parameters"]'
    text = AUTO.replace('"auto"', '"gp"').replace('metric = "val_loss"', several)
    for version in ("data-0", "data-1"):
        study, sweep = begin(text, version)
        train(store, data, study, sweep, 0, 4)
        finish_sweep(store, sweep, "", [])
    study, sweep = begin(text)
    found = read_earlier(Setting(store, sweep, study, data))
    assert (len(found.same_data), len(found.other_data)) == (4, of_other_data)
