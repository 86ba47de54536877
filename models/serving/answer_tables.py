"""Tables of a version's answers: labels, the names of classes beside them, and probabilities.

It imports only modules that are stored with every registered model (`CARRIED` in `predictor.py`).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.serving.probabilities import POSITIONS

if TYPE_CHECKING:
    import pandas as pd

PREDICTION = "prediction"  # the name of the column; those of several begin with it, too
NAME = "prediction_name"  # of the predicted class, where the data names its classes


def answer_table(answers: Any, description: Mapping[str, Any]) -> "pd.DataFrame":
    """Return answers as a table with texts as the names of its columns, and the names of classes behind labels."""
    import pandas as pd  # noqa: PLC0415 - half a second

    if isinstance(answers, dict):  # of several heads, one of which has several axes
        each = [_one_head(name, array) for name, array in answers.items()]
        return pd.concat(each, axis="columns")
    if isinstance(answers, pd.DataFrame):
        texts: pd.DataFrame = answers.set_axis([str(name) for name in answers.columns], axis="columns")
        return texts
    if answers.ndim == 1:
        named = {name: str(each) for name, each in class_names(description).items()}
        names = {NAME: [named[label] for label in answers.tolist()]} if named else {}
        return pd.DataFrame({PREDICTION: answers, **names})
    answers = answers.reshape(len(answers), -1)  # those of several axes have a column for each position
    is_at_positions = description["task"] == POSITIONS  # classes are those of each of them
    own = None if is_at_positions else description.get("quantiles") or description.get("classes")
    own = own or range(answers.shape[1])
    return pd.DataFrame(answers, columns=[f"{PREDICTION}_{name}" for name in own])


def class_names(description: Mapping[str, Any]) -> dict[Any, str]:
    """Return the names of classes by their labels; empty where the data has none beside them."""
    names: Sequence[str] = description.get("class_names", ())
    return dict(zip(description["classes"], names, strict=True)) if names else {}


def with_probabilities(table: "pd.DataFrame", names: Sequence[Any], values: np.ndarray) -> "pd.DataFrame":
    """Return a table of answers with the probabilities (rows, names) behind them, `probability_NAME`.

    Those of a class at each position, (rows * positions, names), are named `probability_NAME_POSITION`.
    """
    import pandas as pd  # noqa: PLC0415 - half a second

    if len(values) > len(table):
        places = range(len(values) // len(table))
        names = [f"{name}_{place}" for place in places for name in names]
        values = values.reshape(len(table), -1)
    columns = [f"probability_{name}" for name in names]
    together: pd.DataFrame = pd.concat([table, pd.DataFrame(values, columns=columns)], axis="columns")
    return together


def _one_head(name: str, answers: np.ndarray) -> "pd.DataFrame":
    """Return the answers of one of several heads as columns that begin with its name, one for each position."""
    import pandas as pd  # noqa: PLC0415 - half a second

    flat = pd.DataFrame(answers.reshape(len(answers), -1))
    return flat.set_axis([name] if answers.ndim == 1 else [f"{name}_{place}" for place in flat], axis="columns")
