"""Propose points from results by tree-structured Parzen estimators: Optuna's, rebuilt in memory for each round."""

import logging
from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, simplefilter

import numpy as np

from nightune.tuning.search.domains import Cases, Choice, Range, is_same
from nightune.tuning.search.encoding import Encoding, is_ordered
from nightune.tuning.search.new_points import Point, Points, filled, new_points, point_key
from nightune.tuning.search.observations import Observation
from nightune.tuning.search.search_space import Dimension, SearchSpace
from nightune.tuning.search.structures import Structure
from nightune.tuning.trial import Value

if TYPE_CHECKING:
    import optuna

REPEATS = 8  # points in a row that are taken already, after which the rest of a round is drawn
BELOW_ONE = 1 - 1e-9


def tree_parzen(
    space: SearchSpace,
    observations: Sequence[Observation],
    pending: Sequence[Point],
    count: int,
    seed: Sequence[int],
    among: Sequence[Point] | None = None,
    structure: Structure | None = None,
) -> Points:
    """Return `count` new points, each proposed with those before it pending, as `gaussian_process` returns them.

    A trial that was dropped at a rung ranks after those that came further, a failed or diverged one last. The points
    are a function of the arguments and of Optuna's version. `among` are the only points that may be proposed: of
    these, the nearest to each proposal is taken. `structure` is not read: Optuna gives no scores to compare draws by.
    ImportError without Optuna.
    """
    if count <= 0:
        return []
    taken = [*(each.point for each in observations), *pending]
    if not observations or not space.varying:
        return filled([], space, taken, count, seed, among)
    study = _study(space, observations, pending)
    left = None if among is None else _Recorded(space, new_points(list(map(dict, among)), taken))
    keys = {point_key(each) for each in taken}
    found: Points = []
    repeats = 0
    while len(found) < count and repeats < REPEATS and (left is None or left.points):
        point = _asked(study, space, [*seed, len(pending) + len(found), repeats])
        point = point if left is None else left.take(point)
        if point_key(point) in keys:
            repeats += 1
            continue
        study.add_trial(_frozen(space, point, "RUNNING"))
        found.append(point)
        keys.add(point_key(point))
        repeats = 0
    return filled(found, space, taken, count, seed, among)


def _study(space: SearchSpace, observations: Sequence[Observation], pending: Sequence[Point]) -> "optuna.Study":
    """Return a study in memory that holds what was observed, and the pending points as running trials."""
    import optuna  # noqa: PLC0415 - an extra, and it takes half a second

    logger, level = logging.getLogger("optuna"), logging.getLogger("optuna").level
    logger.setLevel(logging.ERROR)  # otherwise it announces the study
    try:
        study = optuna.create_study()
    finally:
        logger.setLevel(level)
    full = max((epochs for each in observations for epochs in each.losses), default=0)
    for each in observations:
        study.add_trial(_ended(space, each, full))
    for point in pending:
        study.add_trial(_frozen(space, point, "RUNNING"))
    return study


def _ended(space: SearchSpace, observation: Observation, full: int) -> Any:
    """Return a trial with all epochs as complete, one with fewer as pruned, and a failed one as pruned before any."""
    if observation.is_bad or not observation.losses:
        return _frozen(space, observation.point, "PRUNED")
    if full in observation.losses:
        return _frozen(space, observation.point, "COMPLETE", value=observation.losses[full])
    return _frozen(space, observation.point, "PRUNED", intermediate_values=dict(observation.losses))


def _frozen(space: SearchSpace, point: Point, state: str, **reached: Any) -> Any:
    """Return a trial of Optuna at a point. What no longer fits the space, as of an earlier sweep, is left out."""
    import optuna  # noqa: PLC0415

    params: dict[str, float | int] = {}
    distributions: dict[str, Any] = {}
    for dimension in space.in_control_order:
        place = dimension.place(point)
        if place is None or not dimension.is_active(point):
            continue
        name, domain = _parameter(dimension, point)
        if domain.is_fixed:
            continue
        distributions[name] = _distribution(domain)
        params[name] = place if isinstance(domain, Range) else _number(domain, point[dimension.name])
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState[state], params=params, distributions=distributions, **reached
    )


def _asked(study: "optuna.Study", space: SearchSpace, seed: Sequence[int]) -> dict[str, Value]:
    """Return the point that a sampler of this seed suggests; the study is left as it was, but for a failed trial."""
    import optuna  # noqa: PLC0415

    number = int(np.random.default_rng(list(seed)).integers(2**31))
    with catch_warnings():
        simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of `group` and `constant_liar`
        study.sampler = optuna.samplers.TPESampler(seed=number, multivariate=True, group=True, constant_liar=True)
        trial = study.ask()
        point: dict[str, Value] = {}
        for dimension in space.in_control_order:
            if dimension.is_active(point):
                point[dimension.name] = _suggested(trial, *_parameter(dimension, point))
    study.tell(trial, state=optuna.trial.TrialState.FAIL)  # it is added again as running, where it is new
    return dict(sorted(point.items()))


def _parameter(dimension: Dimension, point: Point) -> tuple[str, Range | Choice]:
    """Return the name and the domain of an active dimension: each case of it is a parameter of its own."""
    domain = dimension.domain.under(point)
    if not isinstance(dimension.domain, Cases):
        return dimension.name, domain
    case = next(number for number, (_, each) in enumerate(dimension.domain.domains) if each is domain)
    return f"{dimension.name}#{case}", domain


def _distribution(domain: Range | Choice) -> Any:
    """Return Optuna's distribution: the position in a range, the number of an option, with an order if it has one."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution  # noqa: PLC0415

    if isinstance(domain, Range):
        return FloatDistribution(0.0, 1.0)
    last = len(domain.options) - 1
    return IntDistribution(0, last) if is_ordered(domain) else CategoricalDistribution(range(last + 1))


def _suggested(trial: "optuna.Trial", name: str, domain: Range | Choice) -> Value:
    """Return the value of a domain that a trial suggests."""
    if isinstance(domain, Range):
        return domain.from_unit(min(trial.suggest_float(name, 0.0, 1.0), BELOW_ONE))
    options, last = _numbered(domain), len(domain.options) - 1
    if domain.is_fixed:
        number = 0
    elif is_ordered(domain):
        number = trial.suggest_int(name, 0, last)
    else:
        number = int(trial.suggest_categorical(name, range(last + 1)))
    return deepcopy(options[number])


def _number(domain: Choice, value: Value) -> int:
    """Return the number of an option, as its distribution counts them."""
    return next(number for number, option in enumerate(_numbered(domain)) if is_same(option, value))


def _numbered(domain: Choice) -> list[Value]:
    """Return the options in the order of their numbers: ascending if they have an order, else as they stand."""
    return sorted(domain.options, key=lambda each: float(str(each))) if is_ordered(domain) else list(domain.options)


class _Recorded:
    """Recorded points, of which the nearest to a proposal is taken, each once."""

    def __init__(self, space: SearchSpace, points: Points) -> None:
        self.points = points
        self._encode = Encoding(space)
        self._places = self._encode(points) if points else np.empty((0, 0))

    def take(self, point: Point) -> dict[str, Value]:
        """Return the nearest point that is left, and take it away."""
        place = int(np.square(self._places - self._encode([point])).sum(axis=1).argmin())
        self._places = np.delete(self._places, place, axis=0)
        return self.points.pop(place)
