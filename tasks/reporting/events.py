"""Announce the progress of a sweep: one log line per trial, with an event attached for progress displays.

Lines go to the logger `nightune`. A handler that needs more than the text reads `record.news`.
"""

import logging
from dataclasses import dataclass

from nightune.tuning.trial import UNRANKED, Bracket, Rung, Status, TrialResult
from nightune.vocabulary import counted

logger = logging.getLogger("nightune")


@dataclass(frozen=True, slots=True)
class SweepStarted:
    """A sweep starts or resumes: its numbers of planned and of finished trials.

    A trial that is promoted from rung to rung counts as several trainings.
    """

    sweep_id: str
    trials: int
    finished: int
    trainings: int
    finished_trainings: int
    metric: str
    direction: str
    ends: tuple[str, ...] = ()  # what may end the search before its last trial: hours = 8


@dataclass(frozen=True, slots=True)
class EpochEnded:
    """A trial has trained one more epoch."""

    trial: int
    epoch: int
    epochs: int


@dataclass(frozen=True, slots=True)
class TrialEnded:
    """A trial has ended and is logged."""

    result: TrialResult


@dataclass(frozen=True, slots=True)
class RungsLeftOut:
    """A round leaves out first rungs: so many of the trainings that were planned at the start are not trained."""

    trainings: int


@dataclass(frozen=True, slots=True)
class PromotionStarted:
    """A promotion starts or knows more: its steps to come, which are trainings with fresh seeds and the judgement."""

    sweep_id: str
    steps: int
    is_judging: bool = False  # the winner is known


News = SweepStarted | EpochEnded | TrialEnded | RungsLeftOut | PromotionStarted


def announce_sweep(news: SweepStarted) -> None:
    """Announce that the sweep starts, or where it resumes."""
    resumed = f", {news.finished} of them already finished" if news.finished else ""
    most = "at most " if news.ends else ""
    ends = "".join(f" · {end}" for end in news.ends)
    logger.info("sweep %s · %s%d trials%s%s", news.sweep_id, most, news.trials, resumed, ends, extra={"news": news})


def announce_promotion(news: PromotionStarted) -> None:
    """Announce the steps of a promotion to progress displays, at debug level."""
    logger.debug("promotion of %s · %d steps to come", news.sweep_id, news.steps, extra={"news": news})


def announce_rung(bracket: Bracket, rung: Rung, entrants: int) -> None:
    """Announce the number of trials of a rung, if its bracket has several rungs."""
    if len(bracket.rungs) > 1:
        place = 1 + bracket.rungs.index(rung)
        text = "rung %d of %d · %s to epoch %d"
        logger.info(text, place, len(bracket.rungs), counted(entrants, "trial"), rung.epochs)


def announce_round(bracket: Bracket, results: int) -> None:
    """Announce the trials that a model proposes from the results before."""
    logger.info("%s · proposed from the results of %s", _trials_of(bracket), counted(results, "trial"))


def announce_first_rung(planned: Bracket, bracket: Bracket, is_new: bool) -> None:
    """Announce a round that leaves out first rungs; with the trainings left out if that was not known at the start."""
    before, after = planned.rungs[0].epochs, bracket.rungs[0].epochs
    if after > before:
        verb = "trains" if bracket.trials == 1 else "train"
        text = f"%s · {verb} to epoch %d at first, not %d: ranks there do not predict later ones"
        left_out = sum(rung.trials for rung in planned.rungs) - sum(rung.trials for rung in bracket.rungs)
        extra = {"news": RungsLeftOut(left_out)} if is_new else None
        logger.info(text, _trials_of(bracket), after, before, extra=extra)


def _trials_of(bracket: Bracket) -> str:
    """Return `trials 8 to 23`, or `trial 24`."""
    last = bracket.first + bracket.trials - 1
    return f"trials {bracket.first} to {last}" if bracket.trials > 1 else f"trial {last}"


def announce_epoch(news: EpochEnded) -> None:
    """Announce an epoch to progress displays, at debug level."""
    logger.debug("trial %d · epoch %d/%d", news.trial, news.epoch, news.epochs, extra={"news": news})


def announce_trial(result: TrialResult, metric: str) -> None:
    """Announce the end of a trial in one line."""
    level = logging.WARNING if result.status is Status.FAILED else logging.INFO
    logger.log(level, "%s", trial_line(result, metric), extra={"news": TrialEnded(result)})


def trial_line(result: TrialResult, metric: str) -> str:
    """Return `trial 17 · completed · val_accuracy 0.9130 · epoch 11/18 · 4.2 s`.

    A trial at the end of a rung or a generation may still train on, so its status reads `halted`.
    """
    replicate = [f"replicate {result.trial.replicate}"] if result.trial.replicate else []
    replicate += ["to the end"] if result.trial.is_audit else []
    status = "halted" if result.status is Status.NOT_PROMOTED else str(result.status)
    step = result.trial.step
    parts = [f"trial {result.trial.number}" if step is None else f"ablation step {step}", *replicate, status]
    if result.best_epoch:
        parts += [f"{metric} {result.objective:.4f}", f"epoch {result.best_epoch}/{result.epochs}"]
    parts.append(f"{result.seconds:.1f} s")
    if result.message and result.status in UNRANKED:
        parts.append(result.message)
    return " · ".join(parts)
