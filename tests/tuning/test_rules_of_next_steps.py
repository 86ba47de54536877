"""The rules of "what to do next": each finds a planted truth, and is silent where there is nothing to find."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nightune.tuning.analysis.confirmation import Finalist, confirm
from nightune.tuning.analysis.effects import effects
from nightune.tuning.analysis.next_steps.rules import MOST_STEPS, RULES, next_steps
from nightune.tuning.analysis.next_steps.steps import Step, SweepFacts, options_of
from nightune.tuning.analysis.paired_gain import Gain
from nightune.tuning.analysis.promotion_gate import Candidate, Decision, Guard, Verdict
from nightune.tuning.search.domains import Choice, Range
from nightune.tuning.search.search_space import Condition, Dimension, SearchSpace
from nightune.tuning.trial import Params, Status, Trial, TrialResult

SPACE = SearchSpace(
    (
        Dimension("learning_rate.peak", Range(1e-4, 1e-1, "log")),
        Dimension("model.dropout", Range(0.0, 0.5)),
        Dimension("optimizer", Choice(("sgd", "adam", "adamw"))),
        Dimension("one_minus_momentum", Range(0.02, 0.5, "log"), (Condition("optimizer", ("sgd",)),)),
        Dimension("model.width", Range(16, 64, "log", integer=True)),
    )
)
TABLES: dict[str, Any] = {
    "space": {
        "learning_rate": {"peak": {"low": 1e-4, "high": 1e-1, "scale": "log"}},
        "optimizer": ["sgd", "adam", "adamw"],
        "one_minus_momentum": {"low": 0.02, "high": 0.5, "scale": "log"},
    },
    "model": {"dropout": {"low": 0.0, "high": 0.5}, "width": {"low": 16, "high": 64, "scale": "log", "integer": True}},
    "search": {"trials": 40, "epochs": 20},
    "confirmation": {"replicates": 3},
}
ALWAYS_ACTIVE = SearchSpace(tuple(each for each in SPACE.dimensions if not each.when))
NULL_SWEEPS, MOST_FALSE = 100, 5
Score = Callable[[Params, np.random.Generator], float]


def sweep(score: Score, seed: int = 1, trials: int = 40, **changes: Any) -> SweepFacts:
    """A random search in memory; a score of NaN is a diverged trial. Best epochs are uniform."""
    generator = np.random.default_rng(seed)
    results = []
    for number in range(trials):
        params = SPACE.at({name: generator.random() for name in SPACE.by_name})
        objective, best_epoch = score(params, generator), int(generator.integers(1, 21))
        status = Status.COMPLETED if math.isfinite(objective) else Status.DIVERGED
        trial = Trial(number, params, 0, str(number))
        results.append(TrialResult(trial, status, objective, best_epoch, 20, 1, 1, 1.0))
    facts = SweepFacts(SPACE, TABLES, results, "maximize", 20, **changes)
    return replace(facts, winner=facts.ranked[0])


def noise(_: Params, generator: np.random.Generator) -> float:
    return float(generator.normal())


def place(params: Params, name: str) -> float:
    return SPACE.by_name[name].domain.under(params).to_unit(params[name])


def at_rung(facts: SweepFacts, leads: Callable[[Params], bool]) -> SweepFacts:
    """The same trials, compared after 3 epochs; the best of them of which this is true is the winner."""
    winner = next(each for each in facts.ranked if leads(each.trial.params))
    return replace(facts, at_rung=facts.ranked, compared_epochs=3, winner=winner, has_rungs=True)


def test_at_a_rung_the_winner_has_to_agree_and_no_dimension_is_called_idle() -> None:
    rate = "learning_rate.peak"
    high = sweep(lambda params, _: place(params, rate))
    (step,) = fired("range ends", at_rung(high, lambda params: place(params, rate) > 0.8))
    assert "after 3 epochs" in step.evidence
    assert fired("range ends", at_rung(high, lambda params: place(params, rate) < 0.7)) == []
    losing = sweep(lambda params, generator: float(generator.normal() - 9 * (params["optimizer"] == "sgd")))
    (step,) = fired("losing options", at_rung(losing, lambda params: params["optimizer"] != "sgd"))
    assert "after 3 epochs" in step.evidence
    assert fired("losing options", at_rung(losing, lambda params: params["optimizer"] == "sgd")) == []
    idle = replace(high, effects=effects(SPACE, high.ranked, float, 0))
    assert fired("idle dimensions", idle)
    assert fired("idle dimensions", at_rung(idle, lambda _: True)) == []


def fired(rule: str, facts: SweepFacts) -> list[Step]:
    return list(RULES[rule](facts))


def changed(step: Step) -> dict[str, Any]:
    return {".".join(change.path): change.value for change in step.changes}


def confirmed(means: list[float], deviation: float, seed: int, seeds: int = 3) -> Any:
    generator = np.random.default_rng(seed)
    drawn = [tuple(map(float, generator.normal(mean, deviation, seeds))) for mean in means]
    finalists = [Finalist(n, str(n), str(n), mean, drawn[n], 10, 1.0) for n, mean in enumerate(means)]
    return confirm(finalists, "maximize", "parameters", 0.95, seed=0)


# Where each rule has nothing to find: noise for most of them, and for the others what they are about.
def null_facts(rule: str, seed: int) -> SweepFacts:
    if rule == "idle dimensions":  # a sweep of noise: no forest says that something does nothing
        facts = sweep(noise, seed, 30)
        return replace(facts, effects=effects(ALWAYS_ACTIVE, facts.ranked, float, seed))
    if rule == "clustered failures":  # a fifth of the trials diverges, wherever it lies
        return sweep(lambda params, g: math.nan if g.random() < 0.2 else noise(params, g), seed)
    if rule == "more seeds":  # the best finalist is better by five standard deviations over seeds
        return sweep(noise, seed, confirmation=confirmed([5.0, 0.0, -1.0, -2.0], 1.0, seed))
    if rule == "fewer trials":  # scores spread over fifty standard deviations over seeds
        facts = sweep(lambda _, g: g.uniform(0, 50), seed)
        return replace(facts, confirmation=confirmed([50.0, 49.0, 48.0], 1.0, seed))
    if rule == "gate":  # what the gate promoted, or refused without a better model
        gain = Gain(-0.01 * (seed % 2), -0.03, 0.02, 0.95, 0.4, 0.4, 8, 8, 100, 0.001)
        return sweep(noise, seed, 6, verdict=verdict(Decision.REFUSED, gain))
    return sweep(noise, seed)


def verdict(decision: Decision, gain: Gain, *guards: Guard) -> Verdict:
    candidate = Candidate("flowers", "flowers-0", "data", 1, "key", "run", 0.9, None)
    advice = tuple(f"{guard.name}: do something" for guard in guards if not guard.passed)
    known: dict[str, Any] = {"measure": "", "minimum_gain": 0.0, "against": 1, "baseline": None, "is_close": False}
    return Verdict(candidate, decision, "why", gain=gain, guards=guards, advice=advice, **known)


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_silent_in_95_of_100_null_sweeps(rule: str) -> None:
    false = sum(bool(fired(rule, null_facts(rule, seed))) for seed in range(NULL_SWEEPS))
    assert false <= MOST_FALSE


def test_an_end_of_a_range_is_moved_outwards() -> None:
    (step,) = fired("range ends", sweep(lambda params, _: place(params, "learning_rate.peak")))
    assert "learning_rate.peak" in step.title
    assert changed(step) == {"space.learning_rate.peak": {"low": 1e-4, "high": 1.0, "scale": "log"}}
    (step,) = fired("range ends", sweep(lambda params, _: place(params, "model.dropout")))
    assert changed(step) == {"model.dropout": {"low": 0.0, "high": 0.75}}
    (step,) = fired("range ends", sweep(lambda params, _: -place(params, "model.width")))
    assert changed(step)["model.width"] | {} == {"low": 8, "high": 64, "scale": "log", "integer": True}


def test_an_end_without_room_is_left_alone() -> None:
    assert fired("range ends", sweep(lambda params, _: -place(params, "model.dropout"))) == []
    limits = {"learning_rate.peak": (None, 0.2)}
    (step,) = fired("range ends", sweep(lambda params, _: place(params, "learning_rate.peak"), limits=limits))
    assert changed(step)["space.learning_rate.peak"]["high"] == 0.2
    limits = {"learning_rate.peak": (None, 0.1)}
    assert fired("range ends", sweep(lambda params, _: place(params, "learning_rate.peak"), limits=limits)) == []


def test_a_losing_option_is_left_out() -> None:
    facts = sweep(lambda params, g: noise(params, g) - 3 * (params["optimizer"] == "sgd"))
    (step,) = fired("losing options", facts)
    assert "optimizer sgd" in step.title
    assert changed(step) == {"space.optimizer": ["adam", "adamw"]}
    diverged = sweep(lambda params, g: noise(params, g) if params["optimizer"] == "adam" else math.nan)
    (step,) = fired("losing options", diverged)
    assert changed(step) == {"space.optimizer": "adam"}


@pytest.mark.slow
def test_a_dimension_that_does_nothing_is_fixed_at_the_winners_value() -> None:
    facts = sweep(lambda params, g: 4 * place(params, "learning_rate.peak") + 0.3 * noise(params, g), trials=80)
    facts = replace(facts, effects=effects(SPACE, facts.ranked, float, 0))
    assert facts.effects[0].name == "learning_rate.peak"
    assert facts.effects[0].matters
    assert facts.effects[0].share > 0.7
    (step,) = fired("idle dimensions", facts)
    assert facts.winner is not None
    dropout = facts.winner.trial.params["model.dropout"]
    assert changed(step)["model.dropout"] == pytest.approx(dropout, rel=1e-3)
    assert not {"space.learning_rate.peak", "space.optimizer"} & set(changed(step))  # momentum depends on the latter


@pytest.mark.parametrize(
    ("kept", "written"),
    [(["a", "b"], ["a", "b"]), (["a"], "a"), ([0.123456], 0.1235), ([True], True), ([[64, 32]], [[64, 32]])],
)
def test_one_option_is_a_plain_value_unless_it_is_a_list_itself(kept: list[Any], written: Any) -> None:
    assert options_of(kept) == written


def test_failures_that_cluster_in_an_option_or_at_an_end_are_cut_off() -> None:
    (step,) = fired(
        "clustered failures",
        sweep(lambda params, g: math.nan if params["optimizer"] == "sgd" and g.random() < 0.8 else noise(params, g)),
    )
    assert changed(step) == {"space.optimizer": ["adam", "adamw"]}
    facts = sweep(
        lambda params, _: (
            math.nan if place(params, "learning_rate.peak") > 0.7 else -abs(place(params, "learning_rate.peak") - 0.4)
        )
    )
    (step,) = fired("clustered failures", facts)
    table = changed(step)["space.learning_rate.peak"]
    assert table["low"] == 1e-4
    assert 1e-2 < table["high"] < 3e-2


def with_best_epochs(best_epoch: int, ended: int = 20) -> SweepFacts:
    facts = sweep(noise)
    return replace(facts, results=[replace(each, best_epoch=best_epoch, epochs=ended) for each in facts.results])


def test_epochs_follow_the_best_trials() -> None:
    (step,) = fired("epochs", with_best_epochs(20))
    assert changed(step) == {"search.epochs": 40}
    (step,) = fired("epochs", with_best_epochs(4))
    assert changed(step) == {"search.epochs": 6}
    assert fired("epochs", with_best_epochs(10)) == []
    assert fired("epochs", with_best_epochs(4, ended=8)) == []  # early stopping has saved the epochs already


def test_equal_finalists_need_seeds() -> None:
    (step,) = fired("more seeds", sweep(noise, confirmation=confirmed([1.0, 0.99, 0.98], 0.5, 1)))
    assert changed(step) == {"confirmation.replicates": 8}


def test_a_search_that_no_longer_improves_needs_fewer_trials() -> None:
    facts = sweep(lambda _, g: g.normal(0, 0.3), confirmation=confirmed([0.5, 0.4, 0.3], 0.5, 1))
    (step,) = fired("fewer trials", facts)
    assert changed(step) == {"search.trials": 20}
    assert fired("fewer trials", replace(facts, confirmation=None)) == []
    assert fired("fewer trials", replace(facts, has_rungs=True)) == []


def test_a_refusal_says_what_would_make_the_gain_significant() -> None:
    gain = Gain(0.1, -0.005, 0.205, 0.95, 0.3, 0.4, 4, 8, 100, 0.05, 0.1)
    (step,) = fired("gate", sweep(noise, verdict=verdict(Decision.REFUSED, gain)))
    assert list(changed(step)) == ["promotion.replicates"]
    rows = Gain(0.1, -0.005, 0.205, 0.95, 0.3, 0.4, 8, 8, 100, 0.001)
    (step,) = fired("gate", sweep(noise, verdict=verdict(Decision.REFUSED, rows)))
    assert "data.split.test" in step.evidence
    guard = Guard("size", False, "2 MB (limit 1 MB)")
    (step,) = fired("gate", sweep(noise, verdict=verdict(Decision.REFUSED, gain, guard)))
    assert "size" in step.title
    assert fired("gate", sweep(noise, verdict=verdict(Decision.PROMOTED, gain, guard))) == []


def test_at_most_three_steps_change_each_key_once() -> None:
    facts = sweep(
        lambda params, g: (
            math.nan
            if params["optimizer"] == "sgd"
            else place(params, "learning_rate.peak") + place(params, "model.dropout")
        ),
        trials=80,
        confirmation=confirmed([1.0, 0.99, 0.98], 0.5, 1),
    )
    facts = replace(facts, results=[replace(each, best_epoch=20) for each in facts.results])
    steps = next_steps(facts)
    assert len(steps) == MOST_STEPS
    paths = [change.path for step in steps for change in step.changes]
    assert len(set(paths)) == len(paths)
    assert next_steps(sweep(noise, trials=1)) == []
    assert next_steps(SweepFacts(SPACE, {}, [], "maximize", 20)) == []
