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
from nightune.models.serving.answer_tables import answer_table, with_probabilities
from nightune.models.serving.head_outputs import has_probabilities as has_probabilities_of
from nightune.models.serving.predictor import PROBABILITIES
from nightune.tasks.output_files import refuse_bad_output
from nightune.tasks.tracking.registry.open_version import Opened, find_version, open_version
from nightune.tasks.tracking.registry.registry import Version
from nightune.tasks.tracking.store.store import Store

if TYPE_CHECKING:
    import pandas as pd

FORMATS = (".csv", ".jsonl", ".parquet")


@dataclass(frozen=True, eq=False)
class Predicted:
    """The answers, one row for each row of the file in its order, the version that gave them, and remarks."""

    answers: "pd.DataFrame"
    version: Version
    remarks: tuple[str, ...]


def refuse_bad_answers(output: Path, file: Path) -> None:
    """Refuse, before anything is computed, an output of an unknown format, that cannot be written, or of the rows."""
    refuse_bad_output(output, FORMATS)
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
    answers = answer_table(_predict(opened, rows.rows, file), opened.description)
    if not has_probabilities:
        return answers
    probabilities = _predict(opened, rows.rows, file, output=PROBABILITIES)
    return with_probabilities(answers, list(probabilities.columns), probabilities.to_numpy())


def _predict(opened: Opened, rows: Any, file: Path, **parameters: str) -> Any:
    try:
        return opened.python_model.predict(None, rows, parameters)
    except MemoryError:
        raise
    except Exception as error:  # the version's own error of wrong rows, or what its model raises
        is_of_rows = type(error).__name__ == InputError.__name__
        raise InputError(str(file), str(getattr(error, "message", error)) if is_of_rows else cause_of(error)) from error
