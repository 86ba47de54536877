"""Metrics that a study names, and that its data leaves without a value or a meaning."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from nightune.models.networks.class_scores import has_zero
from nightune.models.networks.named_metrics import TOP_COUNTS
from nightune.models.serving.predictor import in_units
from nightune.tuning.errors import Problem
from nightune.tuning.study.study import Study
from nightune.vocabulary import VALIDATION_PREFIX

if TYPE_CHECKING:
    from nightune.models.data.dataset import Dataset, Examples

# metrics that are undefined on alike rows → in what these rows are alike, the split that prevents it
ALIKE = {
    **dict.fromkeys(("val_auc", "val_pr_auc"), ("one class", "a stratified split")),
    **dict.fromkeys(("val_r2", "val_spearman"), ("one target", "a random split")),
}


def metric_problems(study: Study, dataset: "Dataset") -> list[Problem]:
    """List the metrics that cannot be measured on the rows that rank trials, or are the same for every model."""
    named = [("objective.metric", study.objective.metric)]
    named += [("objective.report", name) for name in study.objective.report]
    return [Problem(key, message) for key, name in named for message in _messages(name, dataset)]


def _messages(metric: str, dataset: "Dataset") -> Iterator[str]:
    top = TOP_COUNTS.get(metric.removeprefix(VALIDATION_PREFIX))
    if top is not None and dataset.output_size <= top:
        yield f"{metric} is 1 for every model of {dataset.output_size} classes; use val_accuracy"
    places = [(f"fold {number}", fold) for number, fold in enumerate(dataset.folds, start=1)]
    for place, part in places or [("", dataset)]:
        for split, examples in _measured(part):
            where = f"{place or 'the data'}, whose {len(examples)} {split} rows have"
            if place and metric in ALIKE and not _varies(examples):
                alike, other = ALIKE[metric]
                yield f"{metric} has no value in {where} {alike}; use {other} or another metric"
            if metric == "val_mape" and _has_zero(examples, dataset):
                yield f"val_mape divides by the target, and cannot be used in {where} a target of 0; use val_mae"


def _measured(dataset: "Dataset") -> Iterator[tuple[str, "Examples"]]:
    """Yield the rows that metrics are measured on, with the name of their split."""
    yield "validation", dataset.validation
    if dataset.ranking_apart is not None:
        yield "ranking", dataset.ranking_apart


def _varies(examples: "Examples") -> bool:
    labels = examples.targets.reshape(len(examples), -1)
    return bool(np.any(np.ptp(labels, axis=0) > 0))


def _has_zero(examples: "Examples", dataset: "Dataset") -> bool:
    quantities = in_units(examples.targets.reshape(len(examples), -1), dataset.description)
    return has_zero(quantities, dataset.description)
