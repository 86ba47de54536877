"""Population-based training (Jaderberg et al. 2017): the worst members continue from the best ones, with other values.

What a generation does next is a pure function of the space, the members in their order with their losses, and a seed:
the same in any order of training, with any number of workers, after any stop.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nightune.tuning.search.domains import Cases, Choice, Domain, Range
from nightune.tuning.search.samplers import random_point
from nightune.tuning.search.search_space import Dimension, SearchSpace
from nightune.tuning.trial import Params, Value
from nightune.vocabulary import CHANGEABLE, CHANGES

TRIES = 100  # until the values of a new member differ from those of the others
DIGITS = 6  # of a perturbed value

Changes = dict[str, dict[str, float]]  # by the epoch, as a text, from which on the values hold


@dataclass(frozen=True)
class Rules:
    """How a population develops: see the keys of [search] for their meaning.

    `truncation` is the share of members, at most a half, that are replaced in each generation, one at least.
    """

    size: int
    truncation: float = 0.2
    factors: tuple[float, float] = (0.8, 1.2)
    resample_probability: float = 0.25

    @property
    def replaced(self) -> int:
        """The number of members that are replaced after a generation."""
        return max(1, math.floor(self.size * self.truncation + 1e-9))


@dataclass(frozen=True)
class Member:
    """A member after a generation: its trial's number and point, and its last loss: lower is better, NaN is failed."""

    number: int
    point: Params
    loss: float


@dataclass(frozen=True)
class NewMember:
    """A new member in the place of `replaced`: it continues `parent` with the values of its point's last change.

    Without a parent, None, it is a new point that begins from the start. The losses are those of both after the last
    epoch; None without a finite one.
    """

    replaced: int
    parent: int | None
    point: dict[str, Value]
    replaced_loss: float | None = None
    parent_loss: float | None = None


def perturbed_dimensions(space: SearchSpace) -> tuple[Dimension, ...]:
    """Return the searched dimensions that may change within a training, by name; not those that control others.

    Nor those whose values are each of another graph, such as the dropout rates 0 and 0.2.
    """
    controllers = {name for dimension in space.dimensions for name in dimension.controllers}
    names = [name for name in space.varying if name in CHANGEABLE and name not in controllers]
    return tuple(space.by_name[name] for name in names if _can_move(space.by_name[name]))


def _can_move(dimension: Dimension) -> bool:
    """True if one value can become another one: a range, or two numbers that are not at the edge of other graphs."""
    edge = CHANGEABLE[dimension.name]
    return any(
        isinstance(each, Range) or len({*_numbers(each)} - {edge}) > 1 for each in _alternatives(dimension.domain)
    )


def has_options(domain: Domain) -> bool:
    """True if a value of the domain, in one of its cases, may be one of options, which have no factor."""
    return any(isinstance(each, Choice) for each in _alternatives(domain))


def _alternatives(domain: Domain) -> list[Range | Choice]:
    return [each for _, each in domain.domains] if isinstance(domain, Cases) else [domain]


def next_members(
    space: SearchSpace, members: Sequence[Member], rules: Rules, epoch: int, first: int, seed: Sequence[int]
) -> list[NewMember]:
    """Return the members that replace the worst ones after an epoch, in the members' order; always `rules.replaced`.

    Each of the worst takes weights, optimizer and values of one of as many best, drawn at random, and perturbs the
    values (truncation selection). `first` is the number of the first new trial. Members without a finite loss are the
    worst; if none has one, or the space has no other values, new members are drawn from the space.
    """
    ranked = sorted(members, key=lambda member: (not math.isfinite(member.loss), member.loss, member.number))
    finite = [member for member in ranked if math.isfinite(member.loss)]
    best, worst = finite[: rules.replaced], {member.number for member in ranked[-rules.replaced :]}
    parents = [member for member in best if member.number not in worst]
    losses = {member.number: member.loss for member in finite}
    found: list[NewMember] = []
    for place, replaced in enumerate(member.number for member in members if member.number in worst):
        number = first + place
        generator = np.random.default_rng([*seed, number, 1])  # random points have the stream without the last word
        parent, point = _child(space, parents, rules, epoch, generator, [each.point for each in found]) or (None, None)
        known = (losses.get(replaced), None if parent is None else losses[parent])
        found.append(NewMember(replaced, parent, point or random_point(space, number, seed), *known))
    return found


def _child(
    space: SearchSpace,
    parents: Sequence[Member],
    rules: Rules,
    epoch: int,
    generator: np.random.Generator,
    taken: Sequence[Params],
) -> tuple[int, dict[str, Value]] | None:
    """Return a parent and the point that continues it with other values, none of those taken; None if there is none."""
    for _ in range(TRIES if parents else 0):
        parent = parents[int(generator.integers(len(parents)))]
        values = _perturbed(space, parent.point, rules, generator)
        held = values_of(parent.point)
        if all(held[name] == value for name, value in values.items()):  # as at the end of a range, or with none active
            continue
        changes: Any = {**changes_of(parent.point), str(epoch + 1): values}
        point: dict[str, Value] = {**parent.point, CHANGES: changes}
        if point not in taken:
            return parent.number, point
    return None


def changes_of(point: Params) -> Changes:
    """Return the changes of a point; empty without any."""
    held: Any = point.get(CHANGES)
    return {epoch: dict(values) for epoch, values in held.items()} if isinstance(held, Mapping) else {}


def values_of(point: Params) -> dict[str, Value]:
    """Return the values that hold after the last change of a point, without its changes."""
    values = {name: value for name, value in point.items() if name != CHANGES}
    changes = changes_of(point)
    for epoch in sorted(changes, key=int):
        values |= changes[epoch]
    return values


def _perturbed(space: SearchSpace, point: Params, rules: Rules, generator: np.random.Generator) -> dict[str, float]:
    """Return another value of each active dimension that may change, by name; one of them may be the same."""
    held = values_of(point)
    found: dict[str, float] = {}
    for dimension in perturbed_dimensions(space):
        units = generator.random(3).tolist()  # drawn for each dimension, whether it is active or not
        value = held.get(dimension.name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        other = _other_value(dimension, held, float(value), rules, units)
        edge = CHANGEABLE[dimension.name]
        found[dimension.name] = float(value) if edge is not None and (other == edge) != (value == edge) else other
    return found


def _other_value(
    dimension: Dimension, held: Mapping[str, Value], value: float, rules: Rules, units: Sequence[float]
) -> float:
    """Return a value drawn anew, or the value times one of the factors; of options, the next one."""
    domain = dimension.domain.under(held) if isinstance(dimension.domain, Cases) else dimension.domain
    is_up = units[1] < 0.5
    if units[0] < rules.resample_probability:
        drawn = domain.from_unit(units[2])
        return float(drawn) if isinstance(drawn, int | float) else value
    if isinstance(domain, Range):
        scaled = float(f"{value * rules.factors[is_up]:.{DIGITS}g}")
        return min(max(scaled, float(domain.low)), float(domain.high))
    return _neighbor(domain, value, is_up)


def _neighbor(domain: Choice, value: float, is_up: bool) -> float:
    """Return the next larger or smaller one of the options that are numbers; the value itself at the end."""
    numbers = _numbers(domain)
    beyond = [each for each in numbers if (each > value if is_up else each < value)]
    return (beyond[0] if is_up else beyond[-1]) if beyond else value


def _numbers(domain: Choice) -> list[float]:
    """Return the options that are numbers, ascending."""
    return sorted(
        float(each) for each in domain.options if isinstance(each, int | float) and not isinstance(each, bool)
    )
