"""A sweep for notebooks: its trials and curves as DataFrames, its best model, its report and figures."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightune.models.errors import InputError
from nightune.tasks.load_study import problems_of
from nightune.tasks.reporting.night.next_steps import advice_of
from nightune.tasks.reporting.night.page import Context, draw_page, draw_stills
from nightune.tasks.reporting.night.read_night import read_night
from nightune.tasks.reporting.night.record import Night
from nightune.tasks.reporting.night.stills import Still
from nightune.tasks.reporting.read_report import read_report
from nightune.tasks.reporting.sweep_report import SweepReport
from nightune.tasks.tracking.registry.model_folder import place_model
from nightune.tasks.tracking.store.store import Store, store_address
from nightune.tasks.tracking.sweeps.find_sweeps import find_sweep
from nightune.tasks.tracking.trials.checkpoints import fetch_checkpoint
from nightune.tasks.tracking.trials.recorded import read_all_curves
from nightune.vocabulary import listing

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class ReportPage:
    """The report of a sweep as one page of HTML, which a notebook shows."""

    html: str

    def save(self, file: str | Path) -> Path:
        """Write the page to a file (.html) and return its path."""
        path = Path(file)
        path.write_text(self.html, encoding="utf-8")
        return path

    def __repr__(self) -> str:
        return f"<report of {len(self.html)} characters>"

    def _repr_html_(self) -> str:
        from html import escape  # noqa: PLC0415 - only where a notebook shows the page

        return f'<iframe srcdoc="{escape(self.html)}" width="100%" height="900" style="border: 0"></iframe>'


@dataclass(frozen=True, repr=False)
class SweepResults:
    """A sweep as MLflow has it at the time of reading: complete, failed or unfinished."""

    store: Store
    found: SweepReport
    study_file: Path

    @property
    def id(self) -> str:
        """The ID of the sweep, such as "digits-1"."""
        return self.found.sweep.id

    @property
    def metric(self) -> str:
        """The metric that ranks the trials, a column of `dataframe()`."""
        return self.found.sweep.metric

    @property
    def best(self) -> dict[str, Any]:
        """The winner as a row of `dataframe()`, with all its params: confirmed, or else the best of the search.

        InputError if no trial has a finite objective.
        """
        winner = self._winner
        row = next(row for row in self.found.rows() if row["run_id"] == winner.run_id)
        return {**row, **winner.trial.params}

    def dataframe(self) -> "pd.DataFrame":
        """Return the leaderboard, best first: a row for each finished trial, with the params that differ."""
        import pandas as pd  # noqa: PLC0415 - half a second

        return pd.DataFrame(self.found.rows())

    def curves(self, trials: Sequence[int] | None = None) -> "pd.DataFrame":
        """Return the metrics of each epoch, a row for each trial and epoch from 1; of all trials, or of these numbers.

        NaN where a metric is not finite, or not recorded in the epoch. InputError for a number that no finished trial
        has.
        """
        import pandas as pd  # noqa: PLC0415 - half a second

        numbers = {each.trial.number: each for each in sorted(self.found.results, key=lambda each: each.trial.number)}
        unknown = [number for number in trials or () if number not in numbers]
        if unknown:
            raise InputError("trials", f"no finished trial {unknown[0]} ({listing(map(str, numbers), 'finished')})")
        chosen = [numbers[number] for number in (numbers if trials is None else trials)]
        rows = [
            {"trial": each.trial.number, "epoch": epoch, **values}
            for each in chosen
            for epoch, values in read_all_curves(self.store, each.run_id).items()
        ]
        return pd.DataFrame(rows, columns=None if rows else ["trial", "epoch"])

    def best_model(self) -> Any:
        """Return the winner's Keras model with the weights of its best epoch.

        It takes inputs as training prepared them; a promoted version takes raw rows. A model with own code is rebuilt
        by the copy of that code, which runs it. InputError for a sweep with folds, where promotion trains the model.
        """
        from nightune.models.backend import load_keras  # noqa: PLC0415 - Keras
        from nightune.models.serving.predictor import open_model  # noqa: PLC0415

        if self.found.sweep.has_folds:
            raise InputError("sweep", f"{self.id}: each fold has a model; `nightune promote` trains one on all rows")
        load_keras()
        with tempfile.TemporaryDirectory() as folder:
            parts = Path(folder, "parts")
            parts.mkdir()
            return open_model(place_model(fetch_checkpoint(self.store, self._winner.run_id, Path(folder)), parts))

    def report(self) -> ReportPage:
        """Return the report of the sweep; nothing is written to the store."""
        advice = advice_of(self._night, lambda text: problems_of(text, self.study_file))
        context = Context(str(self.study_file), store_address(self.store.root), advice=advice, kept=self.store.compiled)
        return ReportPage(draw_page(self._night, context))

    def figures(self) -> dict[str, Still]:
        """Return the figures of the report by name: a notebook shows each, and Altair takes its `spec`."""
        return draw_stills(self._night)

    @property
    def _winner(self) -> Any:
        if self.found.winner is None:
            raise InputError("sweep", f"{self.id}: no trial has a finite {self.metric}")
        return self.found.winner

    @cached_property
    def _night(self) -> Night:
        return read_night(self.store, self.found.study, self.found.sweep)

    def __repr__(self) -> str:
        sweep = self.found.sweep
        return f"<sweep {self.id}: {len(self.found.results)} of {sweep.planned_trials} trials, {sweep.status}>"

    def _repr_html_(self) -> str:
        table: str = self.dataframe().to_html(index=False, max_rows=20, notebook=True)
        return f"<p>{repr(self)[1:-1]}</p>{table}"


def read_sweep(store: Store, study: str, sweep_id: str | None = None, study_file: Path | None = None) -> SweepResults:
    """Read a sweep of a study, the last one without an ID; SweepNotFoundError lists the existing ones.

    `study_file` stands in the commands of the report; without it, the study's name does.
    """
    found = read_report(store, study, find_sweep(store, study, sweep_id))
    return SweepResults(store, found, study_file or Path(f"{study}.toml"))
