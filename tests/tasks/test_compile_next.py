"""Which programs are compiled beside a cohort."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from nightune.models.recipe.recipe import Recipe
from nightune.tasks.trial import compile_next as module
from nightune.tasks.trial.crash_log import open_crash_log
from nightune.tuning.study.sections import Limits
from nightune.tuning.trial import Trial


@dataclass
class CountingEngine:
    """An engine with a program for each width."""

    begun: list[int] = field(default_factory=list)

    def has_program(self, recipe: Recipe) -> bool:
        return width(recipe) in self.begun

    def compile_ahead(self, recipe: Recipe, _plan: Any) -> None:
        self.begun.append(width(recipe))


def width(recipe: Recipe) -> int:
    return int(cast(Any, recipe.model["units"])[0])


def trial(number: int, width: int, **params: Any) -> Trial:
    return Trial(key=f"key-{number}", number=number, params={"model.units": [width], **params}, seed=number)


TRIALS = [trial(0, 8), trial(1, 8), trial(2, 16), trial(3, 32)]
OWN = {"model.architecture": "own.py:build"}


@pytest.mark.parametrize(
    ("known", "trials", "begun"),
    [
        ([], TRIALS, [8, 16]),
        ([8], TRIALS, [16]),
        ([8, 16, 32], TRIALS, []),
        ([8], [TRIALS[0], trial(4, 64, **OWN), TRIALS[3]], [32]),
        ([8], [TRIALS[0], trial(5, 64, optimizer="none_such"), TRIALS[3]], [32]),
    ],
)
def test_the_first_trials_program_and_the_next_one_are_begun(
    known: list[int], trials: list[Trial], begun: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "processor_count", lambda: 2)
    assert asked(trials, known, tmp_path) == begun


def test_nothing_is_begun_after_a_crash_since_it_may_be_that_of_a_compilation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "processor_count", lambda: 2)
    log = open_crash_log(tmp_path, "flowers")
    assert asked(TRIALS, [8], tmp_path) == [16]
    with log.training(TRIALS[0].key, 0):
        log.record_crash(os.getpid(), "a crash beside it")
    assert not log.final_crash(TRIALS[0].key)
    assert asked(TRIALS, [8], tmp_path) == []
    log.clear_crashes([TRIALS[0].key])
    assert asked(TRIALS, [8], tmp_path) == [16]


def test_models_with_limits_are_not_begun_and_none_with_one_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "processor_count", lambda: 2)
    assert asked(TRIALS, [8], tmp_path, Limits(parameters=100)) == []
    monkeypatch.setattr(module, "processor_count", lambda: 1)
    assert asked(TRIALS, [8], tmp_path) == []


def asked(trials: list[Trial], known: list[int], root: Path, limits: Limits | None = None) -> list[int]:
    engine = CountingEngine([*known])
    study = SimpleNamespace(name="flowers", limits=limits or Limits(), search=SimpleNamespace(epochs=2))
    setting: Any = SimpleNamespace(store=SimpleNamespace(root=root), study=study)
    data = SimpleNamespace(folds=(), train=[0] * 20, task="multiclass", output_count=1)
    module.compile_next(setting, cast(Any, SimpleNamespace(engine=engine, dataset=data)), trials)
    return engine.begun[len(known) :]
