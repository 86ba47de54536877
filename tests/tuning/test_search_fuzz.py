"""Random conditional spaces and every sampler: valid points, no error, and nothing twice."""

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest

from nightune.tuning.search.domains import Cases, Choice, Domain, Range
from nightune.tuning.search.guidance import Guidance
from nightune.tuning.search.observations import Observation
from nightune.tuning.search.population import Member, next_members, values_of
from nightune.tuning.search.portfolio import Portfolio, begin
from nightune.tuning.search.prior_mean import PriorMean
from nightune.tuning.search.recorded_scores import Family, RecordedScores, prior_of
from nightune.tuning.search.search_space import Condition, Dimension, SearchSpace
from nightune.tuning.study.budgets import brackets, without_repeats
from nightune.tuning.study.generations import rules_of
from nightune.tuning.study.rounds import bracket_points, settled
from nightune.tuning.study.search_section import SearchSection
from nightune.tuning.trial import Params, Value

NAMES = ("optimizer", "learning_rate.peak", "one_minus_momentum", "batch_size.size", "model.units", "model.dropout")
ROUND = 4  # trials, so that a few rounds are cheap
METHODS: dict[str, dict[str, object]] = {
    "random": {"method": "random", "trials": 10},
    "grid": {"method": "grid"},
    "halving": {"method": "successive_halving", "trials": 6},
    "hyperband": {"method": "hyperband"},
    "gp": {"method": "gp", "trials": 10},
    "gp with rungs": {"method": "gp", "trials": 8, "smallest_epochs": 3},
    "tpe": {"method": "tpe", "trials": 10},
    "tpe with rungs": {"method": "tpe", "trials": 8, "smallest_epochs": 3},
    "auto": {"method": "auto", "trials": 10},
    "pbt": {"method": "pbt", "population": 6, "perturb_every": 2, "truncation": 0.4},
}


@pytest.fixture
def short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightune.tuning.study.budgets.ROUND", ROUND)
    monkeypatch.setattr("nightune.tuning.search.gaussian_process.RANDOM_CANDIDATES", 30)
    monkeypatch.setattr("nightune.tuning.search.gaussian_process.NEAR", 2)
    monkeypatch.setattr("nightune.tuning.search.surrogate.ITERATIONS", 2)
    monkeypatch.setattr("nightune.tuning.search.recorded_scores.LEAST", 2)


@pytest.mark.slow
@pytest.mark.usefixtures("short_rounds")
@pytest.mark.parametrize("first", range(0, 200, 50))
def test_points_of_random_spaces_are_valid_and_come_once(first: int) -> None:
    for number in range(first, first + 50):
        check_space(number, list(METHODS)[number % len(METHODS)])


@pytest.mark.nights
@pytest.mark.usefixtures("short_rounds")
@pytest.mark.parametrize("name", METHODS)
def test_points_of_a_thousand_random_spaces_are_valid_and_come_once(name: str) -> None:
    for number in range(1000, 2000):
        check_space(number, name)


def check_space(number: int, name: str) -> None:
    """Search a random space with a method; half of the spaces have a portfolio and scores."""
    generator = np.random.default_rng([number, 0])
    space = random_space(generator)
    search = without_repeats(SearchSection.model_validate({"epochs": 12, **METHODS[name]}), space)
    if name == "pbt":
        check_population(search, space, number, generator)
        return
    begun, scores = random_portfolio(generator), random_scores(generator)
    is_begun = number // len(METHODS) % 2 and name != "grid"  # a grid trains all its points
    first = begin(begun, space, "classification", dict, [], (number, 0)).points if is_begun else []
    prior = prior_of(scores, space, "classification", dict) if is_begun else None
    trials = searched(search, space, first, number, generator, prior)
    for point in trials:
        refuse_invalid(space, point)
    assert search.trials is None or len(trials) == search.trials
    new = [json.dumps(point, sort_keys=True) for point in (first if may_repeat(space) else trials)]
    assert len(set(new)) == len(new) or is_single(space) or name == "hyperband", (number, name, space)


def check_population(search: SearchSection, space: SearchSpace, number: int, generator: np.random.Generator) -> None:
    """Develop a population with random losses: its points and their values after each change are of the space."""
    first, *generations = brackets(search, space)
    points = dict(enumerate(bracket_points(search, space, first, [], (number, 0))))
    for planned in generations:
        losses = [float(loss) for loss in generator.choice([math.nan, 0.1, 0.2, 0.3], len(points))]
        given = [Member(trial, point, loss) for (trial, point), loss in zip(points.items(), losses, strict=True)]
        new = next_members(space, given, rules_of(search), planned.begin, planned.first, (number, 0))
        for place, member in enumerate(new):
            is_other = member.parent is None or values_of(member.point) != values_of(points[member.parent])
            assert is_other, (number, space)
            refuse_invalid(space, values_of(member.point))
            points[planned.first + place] = member.point
        points = {trial: point for trial, point in points.items() if trial not in [each.replaced for each in new]}
        assert len(points) == search.population


def searched(
    search: SearchSection,
    space: SearchSpace,
    first: Sequence[Params],
    number: int,
    generator: np.random.Generator,
    prior: PriorMean | None,
) -> list[dict[str, Value]]:
    """Return the points of all rounds; losses are random, and some trials fail."""
    points: list[dict[str, Value]] = []
    observations: list[Observation] = []
    for planned in brackets(search, space):
        bracket = settled(search, planned, observations)
        kept = first if bracket.first == 0 or search.row.proposer is None else ()
        added = bracket_points(search, space, bracket, observations, (number, 0), kept, Guidance(prior))
        for place, point in enumerate(added):
            losses = {rung.epochs: float(generator.standard_normal()) for rung in bracket.rungs[: 1 + place % 2]}
            if generator.random() < 0.2:
                losses[bracket.rungs[0].epochs] = math.nan
            observations.append(Observation(bracket.first + place, point, losses))
        points += added
    return points


def refuse_invalid(space: SearchSpace, point: Params) -> None:
    assert json.loads(json.dumps(point)) == point
    assert set(point) <= set(space.by_name)
    for dimension in space.in_control_order:
        assert (dimension.name in point) == dimension.is_active(point)
        if dimension.name in point:
            assert dimension.domain.under(point).contains(point[dimension.name])


def is_single(space: SearchSpace) -> bool:
    """True if the space has one point: its trials differ only in their seeds."""
    return all(each.domain.is_fixed for each in space.dimensions)


def may_repeat(space: SearchSpace) -> bool:
    """True if some points lack every continuous param that others have: draws may then come twice, as documented."""
    continuous = [each for each in space.dimensions if not is_finite(each.domain)]
    return bool(continuous) and all(each.when or isinstance(each.domain, Cases) for each in continuous)


def is_finite(domain: Domain) -> bool:
    if isinstance(domain, Cases):
        return all(is_finite(each) for _, each in domain.domains)
    return isinstance(domain, Choice) or domain.integer


def random_space(generator: np.random.Generator) -> SearchSpace:
    """Return a space of some of the names, with conditions on and cases of earlier options."""
    dimensions: list[Dimension] = [
        Dimension("model.architecture", Choice((("mlp", "net.py:f")[generator.integers(2)],)))
    ]
    for name in NAMES:
        if generator.random() < 0.25:
            continue
        controllers = [each for each in dimensions if isinstance(each.domain, Choice) and not each.when]
        controller = controllers[generator.integers(len(controllers))]
        assert isinstance(controller.domain, Choice)
        options = controller.domain.options
        when: tuple[Condition, ...] = ()
        domain = random_domain(name, generator)
        if generator.random() < 0.3:
            when = (Condition(controller.name, options[: 1 + generator.integers(len(options))]),)
        elif generator.random() < 0.3 and name != "optimizer":
            domain = Cases(controller.name, tuple(((option,), random_domain(name, generator)) for option in options))
        dimensions.append(Dimension(name, domain, when))
    return SearchSpace(tuple(dimensions))


def random_domain(name: str, generator: np.random.Generator) -> "Range | Choice":
    if name == "optimizer":
        return Choice(("adam", "sgd", "adamw", "rmsprop")[: 1 + generator.integers(4)])
    if name == "model.units":
        return Choice(([64], [32, 16], [128])[: 1 + generator.integers(3)])
    if name == "batch_size.size":
        whole = Range(8, 64, "log", integer=True, steps=3)
        return whole if generator.random() < 0.5 else Choice((16, 32, 64)[: 1 + generator.integers(3)])
    low = float(f"{10 ** generator.uniform(-4, -1):.3g}")
    return Range(low, low * 10, ("linear", "log")[generator.integers(2)], steps=2)


def random_portfolio(generator: np.random.Generator) -> Portfolio:
    return Portfolio(families={"mlp": {"classification": random_configurations(generator, 8)}})


def random_scores(generator: np.random.Generator) -> RecordedScores:
    family = Family(
        configurations=random_configurations(generator, 16),
        scores={"classification": generator.standard_normal(16).tolist()},
    )
    return RecordedScores(families={"mlp": family, "net.py:f": family})


def random_configurations(generator: np.random.Generator, count: int) -> list[Params]:
    """Return configurations that name some of the params, with values that a space may lack."""
    several = [random_space(generator) for _ in range(count)]
    drawn = [space.at({name: float(generator.random()) for name in space.by_name}) for space in several]
    return [{**each, "learning_rate.warmup": 0.1} for each in drawn]
