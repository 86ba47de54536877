"""Versions of several heads: the outputs of all in one row for each example, and their answers side by side.

It imports only modules that are stored with every registered model (`CARRIED` in `predictor.py`).
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from nightune.models.errors import InputError
from nightune.models.serving.probabilities import POSITIONS, described_probabilities


def packed(outputs: Any, description: Mapping[str, Any]) -> np.ndarray:
    """Return a model's outputs as one array (rows, size), of several heads side by side as training had them."""
    import keras  # noqa: PLC0415 - loaded since the model was opened

    if isinstance(outputs, dict | list | tuple) and "heads" in description:
        heads = sorted(description["heads"], key=lambda head: head["outputs_at"])
        parts = [keras.ops.convert_to_numpy(outputs[head.get("place", head["name"])]) for head in heads]
        return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)
    only = next(iter(outputs.values())) if isinstance(outputs, dict) else outputs
    values: np.ndarray = keras.ops.convert_to_numpy(only)
    return values


def head_descriptions(description: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what a description says of each head, as of a version with that head alone."""
    shared = {name: value for name, value in description.items() if name != "heads"}
    return {head["name"]: {**shared, **head} for head in description["heads"]}


def own_outputs(outputs: np.ndarray, head: Mapping[str, Any]) -> np.ndarray:
    """Return the outputs of one head, (rows, size), from those of all."""
    start, end = head["outputs_at"]
    return outputs[:, start:end]


def named_probabilities(
    outputs: np.ndarray, description: Mapping[str, Any]
) -> tuple[list[Any], npt.NDArray[np.float64]]:
    """Return the probabilities of a version's outputs with their names: classes or labels, of heads `HEAD_CLASS`.

    A head with a class at each position has `HEAD_CLASS_POSITION`, the classes at the first one before those at the
    next. Heads of quantities have none. InputError if no head has any.
    """
    if "heads" not in description:
        return list(description["classes"] or ()), described_probabilities(outputs, description)
    names: list[Any] = []
    parts = []
    for name, head in head_descriptions(description).items():
        if head["task"] == POSITIONS:
            values = described_probabilities(own_outputs(outputs, head), head)
            places = range(math.prod(head["target_shape"]))
            own = [f"{name}_{label}_{place}" for place in places for label in head["classes"]]
            names += own
            parts.append(values.reshape(len(outputs), len(own)))
        elif head["task"] != "regression":
            names += [f"{name}_{label}" for label in head["classes"]]
            parts.append(described_probabilities(own_outputs(outputs, head), head))
    if not parts:
        raise InputError("output", "'probabilities' are of classes, and all heads predict quantities; use 'labels'")
    return names, np.concatenate(parts, axis=1)


def has_probabilities(description: Mapping[str, Any]) -> bool:
    """True for a version of classes or labels, or with a head of them."""
    heads = description.get("heads") or [description]
    return any(head["task"] != "regression" for head in heads)


def side_by_side(answers: Mapping[str, Any], descriptions: Mapping[str, Mapping[str, Any]]) -> Any:
    """Return the answers of all heads as a DataFrame: a column for each head, or for each label or quantity of it.

    With a head of several axes they are a dictionary of arrays by name.
    """
    import pandas as pd  # noqa: PLC0415 - half a second, only for several heads

    if any("target_shape" in description for description in descriptions.values()):
        return {name: np.asarray(each) for name, each in answers.items()}
    tables = [_table(name, each, descriptions[name]) for name, each in answers.items()]
    return pd.concat(tables, axis="columns")


def _table(name: str, answers: Any, description: Mapping[str, Any]) -> Any:
    import pandas as pd  # noqa: PLC0415 - as above

    if isinstance(answers, pd.DataFrame):
        return answers.set_axis([f"{name}_{column}" for column in answers.columns], axis="columns")
    if answers.ndim == 1:
        return pd.DataFrame({name: answers})
    columns = description.get("quantiles") or description.get("classes") or range(answers.shape[1])
    return pd.DataFrame(answers, columns=[f"{name}_{column}" for column in columns])
