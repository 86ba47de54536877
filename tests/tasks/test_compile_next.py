"""Which functions of programs are compiled beside a cohort."""

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
    """An engine with a program for each width, and a function for each size of batches."""

    begun: list[tuple[int, int]] = field(default_factory=list)

    def has_program(self, recipe: Recipe) -> bool:
        return width(recipe) in [width for width, _ in self.begun]

    def would_compile(self, recipe: Recipe, _plan: Any) -> bool:
        return function(recipe) not in self.begun

    def compile_ahead(self, recipe: Recipe, _plan: Any) -> None:
        self.begun.append(function(recipe))


def function(recipe: Recipe) -> tuple[int, int]:
    return width(recipe), recipe.batch_size.size


def width(recipe: Recipe) -> int:
    return int(cast(Any, recipe.model["units"])[0])


def trial(number: int, width: int, size: int = 4, **params: Any) -> Trial:
    given = {"model.units": [width], "batch_size.size": size, **params}
    return Trial(key=f"key-{number}", number=number, params=given, seed=number)


TRIALS = [trial(0, 8), trial(1, 8), trial(2, 16), trial(3, 32)]
SIZES = [trial(number, 8, size=1 << number) for number in range(6)]
OWN = {"model.architecture": "own.py:build"}


@pytest.mark.parametrize(
    ("known", "trials", "begun"),
    [
        ([], TRIALS, [(8, 4), (16, 4)]),
        ([(8, 4)], TRIALS, [(16, 4)]),
        ([(8, 4), (16, 4), (32, 4)], TRIALS, []),
        ([(8, 4)], [TRIALS[0], trial(4, 64, **OWN), TRIALS[3]], [(32, 4)]),
        ([(8, 4)], [TRIALS[0], trial(5, 64, optimizer="none_such"), TRIALS[3]], [(32, 4)]),
        ([(8, 4)], [TRIALS[0], trial(6, 8, size=2), TRIALS[2], trial(7, 16, size=2)], [(8, 2), (16, 4)]),
        ([(8, 1)], SIZES, [(8, 2), (8, 4), (8, 8), (8, 16)]),
    ],
)
def test_the_next_functions_of_a_program_are_begun_and_the_first_one_of_the_next_program(
    known: list[tuple[int, int]],
    trials: list[Trial],
    begun: list[tuple[int, int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "processor_count", lambda: 2)
    assert asked(trials, known, tmp_path) == begun


def test_a_trial_is_considered_once_unless_others_came_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "processor_count", lambda: 2)
    considered = set[str]()
    assert asked(SIZES, [(8, 1)], tmp_path, considered=considered) == [(8, 2), (8, 4), (8, 8), (8, 16)]
    assert asked(SIZES, [(8, 1)], tmp_path, considered=considered) == [(8, 32)]


def test_nothing_is_begun_after_a_crash_since_it_may_be_that_of_a_compilation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "processor_count", lambda: 2)
    log = open_crash_log(tmp_path, "flowers")
    assert asked(TRIALS, [(8, 4)], tmp_path) == [(16, 4)]
    with log.training(TRIALS[0].key, 0):
        log.record_crash(os.getpid(), "a crash beside it")
    assert not log.final_crash(TRIALS[0].key)
    assert asked(TRIALS, [(8, 4)], tmp_path) == []
    log.clear_crashes([TRIALS[0].key])
    assert asked(TRIALS, [(8, 4)], tmp_path) == [(16, 4)]


def test_models_with_limits_are_not_begun_and_none_with_one_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "processor_count", lambda: 2)
    assert asked(TRIALS, [(8, 4)], tmp_path, Limits(parameters=100)) == []
    monkeypatch.setattr(module, "processor_count", lambda: 1)
    assert asked(TRIALS, [(8, 4)], tmp_path) == []


def asked(
    trials: list[Trial],
    known: list[tuple[int, int]],
    root: Path,
    limits: Limits | None = None,
    considered: set[str] | None = None,
) -> list[tuple[int, int]]:
    engine = CountingEngine([*known])
    study = SimpleNamespace(name="flowers", limits=limits or Limits(), search=SimpleNamespace(epochs=2))
    setting: Any = SimpleNamespace(store=SimpleNamespace(root=root), study=study)
    data = SimpleNamespace(folds=(), train=[0] * 20, task="multiclass", output_count=1)
    trainer = SimpleNamespace(engine=engine, dataset=data, considered=set() if considered is None else considered)
    module.compile_next(setting, cast(Any, trainer), trials)
    return engine.begun[len(known) :]
