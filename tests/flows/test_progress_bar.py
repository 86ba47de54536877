"""The bar of a promotion: its trainings and the judgement, in 80 columns, and none without a terminal."""

import io
import logging
from collections.abc import Iterator

import pytest
from rich.console import Console

from nightune.flows.runtime.progress_bar import SweepProgress
from nightune.tasks.reporting.events import (
    EpochEnded,
    PromotionStarted,
    SweepStarted,
    announce_epoch,
    announce_first_rung,
    announce_promotion,
    announce_round,
    announce_sweep,
    announce_trial,
)
from nightune.tuning.trial import Bracket, Rung, Status, Trial, TrialResult

NAME = "a-study-with-a-long-name-indeed-12"


@pytest.fixture
def shown() -> Iterator[SweepProgress]:
    yield from showing(Console(width=80, force_terminal=True, file=io.StringIO()))


def showing(console: Console) -> Iterator[SweepProgress]:
    logger, progress = logging.getLogger("nightune"), SweepProgress(console)
    level = logger.level
    logger.addHandler(progress)
    logger.setLevel(logging.DEBUG)
    try:
        yield progress
    finally:
        logger.removeHandler(progress)
        logger.setLevel(level)
        progress.close()


def bar(progress: SweepProgress) -> list[str]:
    console = Console(width=80, file=io.StringIO())
    console.print(progress._bar.get_renderable())
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def replicate(number: int) -> TrialResult:
    return TrialResult(Trial(3, {}, 1, "k", replicate=number), Status.COMPLETED, 0.9, 1, 2, 3, 4, 5.0)


def test_a_promotion_counts_its_trainings_and_the_judgement_in_80_columns(shown: SweepProgress) -> None:
    announce_promotion(PromotionStarted(NAME, 5))
    announce_trial(replicate(1), "val_loss")
    announce_epoch(EpochEnded(3, 123, 200))
    (line,) = bar(shown)
    assert "1/5" in line
    assert "epoch 123/200" in line
    announce_trial(replicate(2), "val_loss")
    announce_promotion(PromotionStarted(NAME, 3, is_judging=True))  # one is missing beside the judgement: two more
    (line,) = bar(shown)
    assert "2/5" in line
    assert len(line) <= 80


@pytest.mark.parametrize("sweep_id", ["homes-0", NAME])
def test_done_and_time_left_are_whole_in_80_columns_however_long_the_names_are(
    shown: SweepProgress, sweep_id: str
) -> None:
    announce_sweep(SweepStarted(sweep_id, 120, 0, 120, 0, "val_head_accuracy", "maximize"))
    announce_trial(TrialResult(Trial(7, {}, 1, "k"), Status.COMPLETED, 0.9, 1, 2, 3, 4, 5.0), "val_head_accuracy")
    announce_epoch(EpochEnded(16, 123, 200))
    (line,) = bar(shown)
    assert len(line) <= 80
    assert "1/120" in line
    assert line.rstrip().endswith("left -:--:--")
    assert "best" in line


def test_a_search_that_an_hour_ends_shows_its_time_so_far(shown: SweepProgress) -> None:
    announce_sweep(SweepStarted("a-0", 500, 0, 500, 0, "val_loss", "minimize", ("hours = 8",)))
    (line,) = bar(shown)
    assert "0/?" in line
    assert "0:00:00 so far" in line
    assert "left" not in line


def test_a_round_of_one_trial_is_named_as_one(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "nightune"):
        announce_round(Bracket((Rung(1, 6),), 8), 8)
        announce_round(Bracket((Rung(2, 6),), 8), 1)
    assert [each.getMessage().partition(" ·")[0] for each in caplog.records] == ["trial 8", "trials 8 to 9"]
    assert caplog.records[1].getMessage().endswith("1 trial")


def test_rungs_that_a_round_leaves_out_are_no_longer_to_come(shown: SweepProgress) -> None:
    planned, settled = Bracket((Rung(4, 3), Rung(2, 6)), 4), Bracket((Rung(4, 6),), 4)
    announce_sweep(SweepStarted("a-0", 8, 0, 12, 0, "val_loss", "minimize"))
    announce_first_rung(planned, planned, is_new=True)
    announce_first_rung(planned, settled, is_new=False)  # a resumed sweep has counted without them
    assert "0/12" in bar(shown)[0]
    announce_first_rung(planned, settled, is_new=True)
    assert "0/10" in bar(shown)[0]
    announce_sweep(SweepStarted("a-0", 8, 0, 12, 0, "val_loss", "minimize", ("hours = 8",)))
    announce_first_rung(planned, settled, is_new=True)
    assert "0/?" in bar(shown)[-1]


def test_a_promotion_after_a_search_has_a_bar_of_its_own(shown: SweepProgress) -> None:
    announce_sweep(SweepStarted("a-0", 4, 4, 4, 4, "val_loss", "minimize"))
    announce_trial(replicate(1), "val_loss")  # confirmed in the search: no trial of it
    assert "4/4" in bar(shown)[0]
    announce_promotion(PromotionStarted("a-0", 2))
    (line,) = bar(shown)
    assert "0/2" in line


def test_without_a_terminal_there_is_no_bar() -> None:
    console = Console(width=80, file=io.StringIO())
    for progress in showing(console):
        announce_promotion(PromotionStarted("a-0", 2))
        announce_trial(replicate(1), "val_loss")
        assert not progress._bar.live.is_started
    assert "━" not in console.file.getvalue()  # type: ignore[attr-defined]
    assert "trial 3" in console.file.getvalue()  # type: ignore[attr-defined]
