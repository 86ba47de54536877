"""Conditions of a study's parameters: those written in the study, and those implied by the keys.

A key that depends on another key (a decay's strength on its profile) gets this condition automatically, together with
the conditions of the other key. If the other key is not in the study, its default decides.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from nightune.tuning.errors import Problem
from nightune.tuning.search.domains import Cases, Choice, Domain, Range, is_among
from nightune.tuning.search.search_space import Condition, Dimension, find_circle
from nightune.tuning.study.parameter_values import native, value_problems
from nightune.tuning.study.parameters import Parameter
from nightune.tuning.study.vocabulary import KnownKeys
from nightune.tuning.trial import Value
from nightune.vocabulary import GIVEN, MODEL_PREFIX, listing, shown, suggestion


class _NoEffectError(Exception):
    """A parameter that can never be active, with the reason."""


@dataclass(frozen=True)
class Written:
    """The parameters of a study with their domains; `domains` lacks invalid parameters."""

    parameters: Mapping[str, Parameter]
    domains: Mapping[str, Domain]
    known: KnownKeys
    own: Mapping[str, tuple[Condition, ...]] = field(default_factory=dict)  # written conditions, checked
    optional: Collection[str] = ()  # customary parameters, dropped without an error if they can never be active


def read_conditions(written: Written) -> Iterator[tuple[str, tuple[Condition, ...]] | Problem]:
    """Yield the written conditions of each parameter, and their problems."""
    for name, parameter in written.parameters.items():
        conditions = []
        for when in parameter.when:
            for controller, values in when.values.items():
                listed = values if isinstance(values, list) else [values]
                problems = list(_condition_problems(when.key, controller, listed, written))
                yield from problems
                if not problems and controller in written.domains:
                    conditions.append(Condition(controller, natives(controller, listed, written.known)))
        yield name, tuple(conditions)


def make_dimensions(written: Written) -> Iterator[Dimension | Problem]:
    """Yield each valid parameter as a dimension with all its conditions, or a Problem if it can never be active."""
    conditions: dict[str, list[Condition]] = {}
    problems = {}
    for name in written.domains:
        try:
            conditions[name] = _merge([*written.own.get(name, ()), *_implied(name, written)], written)
        except _NoEffectError as error:
            problems[name] = Problem(name, f"has no effect: {error}")
    circle = find_circle({name: [each.name for each in when] for name, when in conditions.items()})
    if circle:
        yield Problem(f"{circle[0]}.when", f"circular conditions: {' → '.join(circle)}; remove one of them")
        return
    for name in _outermost(conditions):
        try:
            _refuse_impossible(name, conditions, written)
        except _NoEffectError as error:
            problems[name] = Problem(name, f"has no effect: {error}")
        conditions[name] = [
            each for each in conditions[name] if not _is_certain(each, conditions[name], conditions, written)
        ]
    yield from (problem for name, problem in problems.items() if name not in written.optional)
    for name, domain in written.domains.items():
        if name not in problems:
            ordered = sorted(conditions[name], key=lambda condition: condition.name)
            yield Dimension(name, domain, tuple(ordered))


def missing_parameters(written: Written) -> Iterator[Problem]:
    """Yield the keys without a default that are active but missing from the study, always or under its conditions.

    Keys of a model are left to its function, which may accept None.
    """
    for name, key in written.known.keys.items():
        if key.default is not None or key.kind == "any" or name.startswith(MODEL_PREFIX):
            continue
        try:
            implied = _merge(_implied(name, written), written)
        except _NoEffectError:
            continue
        where = " and ".join(str(condition) for condition in implied) or "always"
        if name not in written.parameters:
            yield Problem(name, f"missing; it has no default and is active if {where} ({key.allowed})")
        elif not all(any(_implies(each, own) for each in implied) for own in written.own.get(name, ())):
            yield Problem(f"{name}.when", f"excludes it in some trials, but it has no default and is active if {where}")


def _condition_problems(key: str, controller: str, values: Sequence[object], written: Written) -> Iterator[Problem]:
    if controller not in written.parameters:
        names = written.parameters
        if written.known.find(controller):
            why = "is not in this study; add it to the study, or remove the condition"
        else:
            why = f"is not a parameter{suggestion(controller, names)}"
        yield Problem(key, f"{shown(controller)} {why} ({listing(names, 'in this study')})")
        return
    domain, spec = written.domains.get(controller), written.known.find(controller)
    if domain is None or spec is None:
        return
    if not values:
        yield Problem(key, f"{controller} has no values; name at least one")
    if isinstance(domain, Cases) or (isinstance(domain, Range) and not domain.integer):
        form = "given by cases" if isinstance(domain, Cases) else "a range of real numbers"
        yield Problem(key, f"{controller} is {form}; a condition needs a parameter with options")
        return
    for value in values:
        if value_problems(value, spec) or not domain.contains(native(value, spec)):
            listed = listing(domain.options if isinstance(domain, Choice) else [domain], "values")
            near = suggestion(value, domain.options) if isinstance(domain, Choice) and isinstance(value, str) else ""
            yield Problem(key, f"{controller} never has the value {shown(value)}{near} ({listed})")


def _implied(name: str, written: Written) -> Iterator[Condition]:
    """Yield the conditions implied by the vocabulary, along the whole chain of controlling keys."""
    spec = written.known.find(name)
    for controller, values in spec.when.items() if spec else ():
        yield from _implied_by(name, controller, values, written)
        yield from _implied(controller, written)


def _implied_by(name: str, controller: str, values: Sequence[object], written: Written) -> Iterator[Condition]:
    known = written.known
    if controller in written.domains:
        domain, key = written.domains[controller], known.keys[controller]
        if values == GIVEN and isinstance(domain, Choice):
            taken = [option for option in domain.options if option != key.default]
        else:
            taken = [value for value in natives(controller, values, known) if domain.contains(value)]
        if key.is_by_head and isinstance(domain, Choice):
            tables = [option for option in domain.options if isinstance(option, dict)]
            taken += [table for table in tables if any(value in values for value in table.values())]
        if not taken:
            raise _NoEffectError(_explain(name, controller, values, str(domain)))
        defaults = [key.default, *(default for each in key.default_by.values() for default in each.values())]
        may_be_absent = controller in written.own and bool(written.own[controller])
        yield Condition(controller, tuple(taken), may_be_absent and all(default in values for default in defaults))
    elif controller not in written.parameters:  # an invalid one is reported elsewhere
        yield from _implied_by_default(name, controller, values, written)


def _implied_by_default(name: str, controller: str, values: Sequence[object], written: Written) -> Iterator[Condition]:
    """The controlling key is not in the study: its default decides, or the key that controls this default."""
    known = written.known
    default = known.default(controller, {})
    decider = next((each for each in known.keys[controller].default_by if each in written.parameters), None)
    if decider is None:
        if default not in values:
            raise _NoEffectError(_explain(name, controller, values, f"{default} by default"))
        return
    domain = written.domains.get(decider)
    if not isinstance(domain, Choice):
        return
    taken = [option for option in domain.options if known.default(controller, {decider: option}) in values]
    if not taken:
        raise _NoEffectError(_explain(name, controller, values, f"{default} by default if {decider} is {domain}"))
    yield Condition(decider, tuple(taken), bool(written.own.get(decider)) and default in values)


def _explain(name: str, controller: str, values: Sequence[object], given: str) -> str:
    wanted = " or ".join(str(value) for value in values)
    return f"it is active only if {controller} is {wanted}, but {controller} is {given}; change that, or remove {name}"


def natives(name: str, values: Iterable[object], known: KnownKeys) -> tuple[Value, ...]:
    """Return the values that are valid for the key, converted to its kind."""
    spec = known.find(name)
    if spec is None:
        return ()
    return tuple(native(value, spec) for value in values if not value_problems(value, spec))


def _merge(conditions: Iterable[Condition], written: Written) -> list[Condition]:
    """Join the conditions on one name: the values that all of them allow, in the order of the options."""
    merged: dict[str, Condition] = {}
    for condition in conditions:
        before = merged.get(condition.name)
        values = [value for value in condition.values if before is None or is_among(value, before.values)]
        domain = written.domains[condition.name]
        ordered = (
            [option for option in domain.options if is_among(option, values)] if isinstance(domain, Choice) else values
        )
        or_absent = condition.or_absent and (before is None or before.or_absent)
        if not ordered and not or_absent:
            raise _NoEffectError(f"its conditions on {condition.name} exclude each other")
        merged[condition.name] = Condition(condition.name, tuple(ordered), or_absent)
    return list(merged.values())


def _outermost(conditions: Mapping[str, Sequence[Condition]]) -> Iterator[str]:
    """Yield the names, each after all names that control it."""
    left = dict(conditions)
    while left:
        free = [name for name, needs in left.items() if not any(need.name in left for need in needs)]
        assert free  # circular conditions were refused before
        yield from free
        left = {name: needs for name, needs in left.items() if name not in free}


def _refuse_impossible(name: str, conditions: Mapping[str, Sequence[Condition]], written: Written) -> None:
    """Follow the conditions outwards: all parameters that control this one must be able to be active with it."""
    everything, seen = list(conditions[name]), {name}
    for condition in everything:  # grows during the loop
        if not condition.or_absent and condition.name not in seen:
            seen.add(condition.name)
            everything += conditions.get(condition.name, ())
    _merge(everything, written)


def _is_certain(
    condition: Condition,
    siblings: Sequence[Condition],
    conditions: Mapping[str, Sequence[Condition]],
    written: Written,
) -> bool:
    """True if the condition always holds: it allows all values of a param that is present if the others hold."""
    domain = written.domains[condition.name]
    if not isinstance(domain, Choice) or len(condition.values) < len(domain.options):
        return False
    return condition.or_absent or all(
        any(_implies(sibling, outer) for sibling in siblings) for outer in conditions.get(condition.name, ())
    )


def _implies(condition: Condition, other: Condition) -> bool:
    return (
        condition.name == other.name
        and all(is_among(value, other.values) for value in condition.values)
        and (other.or_absent or not condition.or_absent)
    )
