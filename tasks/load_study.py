"""Read a study file and check its names and values against those of the models."""

from collections.abc import Iterator
from pathlib import Path

from nightune.models.errors import InputError
from nightune.models.networks.architectures import architecture_keys
from nightune.models.recipe.params import KEYS
from nightune.models.techniques.optimizers.search_ranges import customary_spaces
from nightune.models.techniques.stopping.user_rules import load_stop_function
from nightune.models.user_code import is_reference, load_loss_function
from nightune.tasks.metric_problems import own_metric
from nightune.tuning.errors import Problem, StudyError
from nightune.tuning.search.domains import Cases, Choice
from nightune.tuning.study.study import Study
from nightune.tuning.study.study import load_study as parse_study
from nightune.tuning.study.vocabulary import Vocabulary
from nightune.tuning.trial import Value


def load_study(path: Path, *, trials: int | None = None, epochs: int | None = None, seed: int | None = None) -> Study:
    """Return the study in the file, with the overrides of the command line; StudyError lists all problems."""
    folder = path.resolve().parent
    vocabulary = Vocabulary(KEYS, lambda name: architecture_keys(name, folder), customary=customary_spaces())
    study = parse_study(path, vocabulary, trials=trials, epochs=epochs, seed=seed)
    problems = [*_stopping_problems(study), *_loss_problems(study), *_metric_problems(study)]
    if problems:
        raise StudyError(str(path), problems)
    return study


def _loss_problems(study: Study) -> Iterator[Problem]:
    """Yield the problems of the user's own losses that cannot be loaded, and of losses that are not comparable."""
    losses = _options(study, "training.loss")
    for loss in losses:
        if isinstance(loss, str) and is_reference(loss):
            try:
                load_loss_function(loss, study.path.resolve().parent)
            except InputError as error:
                yield Problem(error.key, error.message)
    searched = next((name for name in ("training.loss", "training.quantiles") if len(_options(study, name)) > 1), None)
    if searched and study.objective.metric == "val_loss":
        message = f"val_loss cannot rank trials of different losses, and {searched} is searched; use another metric"
        yield Problem("objective.metric", message)


def _metric_problems(study: Study) -> Iterator[Problem]:
    """Yield the problem of a metric of the user that cannot be loaded."""
    try:
        own_metric(study)
    except InputError as error:
        yield Problem(error.key, error.message)


def _stopping_problems(study: Study) -> Iterator[Problem]:
    """Yield a problem for each of the user's own stopping rules that cannot be loaded."""
    dimension = study.space.by_name.get("stopping.rule")
    for rule in getattr(dimension and dimension.domain, "options", ()):
        if isinstance(rule, str) and is_reference(rule):
            try:
                load_stop_function(rule, study.path.resolve().parent)
            except InputError as error:
                yield Problem(error.key, error.message)


def _options(study: Study, name: str) -> tuple[Value, ...]:
    """The options of a parameter, in all its cases; none if it is not in the study, or a range."""
    dimension = study.space.by_name.get(name)
    domain = dimension.domain if dimension else None
    parts = [each for _, each in domain.domains] if isinstance(domain, Cases) else [domain]
    return tuple(option for part in parts if isinstance(part, Choice) for option in part.options)
