"""Show a running sweep: one line per trial, and a bar with finished trials, the best score and the time left.

A promotion has a bar of its own, with the trainings that are left. Both fit into 80 columns.
"""

import logging
import math
from contextlib import suppress
from datetime import timedelta

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from nightune.tasks.reporting.events import EpochEnded, PromotionStarted, RungsLeftOut, SweepStarted, TrialEnded
from nightune.tuning.analysis.failures import failure_signature
from nightune.tuning.trial import Status, TrialResult

WIDE = 110  # columns of a terminal, from which the bar is long
NAME = 30  # columns of a sweep's name


class _Shortened(TextColumn):
    """A text that gives way where the terminal is narrow: numbers of trials and of time stay whole."""

    def render(self, task: Task) -> Text:
        """Return the text of a task in one line."""
        text = super().render(task)
        text.no_wrap, text.overflow = True, "ellipsis"
        return text


class _TimeLeft(TimeRemainingColumn):
    """The time left, or the time so far of a search whose number of trials is not known before its end."""

    def render(self, task: Task) -> Text:
        """Return the text of a task."""
        if task.total is None:
            return Text(f"{timedelta(seconds=int(task.elapsed or 0))} so far", style="progress.elapsed")
        return Text.assemble("left ", super().render(task))


def _whole() -> Column:
    return Column(no_wrap=True)


class SweepProgress(logging.Handler):
    """Draws the events of the logger `nightune` on a console; without a terminal it prints only lines."""

    def __init__(self, console: Console) -> None:
        super().__init__(level=logging.DEBUG)
        self._console = console
        is_wide = console.width >= WIDE
        self._bar = Progress(
            _Shortened("{task.description}", table_column=Column(max_width=NAME)),
            BarColumn(bar_width=24 if is_wide else 10),
            MofNCompleteColumn(table_column=_whole()),
            _Shortened("{task.fields[best]}", table_column=Column()),
            _Shortened("{task.fields[epoch]}", table_column=Column()),
            *([TimeElapsedColumn(table_column=_whole())] if is_wide else []),
            _TimeLeft(table_column=_whole()),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._best: TrialResult | None = None
        self._started: SweepStarted | None = None
        self._failed: dict[str, int] = {}  # failure signature → number of the first trial with it
        self._is_closed = self._is_promotion = False

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record's line and move the bar; nothing any more once the terminal or the pipe is closed."""
        if self._is_closed:
            return
        try:
            self._show(record)
        except OSError:  # a sweep must not end with its terminal
            self._is_closed = True

    def _show(self, record: logging.LogRecord) -> None:
        news = getattr(record, "news", None)
        if record.levelno >= logging.INFO:
            style = "yellow" if record.levelno >= logging.WARNING else ""
            text = self._short_failure(news) or record.getMessage()
            self._console.print(Text(text, style=style), soft_wrap=True)
        if isinstance(news, SweepStarted):
            self._start(news)
        elif isinstance(news, PromotionStarted):
            self._promote(news)
        elif isinstance(news, RungsLeftOut) and self._task is not None:
            planned = self._bar.tasks[self._bar.task_ids.index(self._task)].total
            self._bar.update(self._task, total=None if planned is None else planned - news.trainings)
        elif isinstance(news, EpochEnded) and self._task is not None:
            self._bar.update(self._task, epoch=f"trial {news.trial} epoch {news.epoch}/{news.epochs}")
        elif isinstance(news, TrialEnded) and self._task is not None:
            if self._is_promotion:
                self._bar.update(self._task, advance=1, epoch="")
            elif news.result.trial.is_searched:
                self._advance(news.result)

    def close(self) -> None:
        """Remove the bar."""
        with suppress(OSError):
            self._bar.stop()
        super().close()

    def _short_failure(self, news: object) -> str:
        """Return a line without the cause for a trial that failed like an earlier one; empty for all others."""
        if not isinstance(news, TrialEnded) or news.result.status is not Status.FAILED:
            return ""
        number = news.result.trial.number
        first = self._failed.setdefault(failure_signature(news.result.message), number)
        return "" if first == number else f"trial {number} · failed like trial {first}"

    def _start(self, news: SweepStarted) -> None:
        self._started, self._is_promotion = news, False
        total = None if news.ends else news.trainings
        self._task = self._bar.add_task(
            news.sweep_id, total=total, completed=news.finished_trainings, best="", epoch=""
        )
        self._bar.start()

    def _promote(self, news: PromotionStarted) -> None:
        """Begin the bar of a promotion, or give it the steps that are left."""
        name = f"{news.sweep_id} {'judging' if news.is_judging else 'confirming'}"
        if self._is_promotion and self._task is not None and news.is_judging:
            done = self._bar.tasks[self._bar.task_ids.index(self._task)].completed
            self._bar.update(self._task, description=name, total=done + news.steps, epoch="")
            return
        if self._task is not None:  # that of the search, in a night
            self._bar.remove_task(self._task)
        self._task, self._is_promotion = self._bar.add_task(name, total=news.steps, best="", epoch=""), True
        self._bar.start()

    def _advance(self, result: TrialResult) -> None:
        assert self._task is not None
        assert self._started is not None
        if result.is_ranked and self._is_better(result.objective):
            self._best = result
        best = "" if self._best is None else f"best {self._started.metric} {self._best.objective:.4f}"
        self._bar.update(self._task, advance=1, best=best, epoch="")

    def _is_better(self, objective: float) -> bool:
        assert self._started is not None
        best = math.nan if self._best is None else self._best.objective
        if math.isnan(best):
            return True
        return objective > best if self._started.direction == "maximize" else objective < best
