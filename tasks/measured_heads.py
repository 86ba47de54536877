"""Whether the metrics of a study can compare its models, whose losses and outputs are known once they are built."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from nightune.models.data.dataset import Dataset
from nightune.tasks.metric_problems import has_own_outputs, own_problems
from nightune.tuning.errors import Problem, StudyError
from nightune.tuning.study.sections import OF_MODEL
from nightune.tuning.study.study import Study
from nightune.vocabulary import OBJECTIVES, VALIDATION_PREFIX, plain_metric

if TYPE_CHECKING:
    from nightune.models.networks.heads import Head

Heads = Sequence[tuple[str, "Head"]]  # with the architecture of each


def refuse_measures(study: Study, dataset: Dataset, heads: Heads) -> None:
    """Refuse `val_loss` for models of different losses, and what parameters of a loss cannot be measured by."""
    problems = [*_several_losses(study, heads), *_measures_of_parameters(study, heads)]
    problems = problems or [*_own_metrics(study, dataset, heads)]
    if problems:
        raise StudyError(str(study.path), list(dict.fromkeys(problems)))


def _several_losses(study: Study, heads: Heads) -> Iterator[Problem]:
    """Yield that values of different losses cannot be compared."""
    for metric in study.objective.named:
        if plain_metric(metric) == "val_loss":
            yield from _losses_of(study, [_ranked(head, metric) for _, head in heads], metric)


def _losses_of(study: Study, heads: Sequence["Head"], metric: str) -> Iterator[Problem]:
    losses = {(head.loss_name, len(head.quantiles)) for head in heads}
    # The same name may stand for several losses: its settings, or a user's function with a searched parameter. A user's
    # loss has other values for another number of parameters.
    values = {(head.loss_name, head.is_logits, len(head.parameters), head.values) for head in heads}
    alike = {each[:3] for each in values}
    if len(losses) > 1 or len(values) > len(alike):
        names = " and ".join(dict.fromkeys(head.loss_name for head in heads))
        settings = "" if len(losses) > 1 else " with different settings"
        problem = f"{metric} cannot rank trials of different losses ({names}{settings})"
        yield Problem(study.objective.key, f"{problem}; rank by another metric, or set one loss")


def _ranked(head: "Head", metric: str) -> "Head":
    """Return the head whose loss a metric is: of several heads the sum for `val_loss`, or the one that it names."""
    parts = getattr(head, "parts", ())
    return next((each.head for each in parts if metric == f"{VALIDATION_PREFIX}{each.data.name}_loss"), head)


def _measures_of_parameters(study: Study, heads: Heads) -> Iterator[Problem]:
    """Yield the metrics that compare outputs with the target, where these are parameters of a loss."""
    named = [(study.objective.key, each) for each in study.objective.named]
    named += [("objective.report", each) for each in study.objective.report]
    measures = [(key, each) for key, each in named if each in OBJECTIVES and each not in ("val_loss", *OF_MODEL)]
    sizes = {len(head.parameters): (name, head.loss_name) for name, head in heads if head.parameters}
    for architecture, loss in sizes.values():
        for key, metric in measures:
            problem = f"{metric} compares predictions with the target, and the outputs of {architecture} are parameters"
            remedy = "use val_loss, or a function of (y_true, y_pred) of your own"
            yield Problem(key, f"{problem} of the loss {loss}; {remedy}")


def _own_metrics(study: Study, dataset: Dataset, heads: Heads) -> Iterator[Problem]:
    """Yield what is wrong with the user's functions, which get all parameters, (rows,) or (rows, parameters)."""
    sizes = {len(head.parameters) for _, head in heads}
    if not has_own_outputs(study, dataset):
        sizes.discard(0)  # quantities were measured when the data was read
    for size in sorted(sizes):
        yield from own_problems(study, dataset, size)
