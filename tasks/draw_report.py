"""Draw the report of a sweep from MLflow alone, and attach it to the sweep's run."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nightune.models.errors import InputError
from nightune.tasks.reporting.night.page import draw_page
from nightune.tasks.reporting.night.record import read_night
from nightune.tasks.reporting.night.tables import summary
from nightune.tasks.tracking.store.store import Store, store_address
from nightune.tasks.tracking.sweeps.find_sweeps import find_sweep
from nightune.tasks.tracking.sweeps.origins import write_page


@dataclass(frozen=True)
class DrawnReport:
    """A report: the file that a browser opens (None: kept by a server only), its page in MLflow, and its numbers."""

    file: Path | None
    address: str
    headline: str
    size: int  # in bytes
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """Return the object that `--json` prints."""
        file = None if self.file is None else str(self.file)
        return {**self.numbers, "file": file, "bytes": self.size, "address": self.address}


def draw_report(store: Store, study: str, study_file: Path, sweep_id: str | None, output: Path | None) -> DrawnReport:
    """Draw the report of a sweep of this id, or of the study's last one; InputError if the output cannot be written.

    The page replaces an earlier one among the artifacts of the sweep's run.
    """
    sweep = find_sweep(store, study, sweep_id)
    night = read_night(store, study, sweep)
    written = night.origin.written
    is_edited = written is not None and written != tomllib.loads(study_file.read_text(encoding="utf-8"))
    page = draw_page(night, str(study_file), store_address(store.root, _named(store)), is_edited)
    if output is not None:
        _write(output, page)
    kept = write_page(store, sweep, page)
    numbers = summary(night)
    return DrawnReport(output or kept, night.link(sweep.run_id), str(numbers["headline"]), len(page.encode()), numbers)


def _named(store: Store) -> str | None:
    """Return the address of a store that is not the database in its folder."""
    return None if store.tracking_uri == store_address(store.root) else store.tracking_uri


def _write(output: Path, page: str) -> None:
    try:
        output.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError("output", f"{output} cannot be written: {error.strerror}") from error
