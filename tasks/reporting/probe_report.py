"""Report the range tests of a study: log lines, lines for the study file, a chart, and a copy of the study."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightune.models.errors import InputError
from nightune.models.techniques.learning_rates.range_test import RangeTest, RateRange
from nightune.tasks.reporting.night.stills import Still
from nightune.tasks.reporting.probe_chart import probe_figure
from nightune.tuning.errors import Problem, StudyError
from nightune.tuning.study.edit import in_toml, with_parameter

PEAK = "learning_rate.peak"


@dataclass(frozen=True, eq=False)
class RateProbe:
    """One optimizer's test, or the reason for its absence in `message`."""

    optimizer: str
    batch_size: int = 0
    test: RangeTest | None = None
    message: str = ""
    seconds: float = 0.0

    @property
    def range(self) -> RateRange | None:
        """The suggested range to search, or None."""
        return None if self.test is None else self.test.range

    @property
    def line(self) -> str:
        """The log line of the test."""
        if self.test is None or self.test.suggestion is None or self.range is None:
            return f"probe {self.optimizer} · {self.message}"
        searched = f"{self.range.low:g} to {self.range.high:g}"
        steepest = f"steepest at {self.test.suggestion:.2g}"
        return f"probe {self.optimizer} · {steepest} · search {searched} · {self.seconds:.1f} s"


@dataclass(frozen=True, eq=False)
class StudyProbe:
    """The tests of a study and their run in MLflow.

    `parameter` is the value of the learning rate in a study file that searches the suggested ranges, or None if there
    is no suggestion; `note` says what to know about it.
    """

    study: str
    study_file: Path
    probes: tuple[RateProbe, ...]
    parameter: Any = None
    note: str = ""
    run_id: str = ""

    @property
    def ranges(self) -> dict[str, RateRange]:
        """The suggested range of each optimizer that has one."""
        return {probe.optimizer: probe.range for probe in self.probes if probe.range is not None}

    @property
    def snippet(self) -> str:
        """The lines of a study file with the suggestion; empty if there is none."""
        if self.parameter is None:
            return ""
        note = f"# {self.note}\n" if self.note else ""
        return f"[space]\n{note}{PEAK} = {in_toml(self.parameter)}\n"

    def rows(self) -> list[list[str]]:
        """Return table rows: optimizer, batch size, updates, rate of the steepest decrease, range, remark."""
        return [_row(probe) for probe in self.probes]

    @property
    def figure(self) -> Still:
        """The smoothed losses by learning rate, with a mark at each suggestion."""
        tests = [(probe.optimizer, probe.test) for probe in self.probes if probe.test is not None]
        return probe_figure(self.study, tests)

    def as_json(self) -> dict[str, object]:
        """Return the object that `--json` prints."""
        return {
            "study": self.study,
            "run_id": self.run_id,
            "probes": [_as_json(probe) for probe in self.probes],
            "suggestion": self.parameter,
            "note": self.note,
        }


def write_chart(probe: StudyProbe, file: Path) -> None:
    """Write the chart as its suffix says; InputError if it cannot be drawn here, or the file cannot be written."""
    try:
        probe.figure.save(file)
    except InputError as error:
        raise InputError("--plot", error.message) from error
    except OSError as error:
        raise InputError("--plot", f"{file} cannot be written: {error.strerror}") from error


def write_study_copy(probe: StudyProbe, copy: Path, read: Callable[[Path], object]) -> None:
    """Write a copy of the study with the suggested ranges; existing files are never overwritten.

    `read` reads a study file; a copy that it refuses is not kept. StudyError if the parameter has no place in the text.
    """
    if probe.parameter is None:
        return
    problem = "cannot be located in the file; insert the lines above into a copy by hand"
    refused = StudyError(str(probe.study_file), [Problem(PEAK, problem)])
    text = with_parameter(probe.study_file.read_text(encoding="utf-8-sig"), PEAK, probe.parameter)
    if text is None:
        raise refused
    with copy.open("x", encoding="utf-8") as file:
        file.write(text)
    try:
        read(copy)
    except StudyError as error:
        copy.unlink()
        raise refused from error


def _row(probe: RateProbe) -> list[str]:
    if probe.test is None:
        return [probe.optimizer, "–", "–", "–", "–", "–", probe.message]
    counts = [probe.optimizer, str(probe.batch_size), str(len(probe.test.rates))]
    if probe.test.suggestion is None or probe.range is None:
        return [*counts, "–", "–", "–", probe.message]
    return [*counts, f"{probe.test.suggestion:.2g}", f"{probe.range.low:g}", f"{probe.range.high:g}", ""]


def _as_json(probe: RateProbe) -> dict[str, object]:
    test, found = probe.test, probe.range
    lowest = math.nan if test is None or not len(test.losses) else float(test.smoothed.min())
    return {
        "optimizer": probe.optimizer,
        "batch_size": probe.batch_size,
        "updates": 0 if test is None else len(test.rates),
        "suggestion": None if test is None else test.suggestion,
        "range": None if found is None else {"low": found.low, "high": found.high},
        "lowest_smoothed_loss": None if math.isnan(lowest) else lowest,
        "message": probe.message,
    }
