"""What is wrong with a study's decision threshold on its data, and what a verdict says of a version's."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from nightune.models.data.dataset import Dataset
from nightune.tuning.errors import Problem
from nightune.tuning.study.study import Study
from nightune.vocabulary import DEFAULT_THRESHOLD, VALIDATION_PREFIX

KEY = "objective.threshold"


def threshold_problems(study: Study, dataset: Dataset) -> Iterator[Problem]:
    """Yield why a threshold that is set has no meaning: other tasks, folds, validation rows of one class."""
    rule = study.objective.threshold
    if rule == DEFAULT_THRESHOLD:
        return
    if dataset.task != "binary":
        what = "the model has several heads" if dataset.heads else f"the task is {dataset.task}"
        yield Problem(KEY, f"{rule!r} is read only for two classes, and {what}; remove it")
    elif isinstance(rule, str) and dataset.folds:
        yield Problem(KEY, f"{rule!r} needs a validation split, and folds have none; set a number, or leave out folds")
    elif isinstance(rule, str):
        weights = dataset.validation.weights
        known = dataset.validation.targets if weights is None else dataset.validation.targets[weights > 0]
        if len(np.unique(known)) < 2:
            message = f"{rule!r} is chosen on the validation rows, which are all of one class; use a stratified split"
            yield Problem(KEY, f"{message}, or set a number")


def threshold_notes(description: Mapping[str, Any]) -> list[str]:
    """Say the threshold of a version in a verdict; nothing for one half."""
    if "threshold" not in description:
        return []
    label, by = description["classes"][1], description.get("threshold_by", KEY)
    return [
        f"the label is {label!r} where its probability is above {description['threshold']:.4g} ({by}): accuracy, "
        f"balanced accuracy, F1 and MCC on the test rows are at this threshold, those of trials "
        f"({VALIDATION_PREFIX}…) at {DEFAULT_THRESHOLD:g}"
    ]
