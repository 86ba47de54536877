"""Begin a search with configurations that were good on other data: the shipped portfolio, fitted to a search space."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from nightune.tuning.search.domains import Choice, Range, is_same
from nightune.tuning.search.samplers import draw_units
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.trial import Params, Value
from nightune.vocabulary import ARCHITECTURE, MODEL_PREFIX

FILE = Path(__file__).with_name("portfolio.json")
MOST = 8  # configurations that begin a search
OPTIMIZER = "optimizer"
_OF_OPTIMIZER = ("learning_rate.peak", "weight_decay.strength")  # its own constants have no dot


class Portfolio(BaseModel):
    """Configurations by architecture family and kind of task, `classification` or `regression`, the best first."""

    model_config = ConfigDict(frozen=True)

    families: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]


@dataclass(frozen=True)
class Fitted:
    """A configuration as a point of a space, with the names of the params that it could not keep, and why.

    `fixed` are set by the study or, if it does not name them, by their defaults; `nearest` numbers replace those that
    the space lacks; `drawn` are random, since the space lacks the value, or the configuration the param.
    """

    point: Mapping[str, Value]
    fixed: tuple[str, ...] = ()
    nearest: tuple[str, ...] = ()
    drawn: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """True if every param has the configuration's value."""
        return not (self.fixed or self.nearest or self.drawn)


@dataclass(frozen=True)
class Beginning:
    """The first points of a search, of so many configurations.

    `without_family` are architectures that have none. `left_out` counts the configurations whose params contradict each
    other in this space, by the rule's message.
    """

    configurations: int
    fitted: tuple[Fitted, ...]
    without_family: tuple[str, ...]
    left_out: Mapping[str, int]

    @property
    def points(self) -> list[dict[str, Value]]:
        """The points, in their order."""
        return [dict(each.point) for each in self.fitted]

    @property
    def changes(self) -> dict[str, dict[str, int]]:
        """How many points have another value of a param than the configuration, by why and by name."""
        return {
            how: dict(Counter(name for each in self.fitted for name in getattr(each, how)))
            for how in ("fixed", "nearest", "drawn")
        }


def is_shipped() -> bool:
    """True if this installation has a portfolio."""
    return FILE.exists()


def read_portfolio() -> Portfolio:
    """Read the shipped portfolio; ValueError if it is damaged."""
    return Portfolio.model_validate_json(FILE.read_text(encoding="utf-8"))


def begin(
    portfolio: Portfolio,
    space: SearchSpace,
    kind: str,
    complete: Callable[[Params], Params],
    before: Sequence[Params],
    seed: Sequence[int],
) -> Beginning:
    """Return the portfolio's points of a space, each once and none of `before`, the points of the first trials.

    `kind` is classification or regression, and `complete` adds the defaults to a point, or raises ValueError if its
    params contradict each other: its configuration is left out. Trial n draws with its own generator: what a
    configuration lacks is what the trial would have at random.
    """
    architectures = list(map(str, space.options(ARCHITECTURE)))
    chosen = configurations(portfolio, architectures, kind)
    taken = {_key(point) for point in before}
    found: list[Fitted] = []
    left_out: Counter[str] = Counter()
    for configuration in chosen:
        units = draw_units(space, len(before) + len(found), seed)
        try:
            each = fit(space, configuration, units, complete)
        except ValueError as error:
            left_out[str(error)] += 1
            continue
        if _key(each.point) not in taken:
            taken.add(_key(each.point))
            found.append(each)
    alone = tuple(each for each in architectures if not _of_family(portfolio, each, kind))
    return Beginning(len(chosen), tuple(found), alone, dict(left_out))


def configurations(portfolio: Portfolio, architectures: Sequence[str], kind: str) -> list[Params]:
    """Return at most `MOST` configurations of these architectures in turn, the best of each first.

    An architecture without a family takes those of all families in turn, without their `model` params.
    """
    plain = [[without_model(one) for one in family.get(kind, ())] for family in portfolio.families.values()]
    anywhere = list(_in_turn(plain))
    each = (
        [{**one, ARCHITECTURE: name} for one in (_of_family(portfolio, name, kind) or anywhere)]
        for name in architectures
    )
    return list(_in_turn(list(each)))[:MOST]


def fit(
    space: SearchSpace, configuration: Params, units: Mapping[str, float], complete: Callable[[Params], Params]
) -> Fitted:
    """Return the point of the space that has the configuration's values where it can; `units` draw the others.

    A rate or decay is kept only with its optimizer: those of one rule are off by factors for another.
    """
    found = nearest_point(space, configuration, units)
    optimizer = configuration.get(OPTIMIZER)
    if optimizer not in (None, complete(found.point).get(OPTIMIZER)):
        kept = {name: value for name, value in configuration.items() if not _is_of_optimizer(name)}
        found = nearest_point(space, kept, units)
    full, known = complete(found.point), {*found.nearest, *found.drawn}
    others = (name for name, value in configuration.items() if name in full and not is_same(full[name], value))
    return replace(found, fixed=tuple(sorted(name for name in others if name not in known)))


def nearest_point(space: SearchSpace, configuration: Params, units: Mapping[str, float]) -> Fitted:
    """Return the point of a space that has the configuration's values where it can, whatever its optimizer is."""
    point: dict[str, Value] = {}
    changed: dict[str, list[str]] = {"": [], "nearest": [], "drawn": []}
    for dimension in space.in_control_order:
        if not dimension.is_active(point):
            continue
        name, domain = dimension.name, dimension.domain.under(point)
        drawn = domain.from_unit(units[name])
        is_free = name in configuration and not domain.is_fixed
        value, how = _nearest(domain, configuration[name]) if is_free else (drawn, "" if domain.is_fixed else "drawn")
        point[name] = drawn if how == "drawn" else value
        changed[how].append(name)
    return Fitted(
        dict(sorted(point.items())), nearest=tuple(sorted(changed["nearest"])), drawn=tuple(sorted(changed["drawn"]))
    )


def _nearest(domain: Range | Choice, wanted: Value) -> tuple[Value, str]:
    """Return the domain's value that is wanted, or the nearest number, and how it was found; empty if it is the same.

    The nearest number is the one that the objective says most about; another option may be anything, so it is drawn.
    """
    if isinstance(domain, Choice):
        same = [option for option in domain.options if is_same(option, wanted)]
        if same:
            return deepcopy(same[0]), ""
        if not _is_number(wanted) or not all(map(_is_number, domain.options)):
            return None, "drawn"
        number = float(str(wanted))
        return min(domain.options, key=lambda option: _distance(float(str(option)), number)), "nearest"
    if not _is_number(wanted):
        return None, "drawn"
    number = float(str(wanted))
    inside = min(max(number, float(domain.low)), float(domain.high))
    value: Value = round(inside) if domain.integer else inside
    return value, "" if value == number else "nearest"


def _distance(option: float, number: float) -> tuple[float, float]:
    """Compare by ratio where there is one: rates and sizes are; then by difference."""
    ratio = abs(math.log(option / number)) if option > 0 and number > 0 else math.inf
    return ratio, abs(option - number)


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_of_optimizer(name: str) -> bool:
    return name in _OF_OPTIMIZER or ("." not in name and name != OPTIMIZER)


def _of_family(portfolio: Portfolio, architecture: str, kind: str) -> Sequence[Params]:
    return portfolio.families.get(architecture, {}).get(kind, ())


def without_model(configuration: Params) -> Params:
    """Return the params that any architecture has."""
    return {name: value for name, value in configuration.items() if not name.startswith(MODEL_PREFIX)}


def _in_turn(several: Sequence[Sequence[Params]]) -> Iterator[Params]:
    """Yield the first of each, then the second of each, and so on; each configuration once."""
    seen: set[str] = set()
    for each in chain.from_iterable(zip_longest(*several)):
        if each is not None and _key(each) not in seen:
            seen.add(_key(each))
            yield each


def _key(point: Params) -> str:
    return json.dumps(point, sort_keys=True)
