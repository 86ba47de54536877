"""Parts of sentences: what a trial tried, values, counts, intervals."""

import math
import re
import shlex
from dataclasses import dataclass

from nightune.tasks.reporting.night.measure import duration
from nightune.tasks.reporting.night.record import Night
from nightune.tuning.analysis.confirmation import ConfirmedFinalist
from nightune.tuning.analysis.paired_gain import Gain
from nightune.tuning.analysis.value_text import value_text
from nightune.tuning.search.population import values_of
from nightune.tuning.trial import Status, TrialResult, Value
from nightune.vocabulary import CHANGES

SHORT_CHARACTERS = 60
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")


def recipe(night: Night, result: TrialResult, most: int) -> str:
    """Return what a trial tried, the most important params first; of values that changed, the first and the last.

    The table of changes of a trial that continues another one is left out: the values say it.
    """
    params, last = result.trial.params, values_of(result.trial.params)
    hidden = {CHANGES} if result.trial.parent is not None else set[str]()
    there = [name for name in night.varying if name in params and name not in hidden]
    return ", ".join(f"{name} {_value_text(params[name], last.get(name))}" for name in there[:most])


def _value_text(first: Value, last: Value) -> str:
    text = value_text(first, SHORT_CHARACTERS)
    return text if last in (None, first) else f"{text} → {value_text(last, SHORT_CHARACTERS)}"


def status_text(night: Night, status: str) -> str:
    """Return how a trial ended, in words."""
    if status != Status.NOT_PROMOTED:
        return status.replace("_", " ")
    return "replaced" if night.sweep.is_population else "dropped at a rung"


def interval(night: Night, each: ConfirmedFinalist) -> str:
    """Return `97.3 % to 99.1 %`, or a dash without an interval."""
    if math.isnan(each.low):
        return "–"
    low, high = night.measure.within_limits(each.low, each.high)
    return f"{night.measure.text(low)} to {night.measure.text(high)}"


def rows_text(gain: Gain) -> str:
    """Return `114 sealed rows`, and that they are weighted where they are."""
    return f"{gain.rows} {'weighted ' * gain.is_weighted}sealed rows"


def machine_time(night: Night) -> str:
    """Return the time of all trainings, of trials, replicates and ablations."""
    seconds = [each.result.seconds for each in (*night.trials, *night.replicates, *night.ablation)]
    return duration(sum(each for each in seconds if math.isfinite(each)))  # changed by hand


def promote_command(night: Night, study_file: str) -> str:
    """Return the command that confirms and judges the winner of this sweep."""
    return shlex.join(["nightune", "promote", study_file, "--sweep", night.sweep.id])


def tune_command(night: Night, study_file: str) -> str:
    """Return the command that trains this sweep's study as it was trained, options included."""
    return shlex.join(["nightune", "tune", study_file, *night.origin.overrides])


def write_command(night: Night, study_file: str) -> str:
    """Return the command that writes the study with the changes of the next steps."""
    return shlex.join(["nightune", "report", study_file, "--sweep", night.sweep.id, "--write", "NEXT.toml"])


def command_parts(sentence: str) -> list[str]:
    """Split a sentence at its commands, which stand between backticks: every second part is one."""
    return re.split("`([^`]+)`", sentence)


@dataclass(frozen=True)
class Part:
    """A part of a sentence: a command, or text, with the link to the run of the trial that it names."""

    text: str
    is_code: bool = False
    link: str = ""


def sentence_parts(night: Night, sentence: str) -> list[Part]:
    """Split a sentence at its commands and trials; each trial has a link to its run, where its numbers are."""
    runs = {str(each.result.trial.number): each.result.run_id for each in night.trials}
    parts: list[Part] = []
    for place, part in enumerate(command_parts(sentence)):
        if place % 2:
            parts.append(Part(part, is_code=True))
            continue
        for text in re.split(r"(\b[Tt]rial\s\d+)", part):
            run_id = runs.get(text[len("trial ") :]) if text.lower().startswith("trial") else None
            parts.append(Part(text, link="" if run_id is None else night.link(run_id)))
    return parts


def ordinal(number: int) -> str:
    """Return `the third` or `the 22nd`."""
    if number <= len(ORDINALS):
        return f"the {ORDINALS[number - 1]}"
    end = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number % 100 not in (11, 12, 13) else 0, "th")
    return f"the {number}{end}"
