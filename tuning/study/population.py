"""The keys of a search by population: a part of the section [search]."""

import math
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from nightune.tuning.study.section import Clash, Count, Section
from nightune.vocabulary import shown

POPULATION = "pbt"
KEYS = ("population", "perturb_every", "truncation", "perturb_factors", "resample_probability")
FEWEST = 4  # members

Truncation = Annotated[float, Field(gt=0, le=0.5, description="a share above 0, at most 0.5")]
Probability = Annotated[float, Field(ge=0, le=1, description="a probability from 0 to 1")]
Members = Annotated[int, Field(ge=FEWEST, le=10_000, description=f"a whole number from {FEWEST} to 10000")]


def _check_factors(factors: tuple[float, float]) -> tuple[float, float]:
    if 0.0 < factors[0] < 1.0 < factors[1] < math.inf:
        return factors
    message = f"{shown(list(factors))} are not two factors (allowed: one between 0 and 1, then one above 1)"
    raise PydanticCustomError("message", "{message}", {"message": message})


Factors = Annotated[
    tuple[float, float],
    Field(strict=False, description="a list of two numbers, one between 0 and 1 and one above 1"),
    AfterValidator(_check_factors),
]


class PopulationKeys(Section):
    """How a population develops: its members, and when and how the worst of them are replaced."""

    population: Members | None = None
    perturb_every: Count | None = None
    truncation: Truncation | None = None
    perturb_factors: Factors | None = None
    resample_probability: Probability | None = None


def population_clashes(search: Any) -> Iterator[Clash]:
    """Yield the clashes between the keys of a population and the others of [search], which is `search`."""
    given = {name: value for name in KEYS if (value := getattr(search, name)) is not None}
    if search.method != POPULATION:
        for name, value in given.items():
            message = f"{shown(value)} is read only by method {POPULATION!r}; remove it, or use that method"
            yield Clash(("method", name), name, message)
        return
    if search.population is None:
        yield Clash(("method", "population"), "population", "missing; needed for a search by population, such as 20")
    if (search.perturb_every or 1) >= search.epochs:
        message = f"{search.perturb_every or 1}, but a training has {search.epochs} epochs: no member would be replaced"
        yield Clash(("method", "epochs", "perturb_every"), "perturb_every", f"{message} (allowed: fewer than epochs)")
    if search.reuse:
        message = "true, but members of a population continue from others of their sweep; remove it"
        yield Clash(("method", "reuse"), "reuse", message)
    if search.history:
        message = "true, but a population is not begun by earlier sweeps; remove it"
        yield Clash(("method", "history"), "history", message)
    if search.audit is not None:
        message = f"{search.audit:g}, but no rule stops members of a population; remove it"
        yield Clash(("method", "audit"), "audit", message)
