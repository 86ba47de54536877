"""Metrics that a study names, and that its data leaves without a value or a meaning."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.data.heads import metric_of_head, of_head
from nightune.models.errors import InputError
from nightune.models.networks.class_scores import has_zero
from nightune.models.networks.own_metrics import OwnMetric, answers_of, some_rows
from nightune.models.serving.predictor import in_units
from nightune.models.techniques.losses import PARAMETERS
from nightune.models.user_code import is_reference
from nightune.tuning.errors import Problem
from nightune.tuning.study.objective import Further
from nightune.tuning.study.sections import OF_MODEL
from nightune.tuning.study.study import Study
from nightune.vocabulary import (
    ARCHITECTURE,
    POSITIONS,
    QUANTILE_METRICS,
    TOP_METRICS,
    VALIDATION_PREFIX,
    Direction,
    listing,
    unknown_name,
)

if TYPE_CHECKING:
    from nightune.models.data.dataset import Dataset, Examples

QUANTILES = "training.quantiles"
# metrics that are undefined on alike rows → in what these rows are alike, the split that prevents it
ALIKE = {
    **dict.fromkeys(("val_auc", "val_pr_auc"), ("one class", "a stratified split")),
    **dict.fromkeys(("val_r2", "val_spearman"), ("one target", "a random split")),
}


def metric_problems(study: Study, dataset: "Dataset") -> list[Problem]:
    """List the metrics that cannot be measured on the rows that rank trials, or are the same for every model.

    A function of the user is called with the training targets and random predictions.
    """
    named = [(study.objective.key, name) for name in study.objective.named if name not in OF_MODEL]
    named += [("objective.report", name) for name in study.objective.report]
    problems = [Problem(key, message) for key, name in named for message in _of_data(name, dataset)]
    problems += [Problem(key, message) for key, name in named for message in _quantile_problems(name, study, dataset)]
    of_head = list(_head_problems(study, dataset))
    own = [] if of_head or has_own_outputs(study, dataset) else own_problems(study, _measured_head(study, dataset))
    return [*problems, *of_head, *own]


def has_own_outputs(study: Study, dataset: "Dataset") -> bool:
    """Return whether the study states a loss or outputs by which only its built models show the number of outputs."""
    if dataset.task != "regression" or dataset.heads:
        return False
    losses = study.space.options("training.loss")
    return PARAMETERS in study.space.options("training.outputs") or any(is_reference(str(each)) for each in losses)


def own_metrics(study: Study) -> list[tuple[str, OwnMetric]]:
    """Return the user's functions among the objectives with their references; InputError if one is unsound."""
    first = own_metric(study)
    found = [] if first is None else [(study.objective.metric, first)]
    more = ((each.metric, further_metric(study, each)) for each in study.objective.further)
    return [*found, *((reference, own) for reference, own in more if own is not None)]


def further_metric(study: Study, objective: Further) -> OwnMetric | None:
    """Return the user's function that an objective after the first is; None if it is another; InputError as above."""
    if not objective.is_own:
        return None
    return _load(study, objective.metric, objective.direction)


def _quantile_problems(metric: str, study: Study, dataset: "Dataset") -> Iterator[str]:
    """Yield that models of quantiles do not predict the one whose loss a metric is."""
    found = metric_of_head(metric, dataset.heads)
    head, own = ("", metric) if found is None else (found[0].name, found[1])
    level = QUANTILE_METRICS.get(own.removeprefix(VALIDATION_PREFIX))
    if level is None:
        return
    for option in study.space.options(QUANTILES):
        given = option.get(head, []) if isinstance(option, Mapping) else option
        levels = list(given) if isinstance(given, list | tuple) else []
        if levels and level not in levels:
            listed = ", ".join(f"{each:g}" for each in levels)
            yield f"{metric} needs the quantile {level:g}, and models predict {listed}; add it to [training] quantiles"


def own_metric(study: Study) -> OwnMetric | None:
    """Return the user's function that is the objective, None if it is another metric; InputError if it is unsound."""
    objective = study.objective
    if not objective.is_own:
        return None
    return _load(study, objective.metric, objective.direction)


def _load(study: Study, reference: str, direction: Direction) -> OwnMetric:
    folder, objective = study.path.resolve().parent, study.objective
    return OwnMetric.load(reference, folder, direction, objective.head or "", objective.key)


def _head_problems(study: Study, dataset: "Dataset") -> Iterator[Problem]:
    """Yield that a user's function does not say which of several heads it measures, or names another one."""
    objective, heads = study.objective, [each.name for each in dataset.heads]
    if not objective.is_own and not any(each.is_own for each in objective.further):
        return
    if objective.head is None and heads:
        problem = f"missing; the data has several targets, and a function measures one ({listing(heads)})"
        yield Problem("objective.head", f'{problem}: set head = "{heads[0]}"')
    elif objective.head is not None and not heads:
        yield Problem("objective.head", f"{objective.head!r} is read only with several targets; remove it")
    elif objective.head is not None and objective.head not in heads:
        yield Problem("objective.head", unknown_name(objective.head, heads, "target"))


def _measured_head(study: Study, dataset: "Dataset") -> "Dataset":
    """Return the data of the head that a user's function measures; the data itself if there is one target."""
    head = next((each for each in dataset.heads if each.name == study.objective.head), None)
    return dataset if head is None else dataset.of_head(head)


def _of_data(metric: str, dataset: "Dataset") -> Iterator[str]:
    """Yield what is wrong with a metric, of several heads with the one that has it."""
    found = metric_of_head(metric, dataset.heads)
    if found is None:
        yield from () if dataset.heads else _messages(metric, dataset)
        return
    head, own = found
    yield from (
        f"head {head.name!r}: {of_head(message, head.name)}" for message in _messages(own, dataset.of_head(head))
    )


def own_problems(study: Study, dataset: "Dataset", size: int = 0) -> list[Problem]:
    """List what is wrong with the user's functions, by random predictions, or so many parameters of a loss."""
    key = study.objective.key
    try:
        return [each for given in own_metrics(study) for each in _problems_of(*given, study, dataset, size)]
    except InputError as error:
        return [Problem(key, f"{error.message}{_of_compiled(study, dataset, size, error)}")]


def _of_compiled(study: Study, dataset: "Dataset", size: int, error: InputError) -> str:
    """Say what helps if a model is compiled with a loss of more outputs than the target has: it is not built yet."""
    is_known = size or dataset.task != "regression" or has_own_outputs(study, dataset) or not _has_own_models(study)
    if is_known or not isinstance(error.__cause__, IndexError):
        return ""
    return "; if y_pred are parameters of the loss that the model is compiled with, state it as loss in [training]"


def _has_own_models(study: Study) -> bool:
    return any(is_reference(str(each)) for each in study.space.options(ARCHITECTURE))


def _problems_of(reference: str, own: OwnMetric, study: Study, dataset: "Dataset", size: int) -> Iterator[Problem]:
    key, is_first = study.objective.key, reference == study.objective.metric
    what = "parameters" if size else "predictions"
    if dataset.folds and not is_first:
        yield Problem(key, f"{reference}: with folds a function of yours can be the first metric only; name it first")
        return
    has_weights = dataset.train.weights is not None and study.objective.average == "weights"
    if has_weights and not own.weights_name:
        problem = f"{reference} takes no weights, and rows have some; give it an argument `weights`, or set"
        yield Problem(key, f'{problem} average = "rows"')
        return
    train = some_rows(dataset, dataset.train if has_weights else replace(dataset.train, weights=None))
    for place, part, examples in (("the training rows", dataset, train), *_measured(dataset)):
        arguments, weights = _random_answers(part, examples, size), examples.weights if has_weights else None
        values = [own.value(*arguments, weights) for _ in range(2)]
        if not np.isfinite(values).all():
            yield Problem(key, f"{reference} is {values[0]} for random {what} of {place} (needed: finite)")
        elif values[0] != values[1]:
            problem = f"{reference} returned {values[0]:g} and {values[1]:g} for the same values"
            yield Problem(key, f"{problem}; seed its random numbers")
            return
        elif part.task == POSITIONS and _counts_no_class(own, *arguments, weights):
            problem = f"{reference} counts positions without a class, where y_true is -1"
            yield Problem(key, f"{problem}; leave them out: known = y_true >= 0")
            return


def _random_answers(dataset: "Dataset", examples: "Examples", size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the targets and random predictions, or so many parameters, in the form that a user's metric gets them."""
    generator, targets = np.random.default_rng(0), examples.targets
    if size:
        outputs = generator.uniform(0.1, 0.9, (len(targets), size))
    elif dataset.task == "regression":
        outputs = generator.permutation(targets.reshape(len(targets), -1))
    else:
        outputs = generator.uniform(0.1, 0.9, (len(targets), dataset.output_count))
    return answers_of(dataset.task, outputs, targets, False, dataset.description)


def _counts_no_class(own: OwnMetric, classes: np.ndarray, probabilities: np.ndarray, *given: Any) -> bool:
    """True if a function counts positions without a class: further ones in each row change its value."""
    if not (classes < 0).any():
        return False
    more = np.concatenate([classes, np.full_like(classes[:, :1], -1)], axis=1)
    answers = np.concatenate([probabilities, probabilities[:, :1]], axis=1)
    try:
        values = own.value(classes, probabilities, *given), own.value(more, answers, *given)
    except InputError:  # it may take rows of one size only
        return False
    return not np.isclose(*values, rtol=1e-6)


def _messages(metric: str, dataset: "Dataset") -> Iterator[str]:
    top = TOP_METRICS.get(metric.removeprefix(VALIDATION_PREFIX))
    if top is not None and dataset.output_count <= top:
        yield f"{metric} is 1 for every model of {dataset.output_count} classes; use val_accuracy"
    for place, part, examples in _measured(dataset):
        if metric in ALIKE and not _varies(examples):
            alike, other = ALIKE[metric]
            yield f"{metric} has no value in {place}, which have {alike}; use {other} or another metric"
        elif constant := _constant_targets(metric, part, examples):
            yield f"{metric} has no value for a target that is the same in {place}, and {constant} are; use val_mae"
        if metric == "val_mape" and _has_zero(examples, part):
            yield f"val_mape divides by the target, and {place} have a target of 0; use val_mae"


def _measured(dataset: "Dataset") -> Iterator[tuple[str, "Dataset", "Examples"]]:
    """Yield the rows that metrics are measured on: in words, the data set or fold that has them, and the rows.

    Rows of weight 0 are left out.
    """
    for number, fold in enumerate(dataset.folds, start=1):
        held = _weighing(fold.validation)
        yield f"the {len(held)} validation rows of fold {number}", fold, held
    if not dataset.folds:
        held = _weighing(dataset.validation)
        yield f"the {len(held)} validation rows", dataset, held
    if dataset.ranking_apart is not None:
        held = _weighing(dataset.ranking_apart)
        yield f"the {len(held)} ranking rows", dataset, held


def _weighing(examples: "Examples") -> "Examples":
    """Return the targets of the rows with a weight above 0, with their places as inputs: none are read here."""
    return replace(examples, inputs=np.arange(len(examples))).weighing()


def _varies(examples: "Examples") -> bool:
    labels = examples.targets.reshape(len(examples), -1)
    return bool(np.any(np.ptp(labels, axis=0) > 0))


def _constant_targets(metric: str, dataset: "Dataset", examples: "Examples") -> str:
    """Say how many of several targets leave a metric, or at positions its comparison by the gate, without a value."""
    if metric != "val_spearman" and not (metric == "val_r2" and isinstance(dataset.output_size, tuple)):
        return ""
    targets = examples.targets.reshape(len(examples), -1)
    count = int(np.sum(np.ptp(targets, axis=0) == 0))
    return f"{count} of {targets.shape[1]}" if count else ""


def _has_zero(examples: "Examples", dataset: "Dataset") -> bool:
    quantities = in_units(examples.targets.reshape(len(examples), -1), dataset.description)
    return has_zero(quantities, dataset.description)
