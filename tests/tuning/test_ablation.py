"""Ablation: planted steps are found, conditional dimensions move along, and noise has no certain step."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nightune.tuning.analysis.ablation import AblationPath, ablation_path, default_point, holds, of_space
from nightune.tuning.search.domains import Choice, Range
from nightune.tuning.search.search_space import Condition, Dimension, SearchSpace
from nightune.tuning.trial import Params, Status, Trial, TrialResult

SPACE = SearchSpace(
    (
        Dimension("rate", Range(1e-4, 1e-1, "log")),
        Dimension("optimizer", Choice(("sgd", "adam", "lion"))),
        Dimension("beta", Range(0.5, 1.0), (Condition("optimizer", ("adam",)),)),
        Dimension("nesterov", Choice((True, False)), (Condition("optimizer", ("sgd",)),)),
        Dimension("size", Range(8, 64, integer=True)),
        Dimension("fixed", Choice((3,))),
    )
)


def swept(score: Callable[[Params], float], seed: int = 0, trials: int = 40) -> list[TrialResult]:
    generator, results = np.random.default_rng(seed), []
    for number in range(trials):
        params = SPACE.at({name: generator.random() for name in SPACE.by_name})
        trial = Trial(number, params, 1, f"{number:016x}")
        objective = float(score(params) + 0.03 * generator.normal())
        results.append(TrialResult(trial, Status.COMPLETED, objective, 1, 1, 1, 1, 1.0, run_id=str(number)))
    return sorted(results, key=lambda each: -each.objective)


def planted(params: Params) -> float:
    return 0.3 * (params["optimizer"] == "adam") + 0.1 * float(np.log10(params["rate"] * 1e4))  # type: ignore[arg-type, operator]


def path_of(ranked: list[TrialResult], is_larger_better: bool = True) -> AblationPath:
    start = default_point(SPACE, lambda name, _: {"rate": 1e-4, "optimizer": "sgd"}.get(name))
    found = ablation_path(SPACE, ranked, float, (start, ranked[0].trial.params), is_larger_better, seed=0)
    assert found is not None
    return found


def test_the_steps_lead_from_the_start_to_the_winner_the_planted_ones_first() -> None:
    ranked = swept(planted, seed=1)
    path = path_of(ranked)
    assert path.is_trusted
    names = [[change.name for change in step.changes] for step in path.steps]
    assert sorted([names[0][0], names[1][0]]) == ["optimizer", "rate"]
    optimizer = path.steps[[each[0] for each in names].index("optimizer")]
    assert {change.name for change in optimizer.changes} == {"optimizer", "beta", "nesterov"}  # they move along
    assert optimizer.is_certain
    assert optimizer.gain.low < optimizer.gain.middle < optimizer.gain.high
    assert optimizer.gain.middle == pytest.approx(0.3, abs=0.1)
    assert dict(path.steps[-1].params) == of_space(SPACE, ranked[0].trial.params)
    assert not any(step.is_certain for step in path.steps if step.changes[0].name == "size")
    assert all(holds(SPACE, step.params) for step in path.steps)
    assert path_of(ranked) == path


def test_gains_are_positive_where_lower_scores_are_better() -> None:
    ranked = sorted(swept(lambda params: -planted(params)), key=lambda each: each.objective)
    first = path_of(ranked, is_larger_better=False).steps[0]
    assert first.gain.middle > 0
    assert first.is_certain


def test_noise_has_no_certain_step() -> None:
    found = [path_of(swept(lambda _: 0.0, seed, trials=24)) for seed in range(5)]
    assert sum(any(step.is_certain for step in path.steps) for path in found) == 0


def test_there_is_no_path_where_nothing_changes_or_trials_are_few_or_alike() -> None:
    ranked = swept(planted)
    winner = ranked[0].trial.params
    assert ablation_path(SPACE, ranked, float, (winner, winner), True, 0) is None
    start = default_point(SPACE, lambda *_: None)
    assert ablation_path(SPACE, ranked[:9], float, (start, winner), True, 0) is None
    assert ablation_path(SPACE, ranked, lambda _: 1.0, (start, winner), True, 0) is None


@pytest.mark.parametrize(
    ("defaults", "expected"),
    [
        ({"rate": 1.0, "optimizer": "rmsprop", "size": 100}, {"rate": 1e-1, "optimizer": "sgd", "size": 64}),
        ({"optimizer": "adam", "beta": 0.9}, {"optimizer": "adam", "beta": 0.9}),
        ({"optimizer": "adam"}, {"beta": 0.75}),
    ],
)
def test_defaults_are_taken_as_near_as_the_space_has_them(defaults: dict[str, Any], expected: dict[str, Any]) -> None:
    point = default_point(SPACE, lambda name, _: defaults.get(name))
    assert holds(SPACE, point)
    assert {name: point[name] for name in expected} == expected
