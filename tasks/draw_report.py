"""Draw the report of a sweep from MLflow alone, and attach it to the sweep's run."""

import logging
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from nightune.models.errors import InputError
from nightune.tasks.load_study import problems_of
from nightune.tasks.reporting.night.answer import headline
from nightune.tasks.reporting.night.card import card
from nightune.tasks.reporting.night.data_part import data_numbers
from nightune.tasks.reporting.night.drawn_beside import Png, drawn_beside
from nightune.tasks.reporting.night.ledger_part import ledger_numbers
from nightune.tasks.reporting.night.next_steps import Advice, advice_of
from nightune.tasks.reporting.night.page import Context, draw_page, draw_stills
from nightune.tasks.reporting.night.read_night import read_night
from nightune.tasks.reporting.night.record import Night
from nightune.tasks.reporting.night.stills import Still
from nightune.tasks.reporting.night.stopping_part import stopping_numbers
from nightune.tasks.reporting.night.tables import summary
from nightune.tasks.tracking.store.retry import reading_once
from nightune.tasks.tracking.store.store import Store, store_address
from nightune.tasks.tracking.sweeps.descriptions import ShortReport, write_description
from nightune.tasks.tracking.sweeps.find_sweeps import find_sweep
from nightune.tasks.tracking.sweeps.origins import write_page

logger = logging.getLogger("nightune")

NOTHING = "nothing stands out by more than chance"
DESCRIBED = ("history", "importance")  # the figures whose stills stand in the description of the sweep's run


@dataclass(frozen=True)
class DrawnReport:
    """A report: the file that a browser opens (None: kept by a server only), its page in MLflow, and its numbers."""

    file: Path | None
    address: str
    headline: str
    size: int  # in bytes
    advice: tuple[Advice, ...] = ()
    written: tuple[Advice, ...] = ()  # the steps whose changes the next study has
    numbers: Mapping[str, Any] = field(default_factory=dict)
    card: str = ""  # the report in short, in Markdown

    def as_json(self) -> dict[str, object]:
        """Return the object that `--json` prints."""
        file = None if self.file is None else str(self.file)
        steps = [each.as_json() for each in self.advice]
        done = [each.step.title for each in self.written]
        return {**self.numbers, "next_steps": steps, "written": done, "file": file, "bytes": self.size} | {
            "address": self.address
        }


@dataclass(frozen=True, slots=True)
class Asked:
    """Which sweep to report, None for the last one, and the files to write beside the artifact of its run.

    `before_building` is called before the models of the next study are built, which takes seconds.
    """

    sweep_id: str | None = None
    output: Path | None = None
    next_study: Path | None = None
    before_building: Callable[[], None] | None = None


@reading_once()
def draw_report(store: Store, study: str, study_file: Path, asked: Asked) -> DrawnReport:
    """Draw the report of a sweep; InputError or StudyError if a file cannot be written.

    The page replaces an earlier one among the artifacts of the sweep's run.
    """
    with drawn_beside() as begin:
        sweep, output = find_sweep(store, study, asked.sweep_id), asked.output
        night = read_night(store, study, sweep)
        written = night.origin.written
        is_edited = written is not None and written != tomllib.loads(study_file.read_text(encoding="utf-8-sig"))
        advice = advice_of(night, partial(problems_of, study_file=study_file))
        address = store_address(store.root, _named(store))
        finish = _stills(night, begin)
        page = draw_page(night, Context(str(study_file), address, is_edited, advice, kept=store.compiled))
        taken = _write_next(study_file, asked, advice, written or {})
        if output is not None:
            _write(output, page)
        kept, short = write_page(store, sweep, page), card(night, str(study_file), advice)
        stills = finish()
    first = advice[0].step.title if advice else NOTHING
    write_description(store, sweep, night.origin.question, ShortReport(short, headline(night), first, stills))
    numbers = summary(night) | {"ledger": ledger_numbers(night), "drift": data_numbers(night)}
    numbers["stopping"] = stopping_numbers(night)
    return DrawnReport(
        file=output or kept,
        address=night.link(sweep.run_id),
        headline=str(numbers["headline"]),
        size=len(page.encode()),
        advice=tuple(advice),
        written=tuple(taken),
        numbers=numbers,
        card=short,
    )


def _stills(night: Night, begin: Callable[[Still], Png]) -> Callable[[], dict[str, bytes]]:
    """Begin to draw the pictures of the description; return a function that waits for them.

    It returns none, with a warning, if one cannot be drawn: the page needs none.
    """
    begun = {name: begin(each) for name, each in draw_stills(night).items() if name in DESCRIBED}

    def finish() -> dict[str, bytes]:
        try:
            return {name: png() for name, png in begun.items()}
        except ValueError as error:
            logger.warning("report · no pictures in MLflow's description: %s", str(error).partition("\n")[0])
            return {}

    return finish


def _write_next(study_file: Path, asked: Asked, advice: list[Advice], tables: Any) -> list[Advice]:
    """Write the next study, if it is asked for; return the steps that it has."""
    if asked.next_study is None:
        return []
    # It imports what a study is checked with; most reports write no study.
    from nightune.tasks.write_next_study import write_next_study  # noqa: PLC0415

    return write_next_study(study_file, asked.next_study, advice, tables, asked.before_building)


def _named(store: Store) -> str | None:
    """Return the address of a store that is not the database in its folder."""
    return None if store.tracking_uri == store_address(store.root) else store.tracking_uri


def _write(output: Path, page: str) -> None:
    try:
        output.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError("--output", f"{output} cannot be written: {error.strerror}") from error
