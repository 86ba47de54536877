"""The option of `nightune show` that writes a trial as a study: `--write`."""

from pathlib import Path
from typing import TYPE_CHECKING

from nightune.flows.runtime.console import say
from nightune.models.errors import InputError
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.write_repeat import KEY, write_repeat

if TYPE_CHECKING:
    from nightune.tasks.reporting.sweep_report import SweepReport
    from nightune.tuning.trial import TrialResult


def write_trial(
    store: Store, report: "SweepReport", chosen: "TrialResult | None", study_file: Path, copy: Path
) -> None:
    """Write the study of a trial, by default of the sweep's winner, and say so; InputError if it has none."""
    result = chosen or report.winner
    if result is None:
        raise InputError(KEY, f"{report.sweep.id} has no winner; name a trial with --trial")
    write_repeat(store, report.sweep, result.trial, study_file, copy)
    say(f"{copy} trains trial {result.trial.number} of {report.sweep.id} again, with new seeds.")
