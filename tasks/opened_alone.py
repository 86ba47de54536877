"""Compare a version that is opened in a fresh process with the model of this process, and say what to do about it."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.backend import devices
from nightune.models.data.dataset import Purpose
from nightune.models.serving.head_outputs import has_probabilities, named_probabilities
from nightune.models.serving.input_trees import ArrayTree, in_memory, rows_of
from nightune.models.serving.predictor import DESCRIPTION, Predictor
from nightune.models.serving.rebuilt_model import CARRIED_BYTES, CODE, FOLDER
from nightune.tasks.prepare_data import read_dataset
from nightune.tasks.tracking.registry.fresh_process import Opened, open_in_fresh_process
from nightune.tasks.tracking.registry.model_folder import parts_of
from nightune.tuning.analysis.promotion_gate import Guard
from nightune.tuning.errors import StudyError
from nightune.tuning.study.study import Study

if TYPE_CHECKING:
    import pandas as pd

    from nightune.models.data.dataset import Dataset, UnsealedExamples

ALONE = "opens alone"  # the guard's name
ROWS = 256  # at most
TOLERANCE = 1e-3  # of the largest output, between two processes on one CPU
PROBABILITY_TOLERANCE = 1e-3  # between two calls of a model in one process
ROUGH_TOLERANCE = 5e-2  # where this process computes on an accelerator, or in 16 bits


@dataclass(frozen=True)
class Problem:
    """What is wrong with a version that is opened alone, and a remedy in the author's code; empty without any."""

    said: str
    remedy: str = ""


def opens_alone(study: Study, prepared: "Dataset", folder: Path, test: "UnsealedExamples") -> Guard:
    """Ask the version in a fresh process for rows that are read anew from the source; `test` holds the kept ones.

    Its outputs must be those of the model in this process for the inputs of training. No process is started if these
    are not finite: rows without an answer cannot be compared.
    """
    expected = Predictor.open(parts_of(folder)).outputs(in_memory(rows_of(test.inputs, slice(ROWS))))
    if not np.isfinite(expected).all():
        said = "the version was not opened in a fresh process, since its outputs are not finite"
        return Guard(ALONE, False, said, is_vital=True)
    rows, note = _raw_rows(study, prepared, test)
    problem = problem_alone(folder, rows, expected)
    if problem is None:
        answers = f"answers {len(expected)} raw rows as in training"
        of_classes = ", also with probabilities" if has_probabilities(prepared.description) else ""
        text = f"the version opens in a fresh process and {answers}{of_classes}{note}"
        return Guard(ALONE, True, text, is_vital=True)
    remedy = f"; {problem.remedy}" if problem.remedy else ""
    text = f"the version does not do the same in a fresh process{note}: {problem.said}{remedy}"
    return Guard(ALONE, False, text, is_vital=True)


def _raw_rows(study: Study, prepared: "Dataset", test: "UnsealedExamples") -> tuple[Any, str]:
    """Return raw test rows with a weight as the source holds them now, or the kept ones and a note why."""
    try:
        again = read_dataset(study)
    except StudyError as error:
        return _first(test), f" (rows kept since preparation: {error.problems[0].message})"
    if again.version != prepared.version:
        return _first(test), " (rows kept since preparation: the source has changed)"
    read = again.test.open(Purpose.GATE, record=lambda: None)  # one read, which the caller has recorded
    return _first(read.weighing()), ""


def _first(test: "UnsealedExamples") -> Any:
    return in_memory(rows_of(test.inputs, slice(ROWS))) if test.table is None else test.table.iloc[:ROWS]


def problem_alone(
    folder: Path, rows: "pd.DataFrame | ArrayTree", expected: np.ndarray, left_out: tuple[str, ...] = ()
) -> Problem | None:
    """Open a version's folder in a fresh process; return what is wrong, or None if its outputs are the expected ones.

    `expected` are the outputs (rows, size) of this process for these raw rows. `left_out` names files of the author's
    that are too large to be carried.
    """
    opened = open_in_fresh_process(folder, rows)
    if opened.problem:
        return Problem(opened.problem, remedy_for(opened.problem, left_out))
    if opened.outside:
        file = Path(opened.outside[0])
        return Problem(
            f"its code reads {file}, which a version does not contain",
            f'put the file beside the code, and read it as Path(__file__).with_name("{file.name}")',
        )
    if opened.outputs is None or not _are_close(opened, expected):
        return Problem(
            "it answers otherwise than the model that was trained",
            "values that are drawn or counted in Python belong into weights: self.add_weight(..., trainable=False)"
            if (parts_of(folder) / FOLDER / CODE).is_dir()
            else "",
        )
    return _problem_of_probabilities(opened, parts_of(folder))


def _problem_of_probabilities(opened: Opened, parts: Path) -> Problem | None:
    """Compare the probabilities of the fresh process with those of the outputs that it computed there."""
    description = json.loads((parts / DESCRIPTION).read_text(encoding="utf-8"))
    if not has_probabilities(description) or opened.outputs is None:
        return None
    classes, expected = named_probabilities(opened.outputs, description)
    is_same = (
        list(opened.classes) == classes
        and opened.probabilities is not None
        and opened.probabilities.shape == expected.shape
        and np.allclose(opened.probabilities, expected, rtol=0, atol=PROBABILITY_TOLERANCE)
    )
    return None if is_same else Problem("its probabilities are not those of its outputs")


def _are_close(opened: Opened, expected: np.ndarray) -> bool:
    assert opened.outputs is not None  # as the caller has checked
    if opened.outputs.shape != expected.shape:
        return False
    finite = np.abs(expected[np.isfinite(expected)])
    is_rough = (
        any(not device.lower().startswith("cpu") for device in devices()[1])
        or expected.dtype.itemsize < np.dtype(np.float32).itemsize
    )
    tolerance = (ROUGH_TOLERANCE if is_rough else TOLERANCE) * (finite.max() if finite.size else 1.0)
    return np.allclose(opened.outputs, expected.astype(np.float64), rtol=0, atol=tolerance, equal_nan=True)


def remedy_for(problem: str, left_out: tuple[str, ...] = ()) -> str:
    """Return what to change in the code for an exception that it raised."""
    if match := re.search(r"No module named '([^']+)'", problem):
        module = match[1].rpartition(".")[2]
        return (
            f"put {module}.py beside the code and write `import {module}`, or install it as a package"
            " (modules from sys.path, PYTHONPATH or importlib.import_module are not carried)"
        )
    if re.search("no such file|file ?not ?found|unable to open", problem, re.IGNORECASE):
        if left_out:
            return (
                f"{', '.join(left_out)}: a version carries at most {CARRIED_BYTES / 1e6:.3g} MB of files; read a file "
                "whose values become weights only where it exists: `if FILE.exists(): ...`"
            )
        return (
            'read files beside the code as Path(__file__).with_name("…"), in Python (open, numpy, h5py) '
            "rather than by a library that opens them by itself"
        )
    return ""
