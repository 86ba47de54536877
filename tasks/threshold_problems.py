"""What is wrong with a study's decision threshold on its data, and what a verdict says of a version's."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from nightune.models.data.dataset import Dataset
from nightune.tuning.errors import Problem
from nightune.tuning.study.study import Study
from nightune.vocabulary import DEFAULT_THRESHOLD, VALIDATION_PREFIX, unknown_name

KEY = "objective.threshold"


def threshold_problems(study: Study, dataset: Dataset) -> Iterator[Problem]:
    """Yield why a threshold that is set has no meaning: other tasks, folds, validation rows of one class."""
    rule = study.objective.threshold
    if rule == DEFAULT_THRESHOLD:
        return
    if isinstance(rule, Mapping) or dataset.heads:
        yield from _problems_of_heads(rule, dataset)
    else:
        yield from _problems(rule, dataset)


def _problems_of_heads(rule: Mapping[str, str | float] | str | float, dataset: Dataset) -> Iterator[Problem]:
    """Yield what is wrong with thresholds by the names of heads, or that they have none."""
    heads = {head.name: head for head in dataset.heads}
    binary = next((head.name for head in dataset.heads if head.task == "binary"), None)
    if not isinstance(rule, Mapping):
        remedy = "remove it" if binary is None else f"name the head: threshold = {{ {binary} = {json.dumps(rule)} }}"
        yield Problem(KEY, f"{rule!r} is of one target, and the model has several heads; {remedy}")
        return
    if not heads:
        named = ", ".join(map(repr, rule))
        yield Problem(KEY, f"a table of heads ({named}), and the data has one target; give its value alone")
        return
    for name, own in rule.items():
        if name not in heads:
            yield Problem(KEY, unknown_name(name, heads, "head"))
        elif own != DEFAULT_THRESHOLD:
            found = _problems(own, dataset.of_head(heads[name]))
            yield from (Problem(each.key, f"head {name!r}: {each.message}") for each in found)


def _problems(rule: str | float, dataset: Dataset) -> Iterator[Problem]:
    if dataset.task != "binary":
        yield Problem(KEY, f"{rule!r} is read only for two classes, and the task is {dataset.task}; remove it")
    elif isinstance(rule, str) and dataset.folds:
        yield Problem(KEY, f"{rule!r} needs a validation split, and folds have none; set a number, or leave out folds")
    elif isinstance(rule, str):
        weights = dataset.validation.weights
        known = dataset.validation.targets if weights is None else dataset.validation.targets[weights > 0]
        if len(np.unique(known)) < 2:
            message = f"{rule!r} is chosen on the validation rows, which are all of one class; use a stratified split"
            yield Problem(KEY, f"{message}, or set a number")


def threshold_notes(description: Mapping[str, Any]) -> list[str]:
    """Say the threshold of a version, or of each of its heads, in a verdict; nothing for one half."""
    if "heads" in description:
        return [f"head {each['name']!r}: {note}" for each in description["heads"] for note in threshold_notes(each)]
    if "threshold" not in description:
        return []
    label, by = description["classes"][1], description.get("threshold_by", KEY)
    return [
        f"the label is {label!r} where its probability is above {description['threshold']:.4g} ({by}): accuracy, "
        f"balanced accuracy, F1 and MCC on the test rows are at this threshold, those of trials "
        f"({VALIDATION_PREFIX}…) at {DEFAULT_THRESHOLD:g}"
    ]
