"""Whether a user's models can change their dropout within a training: with other weights it could not go on."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from nightune.models.techniques.losses import TrainingSettings
from nightune.models.user_code import is_reference
from nightune.tasks.load_study import ASKED_POINTS
from nightune.tuning.errors import Problem
from nightune.tuning.search.population import changes_of, perturbed_dimensions
from nightune.tuning.search.samplers import random
from nightune.tuning.study.population import POPULATION
from nightune.tuning.study.study import Study
from nightune.tuning.trial import Params
from nightune.vocabulary import ARCHITECTURE, DROPOUT

if TYPE_CHECKING:
    from nightune.models.networks.repeated_builds import Build
    from nightune.models.networks.training_rows import TrainingRows

    Built = tuple[dict[str, Any], TrainingSettings, Build | None]


def changed_model_problems(
    study: Study, architecture: str, rows: "TrainingRows", built: "Iterable[Built]"
) -> list[Problem]:
    """Build a user's models with the lowest and the highest dropout that they change to; return the first problem.

    `built` are those of the architecture, with the parameters that their trainings begin with. Imports Keras.
    """
    from nightune.models.networks.trial_build import PARAMETER, dropout_problem  # noqa: PLC0415 - Keras

    rates = sorted(set(_changed_rates(study, architecture))) if is_reference(architecture) else []
    for parameters, training, first in built:
        if first is None or PARAMETER not in parameters:
            continue
        for rate in dict.fromkeys([*rates[:1], *rates[-1:]]):
            problem = dropout_problem(architecture, parameters, rate, training, rows, study.path.parent, first)
            if problem:
                return [Problem(problem.key, problem.message)]
    return []


def _changed_rates(study: Study, architecture: str) -> Iterator[float]:
    """Yield the rates that trainings of an architecture change to, of points at random."""
    perturbed = [each.name for each in perturbed_dimensions(study.space)] if study.search.method == POPULATION else []
    for point in random(study.space, ASKED_POINTS, [], study.sweep_seed(0)):
        if point.get(ARCHITECTURE, architecture) == architecture:
            tables: list[Params] = [*changes_of(point).values(), *([point] if DROPOUT in perturbed else [])]
            yield from (float(str(table[DROPOUT])) for table in tables if DROPOUT in table)
