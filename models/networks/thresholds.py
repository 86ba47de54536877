"""Choose the probability above which the second of two classes is predicted, on the validation rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nightune.models.data.dataset import Dataset, Examples
from nightune.models.networks.heads import Head
from nightune.models.networks.joint_heads import JointHead
from nightune.models.serving.input_trees import in_memory
from nightune.models.serving.predictor import Predictor
from nightune.models.serving.probabilities import class_probabilities
from nightune.vocabulary import DEFAULT_THRESHOLD


def described_threshold(
    rule: str | float | Mapping[str, str | float], model: Any, dataset: Dataset, head: Head
) -> dict[str, Any]:
    """Return what a version's description says of its threshold; empty for the default, one half.

    `rule` is the threshold itself, or the metric that it makes highest on the validation rows. Of several heads they
    are by name, and the result is their descriptions with it.
    """
    if isinstance(rule, Mapping):
        assert isinstance(head, JointHead)
        return _of_heads(rule, model, dataset, head)
    if rule == DEFAULT_THRESHOLD:
        return {}
    if not isinstance(rule, str):
        return {"threshold": float(rule)}
    validation = dataset.validation
    outputs = Predictor(model, None, dataset.description).outputs(in_memory(validation.inputs))
    return _chosen(rule, outputs, validation, head)


def _of_heads(rules: Mapping[str, str | float], model: Any, dataset: Dataset, head: JointHead) -> dict[str, Any]:
    """Return the descriptions of all heads, those of two classes with their thresholds."""
    description, validation = {**dataset.description, **head.description}, dataset.validation
    outputs = Predictor(model, None, description).outputs(in_memory(validation.inputs))
    heads = []
    for each in description["heads"]:
        rule, part = rules.get(each["name"], DEFAULT_THRESHOLD), head.part(each["name"])
        own: dict[str, Any] = {} if rule == DEFAULT_THRESHOLD else {"threshold": rule}
        if isinstance(rule, str):
            own = _chosen(rule, np.asarray(part.outputs(outputs)), validation.of_head(part.data), part.head)
        heads.append({**each, **own})
    return {"heads": heads}


def _chosen(rule: str, outputs: np.ndarray, validation: Examples, head: Head) -> dict[str, Any]:
    if not np.isfinite(outputs).all():  # the gate refuses such a model
        return {}
    probabilities = class_probabilities(outputs.astype(np.float64), head.is_logits)[:, 1]
    chosen = best_threshold(rule, probabilities, validation.targets, validation.weights)
    return {"threshold": chosen, "threshold_by": f"highest {rule} on {len(validation)} validation rows"}


def best_threshold(
    rule: str, probabilities: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None
) -> float:
    """Return the threshold in (0, 1) with the highest value of a rule: "f1" of the second class, "balanced_accuracy".

    `probabilities` are those of the second class, (rows,), `targets` 0 or 1, `weights` (rows,) from 0. The threshold
    lies in the middle between two neighbouring probabilities; of equally good ones it is the nearest to one half.
    """
    rows = np.ones(len(targets)) if weights is None else weights.astype(np.float64)
    order = np.argsort(probabilities, kind="stable")
    values, positives = probabilities[order], rows[order] * (targets[order] == 1)
    negatives = rows[order] - positives
    # Cut k: the first k rows, with the lowest probabilities, are of the first class.
    edges = np.concatenate([[0.0], values, [1.0]])
    cuts = (edges[:-1] + edges[1:]) / 2
    is_cut = np.concatenate([[values[0] > 0.0], values[1:] > values[:-1], [values[-1] < 1.0]])
    hits = positives.sum() - np.concatenate([[0.0], np.cumsum(positives)])
    false = negatives.sum() - np.concatenate([[0.0], np.cumsum(negatives)])
    if rule == "f1":
        scores = 2 * hits / np.maximum(hits + false + positives.sum(), np.finfo(float).tiny)
    else:
        scores = (hits / positives.sum() + 1.0 - false / negatives.sum()) / 2
    is_best = is_cut & (scores >= scores[is_cut].max() - 1e-12) if is_cut.any() else np.zeros(len(cuts), bool)
    if not is_best.any():  # all probabilities are 0 and 1 alone: one half divides them
        return DEFAULT_THRESHOLD
    found = cuts[is_best]
    return float(found[np.argmin(np.abs(found - DEFAULT_THRESHOLD))])
