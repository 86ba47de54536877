"""The search space: named dimensions, the domain of each, and the conditions under which it is active."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from nightune.tuning.search.domains import Cases, Choice, Domain, is_among
from nightune.tuning.trial import Value


@dataclass(frozen=True)
class Condition:
    """Holds if another param has one of the values, or is absent and `or_absent` is set."""

    name: str
    values: tuple[Value, ...]
    or_absent: bool = False

    def __str__(self) -> str:
        words = [str(value).lower() if isinstance(value, bool) else str(value) for value in self.values]
        return f"{self.name} is {' or '.join([*words, 'absent'] if self.or_absent else words)}"

    def holds(self, params: Mapping[str, Value]) -> bool:
        """True if the condition holds for these params, which include all params that control it."""
        if self.name not in params:
            return self.or_absent
        return is_among(params[self.name], self.values)


@dataclass(frozen=True)
class Dimension:
    """A param's dotted name, its domain, and its conditions; it is active if all of them hold."""

    name: str
    domain: Domain
    when: tuple[Condition, ...] = ()

    @property
    def controllers(self) -> tuple[str, ...]:
        """The params that decide whether the dimension is active, or which domain it has."""
        names = [condition.name for condition in self.when]
        return (*names, self.domain.controller) if isinstance(self.domain, Cases) else tuple(names)

    @property
    def condition_text(self) -> str:
        """The conditions in words."""
        return " and ".join(str(condition) for condition in self.when) or "always"

    def is_active(self, params: Mapping[str, Value]) -> bool:
        """True if the dimension is active for these params."""
        return all(condition.holds(params) for condition in self.when)

    def place(self, params: Mapping[str, Value]) -> float | None:
        """Return the place in [0, 1] of these params' value; None without one, or where its domain lacks the value."""
        if self.name not in params:
            return None
        domain, value = self.domain.under(params), params[self.name]
        return domain.to_unit(value) if domain.contains(value) else None


@dataclass(frozen=True)
class SearchSpace:
    """All dimensions, including fixed ones. Their order does not change the draws."""

    dimensions: tuple[Dimension, ...]

    def __post_init__(self) -> None:
        names = [dimension.name for dimension in self.dimensions]
        twice = [name for place, name in enumerate(names) if name in names[:place]]
        if twice:
            raise ValueError(f"{twice[0]}: given twice")
        for dimension in self.dimensions:
            for condition in dimension.when:
                self._refuse_bad(dimension, condition)
        circle = find_circle({each.name: each.controllers for each in self.dimensions})
        if circle:
            raise ValueError(f"{circle[0]}: circular conditions: {' → '.join(circle)}")

    @property
    def varying(self) -> tuple[str, ...]:
        """Names of the searched dimensions, sorted."""
        return tuple(sorted(each.name for each in self.dimensions if not each.domain.is_fixed))

    @cached_property
    def by_name(self) -> dict[str, Dimension]:
        """The dimensions by name, sorted."""
        return {each.name: each for each in sorted(self.dimensions, key=lambda dimension: dimension.name)}

    def options(self, name: str) -> list[Value]:
        """Return the options that a dimension can have in any of its cases; none for a range or an unknown name."""
        dimension = self.by_name.get(name)
        domains: list[Domain] = [] if dimension is None else [dimension.domain]
        if domains and isinstance(domains[0], Cases):
            domains = [domain for _, domain in domains[0].domains]
        found: list[Value] = []
        for domain in domains:
            if isinstance(domain, Choice):
                found += [option for option in domain.options if not is_among(option, found)]
        return found

    @cached_property
    def in_control_order(self) -> tuple[Dimension, ...]:
        """The dimensions by name, except that each follows all dimensions that control it."""
        ordered: dict[str, Dimension] = {}
        while len(ordered) < len(self.dimensions):
            ready = (
                dimension
                for name, dimension in self.by_name.items()
                if name not in ordered and all(controller in ordered for controller in dimension.controllers)
            )
            first = next(ready)
            ordered[first.name] = first
        return tuple(ordered.values())

    def at(self, units: Mapping[str, float]) -> dict[str, Value]:
        """Return the active params for a position in [0, 1) of each dimension, sorted by name."""
        kept: dict[str, Value] = {}
        for dimension in self.in_control_order:
            if dimension.is_active(kept):
                kept[dimension.name] = dimension.domain.under(kept).from_unit(units[dimension.name])
        return dict(sorted(kept.items()))

    def _refuse_bad(self, dimension: Dimension, condition: Condition) -> None:
        if condition.name not in self.by_name:
            raise ValueError(f"{dimension.name}: the condition is on an unknown dimension: {condition.name!r}")
        domain = self.by_name[condition.name].domain
        never = [value for value in condition.values if not domain.contains(value)]
        if never or not condition.values:
            problem = f"never has {never}" if never else "has no values in the condition"
            raise ValueError(f"{dimension.name}: {condition.name} {problem}")


def places_of(dimensions: Iterable[Dimension], params: Mapping[str, Value]) -> dict[str, float]:
    """Return the places in [0, 1] of the values that params have in the domains of dimensions, by name."""
    held = {each.name: each.place(params) for each in dimensions}
    return {name: place for name, place in held.items() if place is not None}


def find_circle(controllers: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the first circular chain of names, its start repeated at its end, or []. Unknown names are ignored."""
    left = {name: [each for each in controllers[name] if each in controllers] for name in sorted(controllers)}
    while free := [name for name, needs in left.items() if not any(need in left for need in needs)]:
        left = {name: needs for name, needs in left.items() if name not in free}
    if not left:
        return []
    path = [next(iter(left))]
    while path[-1] not in path[:-1]:
        path.append(next(need for need in left[path[-1]] if need in left))
    return path[path.index(path[-1]) :]
