"""The scores of recorded configurations on many data sets: the shipped ones, as the prior mean of a search space."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, FiniteFloat, model_validator

from nightune.tuning.search.gaussian_process import scores
from nightune.tuning.search.portfolio import OPTIMIZER, nearest_point, without_model
from nightune.tuning.search.prior_mean import PriorMean
from nightune.tuning.search.samplers import draw_units
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.trial import Params, Value
from nightune.vocabulary import ARCHITECTURE

FILE = Path(__file__).with_name("recorded_scores.json")
LEAST = 24  # configurations that speak for a space, below which it has no prior
LEARNING_RATE = "learning_rate.peak"
FARTHEST = 2.0  # ratio of the learning rates of a configuration and of the point that has its score


class Family(BaseModel):
    """The configurations of an architecture, and their scores by kind of task: mean 0, variance 1, lower is better."""

    model_config = ConfigDict(frozen=True)

    configurations: Sequence[Mapping[str, Any]]
    scores: Mapping[str, Sequence[FiniteFloat]]

    @model_validator(mode="after")
    def _is_whole(self) -> "Family":
        if any(len(scores) != len(self.configurations) for scores in self.scores.values()):
            raise ValueError("each kind of task needs one score a configuration")
        return self


class RecordedScores(BaseModel):
    """The recorded configurations by architecture family."""

    model_config = ConfigDict(frozen=True)

    families: Mapping[str, Family]


def has_recorded_scores() -> bool:
    """True if this installation has scores."""
    return FILE.exists()


def read_recorded_scores() -> RecordedScores:
    """Read the shipped scores; ValueError if they are damaged."""
    return RecordedScores.model_validate_json(FILE.read_text(encoding="utf-8"))


def mean_scores(losses: np.ndarray) -> np.ndarray:
    """Return the score of each configuration, mean 0 and variance 1: the mean of those on each data set.

    `losses` are (data sets, configurations, seeds), lower is better, NaN for a failure.
    """
    means = np.where(np.isfinite(losses), losses, np.nan).mean(axis=-1)
    found = np.mean([scores(row) for row in means], axis=0)
    return np.asarray((found - found.mean()) / max(float(found.std()), 1e-12))


def prior_of(
    recorded: RecordedScores, space: SearchSpace, kind: str, complete: Callable[[Params], Params]
) -> PriorMean | None:
    """Return what the recorded scores let one expect in a space; None if they say too little about it.

    `kind` is classification or regression, and `complete` adds the defaults to a point, or raises ValueError if its
    params contradict each other. An architecture without a family has the scores of all families, whatever their
    networks. A configuration becomes a point as one of the portfolio does; left out are those whose optimizer or
    learning rate the space does not reach, and those that `complete` refuses. A value that the space lacks otherwise is
    averaged over.
    """
    points: list[dict[str, Value]] = []
    found: list[float] = []
    for name in map(str, space.options(ARCHITECTURE)):
        for place, (configuration, score) in enumerate(_scored(recorded, name, kind)):
            try:
                point = nearest_point(space, configuration, draw_units(space, place, (0,))).point
                full = complete(point)
            except ValueError:
                continue
            if _is_near(configuration, full):
                points.append(dict(point))
                found.append(score)
    return PriorMean(space, points, np.array(found)) if len(points) >= LEAST else None


def _scored(recorded: RecordedScores, architecture: str, kind: str) -> Iterator[tuple[Params, float]]:
    """Yield an architecture's configurations with their scores: of its family, or of all without their networks."""
    own = recorded.families.get(architecture)
    for family in recorded.families.values() if own is None else (own,):
        for each, score in zip(family.configurations, family.scores.get(kind, ()), strict=False):
            kept = each if family is own else without_model(each)
            yield {**kept, ARCHITECTURE: architecture}, score


def _is_near(configuration: Params, full: Params) -> bool:
    """True if a point trains with the optimizer of a configuration, and at about its rate."""
    rates = [float(str(params[LEARNING_RATE])) for params in (configuration, full) if params.get(LEARNING_RATE)]
    is_same_rate = len(rates) < 2 or abs(math.log(rates[0] / rates[1])) <= math.log(FARTHEST)
    return configuration.get(OPTIMIZER) == full.get(OPTIMIZER) and is_same_rate
