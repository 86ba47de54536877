"""Predict the rows of a file by a registered version, and write the answers as a table."""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightune.models.backend import load_keras
from nightune.models.data.rows_to_predict import RowsToPredict, read_rows
from nightune.models.error_causes import cause_of
from nightune.models.errors import InputError
from nightune.models.serving.head_outputs import has_probabilities as has_probabilities_of
from nightune.models.serving.predictor import PROBABILITIES
from nightune.tasks.tracking.registry.open_version import Opened, find_version, open_version
from nightune.tasks.tracking.registry.registry import Version
from nightune.tasks.tracking.store.store import Store
from nightune.vocabulary import POSITIONS, unknown_name

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

FORMATS = (".csv", ".jsonl", ".parquet")
PREDICTION = "prediction"  # the name of the column; those of several begin with it, too


@dataclass(frozen=True, eq=False)
class Predicted:
    """The answers, one row for each row of the file in its order, the version that gave them, and remarks."""

    answers: "pd.DataFrame"
    version: Version
    remarks: tuple[str, ...]


def refuse_bad_output(output: Path, file: Path) -> None:
    """Refuse, before anything is computed, an output of an unknown format or that cannot be written."""
    if output.suffix.lower() not in FORMATS:
        raise InputError("--output", unknown_name(output.suffix or output.name, FORMATS, "format"))
    if output.is_dir() or not output.absolute().parent.is_dir():
        what = "it is a folder" if output.is_dir() else f"there is no folder {output.absolute().parent}"
        raise InputError("--output", f"{output} cannot be written: {what}")
    if output.exists() and output.samefile(file):
        raise InputError("--output", f"{output} is the file of the rows; name another one")


def predict_rows(
    store: Store, model: str, file: Path, number: int | None, alias: str, has_probabilities: bool
) -> Predicted:
    """Predict the rows of a file by the version of a number, or else of an alias.

    InputError for rows that the version cannot read; StoreError if there is no such version, or it cannot be opened.
    """
    version = find_version(store, model, number, alias)
    load_keras(store.compiled)
    with tempfile.TemporaryDirectory() as folder:
        opened = open_version(store, version, Path(folder))
        if has_probabilities:
            _refuse_without_probabilities(opened, version)
        rows = read_rows(file, opened.description)
        answers = _answers(opened, rows, file, has_probabilities)
        if rows.names:
            answers.insert(0, "file", list(rows.names))
        return Predicted(answers, version, rows.remarks)


def write_answers(answers: "pd.DataFrame", output: Path | None) -> None:
    """Write the table by the suffix of the file, or as CSV to standard output; InputError if it cannot be written."""
    if output is None:
        answers.to_csv(sys.stdout, index=False)
        return
    unfinished = output.with_name(f".{output.name}.unfinished")
    try:
        if output.suffix.lower() == ".csv":
            answers.to_csv(unfinished, index=False)
        elif output.suffix.lower() == ".jsonl":
            answers.to_json(unfinished, orient="records", lines=True, force_ascii=False, double_precision=15)
        else:
            answers.to_parquet(unfinished, engine="pyarrow", index=False)
        unfinished.replace(output)
    except OSError as error:
        raise InputError("--output", f"{output} cannot be written: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _refuse_without_probabilities(opened: Opened, version: Version) -> None:
    if not has_probabilities_of(opened.description):
        raise InputError("--probabilities", f"{version.model} predicts quantities, which have none; leave it out")
    if "output" not in opened.parameters:
        raise InputError(
            "--probabilities",
            f"{version.model} version {version.number} was registered by an earlier Nightune, and answers with labels "
            "only; leave it out, or promote the winner of a new sweep (`nightune tune STUDY --fresh`)",
        )


def _answers(opened: Opened, rows: RowsToPredict, file: Path, has_probabilities: bool) -> "pd.DataFrame":
    import pandas as pd  # noqa: PLC0415 - loaded with the rows

    answers = _named(_predict(opened, rows.rows, file), opened.description)
    if not has_probabilities:
        return answers
    probabilities = _predict(opened, rows.rows, file, output=PROBABILITIES)
    if len(probabilities) > len(answers):  # a row for each position
        probabilities = _by_row(probabilities, len(answers))
    named = probabilities.set_axis([f"probability_{name}" for name in probabilities.columns], axis="columns")
    together: pd.DataFrame = pd.concat([answers, named], axis="columns")
    return together


def _by_row(probabilities: "pd.DataFrame", count: int) -> "pd.DataFrame":
    """Return the probabilities at all positions of a row side by side: `CLASS_POSITION`."""
    import pandas as pd  # noqa: PLC0415 - as above

    places = len(probabilities) // count
    names = [f"{name}_{place}" for place in range(places) for name in probabilities.columns]
    return pd.DataFrame(probabilities.to_numpy().reshape(count, -1), columns=names)


def _predict(opened: Opened, rows: Any, file: Path, **parameters: str) -> Any:
    try:
        return opened.python_model.predict(None, rows, parameters)
    except MemoryError:
        raise
    except Exception as error:  # the version's own error of wrong rows, or what its model raises
        is_of_rows = type(error).__name__ == InputError.__name__
        raise InputError(str(file), str(getattr(error, "message", error)) if is_of_rows else cause_of(error)) from error


def _named(answers: Any, description: dict[str, Any]) -> "pd.DataFrame":
    """Return answers as a table with texts as the names of its columns."""
    import pandas as pd  # noqa: PLC0415

    if isinstance(answers, dict):  # of several heads, one of which has several axes
        each = [_one_head(name, array) for name, array in answers.items()]
        return pd.concat(each, axis="columns")
    if isinstance(answers, pd.DataFrame):
        texts: pd.DataFrame = answers.set_axis([str(name) for name in answers.columns], axis="columns")
        return texts
    if answers.ndim == 1:
        return pd.DataFrame({PREDICTION: answers})
    is_at_positions = description["task"] == POSITIONS  # classes are those of each of them
    answers = answers.reshape(len(answers), -1)  # those of several axes have a column for each position
    named = None if is_at_positions else description.get("quantiles") or description.get("classes")
    names = named or range(answers.shape[1])
    return pd.DataFrame(answers, columns=[f"{PREDICTION}_{name}" for name in names])


def _one_head(name: str, answers: "np.ndarray") -> "pd.DataFrame":
    """Return the answers of one of several heads as columns that begin with its name, one for each position."""
    import pandas as pd  # noqa: PLC0415

    flat = pd.DataFrame(answers.reshape(len(answers), -1))
    return flat.set_axis([name] if answers.ndim == 1 else [f"{name}_{place}" for place in flat], axis="columns")
