"""Inputs of stopping rules from outside a training: the same earlier curves after a stop, a user's function."""

from pathlib import Path
from typing import Any

import pytest

from nightune.models.recipe.params import read_recipe
from nightune.tasks.load_study import load_study
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.propose_trials import make_trial
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials.trial_log import TrialLog
from nightune.tasks.trial.stopping_inputs import stopping_inputs
from nightune.tuning.errors import StudyError
from nightune.tuning.trial import Status, Trial
from tests.tasks.conftest import SmallStudy, result_of

MEDIAN = {"stopping.rule": "median", "optimizer": "sgd"}


def trial_of(number: int, **params: Any) -> Trial:
    return Trial(number=number, params={**MEDIAN, **params}, seed=number, key=f"{number:016}")


def finish(store: Store, sweep: Sweep, data: PreparedData, trial: Trial, curve: list[float], status: Status) -> None:
    log = TrialLog(store, sweep, trial, {}, data)
    for epoch, value in enumerate(curve, start=1):
        log.log_epoch(epoch, {"loss": value, "val_loss": value})
    log.finish(result_of(trial, status=status, epochs=len(curve)), None)


def test_median_gets_the_curves_of_the_trials_before_it_in_the_order_of_training(
    store: Store, sweep: Sweep, study: SmallStudy, data: PreparedData
) -> None:
    """Adam's graph is trained before SGD's, so that trial 3 comes before trial 1."""
    trials = [trial_of(0), trial_of(1), trial_of(2), trial_of(3, optimizer="adam"), trial_of(4)]
    curves = {0: [0.5, 0.25], 2: [9.0], 3: [0.75, 0.5, 0.25], 4: [8.0]}
    for number in (3, 0, 4, 2):  # trials 2 and 4 are already done, as after an interruption
        finish(store, sweep, data, trials[number], curves[number], Status.COMPLETED)

    def earlier(trial: Trial) -> list[tuple[float, ...]]:
        recipe = read_recipe(trial.params)
        return list(stopping_inputs(Setting(store, sweep, study, data), trial, recipe).earlier_curves)  # type: ignore[arg-type]

    assert earlier(trials[3]) == []
    assert earlier(trials[1]) == [(0.5, 0.25), (0.75, 0.5, 0.25)]
    assert earlier(trials[2]) == [(0.5, 0.25), (0.75, 0.5, 0.25)]


def test_a_trial_that_failed_has_no_curve(store: Store, sweep: Sweep, study: SmallStudy, data: PreparedData) -> None:
    finish(store, sweep, data, trial_of(0), [], Status.FAILED)
    later = trial_of(1)
    inputs = stopping_inputs(Setting(store, sweep, study, data), later, read_recipe(later.params))  # type: ignore[arg-type]
    assert inputs.earlier_curves == []


def test_other_rules_get_no_inputs(store: Store, sweep: Sweep, study: SmallStudy, data: PreparedData) -> None:
    trial = trial_of(1, **{"stopping.rule": "patience"})
    inputs = stopping_inputs(Setting(store, sweep, study, data), trial, read_recipe(trial.params))  # type: ignore[arg-type]
    assert (inputs.earlier_curves, inputs.function) == ((), None)


STUDY = """
question = "When is it enough?"
[data]
source = "iris"
[space]
learning_rate.peak = { low = 1e-3, high = 1e-1, scale = "log" }
[stopping]
rule = "RULE"
[search]
method = "random"
trials = 2
epochs = 2
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "rules.py").write_text("def stop(curves):\n    return None\n", encoding="utf-8")
    path = tmp_path / "own.toml"
    path.write_text(STUDY.replace("RULE", "rules.py:stop"), encoding="utf-8")
    return path


def test_the_content_of_a_users_rule_is_part_of_a_trials_key(own: Path, data: PreparedData) -> None:
    study = load_study(own)

    def key() -> str:
        return make_trial(study, 0, data, 0, {"model.architecture": "mlp", "stopping.rule": "rules.py:stop"}).key

    before = key()
    assert key() == before
    (own.parent / "rules.py").write_text("def stop(curves):\n    return 'now'\n", encoding="utf-8")
    assert key() != before


def test_results_under_median_are_not_reused_in_another_sweep(own: Path, data: PreparedData) -> None:
    own.write_text(own.read_text().replace("trials = 2", "trials = 2\nreuse = true"), encoding="utf-8")
    study = load_study(own)

    def keys(rule: str) -> set[str]:
        point = {"model.architecture": "mlp", "stopping.rule": rule}
        return {make_trial(study, sweep, data, 0, point).key for sweep in (0, 1)}

    assert len(keys("patience")) == 1
    assert len(keys("median")) == 2


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("rules.py:stopp", r"stopping\.rule: rules\.py: unknown function 'stopp'; did you mean 'stop'"),
        ("rule.py:stop", r"stopping\.rule: no file 'rule\.py'"),
    ],
)
def test_a_rule_that_cannot_be_loaded_is_refused_before_training(own: Path, rule: str, words: str) -> None:
    own.write_text(STUDY.replace("RULE", rule), encoding="utf-8")
    with pytest.raises(StudyError, match=words):
        load_study(own)
