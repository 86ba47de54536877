"""What to do next, in the report: the steps of the rules with the lines of the study that they change."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

from nightune.models.recipe.params import KEYS
from nightune.models.techniques.batch_sizes.keys import BOUNDED_BY_DATA
from nightune.tasks.reporting.night.record import Night
from nightune.tuning.analysis.next_steps.rules import next_steps
from nightune.tuning.analysis.next_steps.steps import Change, Step, SweepFacts, place_of
from nightune.tuning.errors import Problem
from nightune.tuning.study.edit import ChangedLine, changed_line, with_value

NO_EFFECT = "has no effect"  # begins the message about a key whose condition no longer holds
REPAIRS = 3

Problems = Callable[[str], Sequence[Problem]]  # of the text of a study


@dataclass(frozen=True)
class Advice:
    """A step, and the lines of the study file that it changes; none if it changes no key."""

    step: Step
    lines: tuple[ChangedLine, ...] = ()

    def as_json(self) -> dict[str, object]:
        """Return the object that `--json` prints."""
        return {
            "title": self.step.title,
            "evidence": self.step.evidence,
            "changes": [asdict(line) for line in self.lines],
        }


def advice_of(night: Night, problems_of: Problems) -> list[Advice]:
    """Return the steps that pay most, each with changes that a study file can have.

    `problems_of` returns the problems of a study's text. Keys that a change leaves without effect are removed by it; a
    step whose changes the study cannot have is left out.
    """
    text, found = night.origin.text, []
    for step in _steps(night):
        changes = complete_changes(text, step.changes, problems_of)
        if changes is not None:
            lines = tuple(changed_line(text, change.path, change.value) for change in changes)
            found.append(Advice(replace(step, changes=changes), lines))
    return found


def complete_changes(text: str, changes: Sequence[Change], problems_of: Problems) -> tuple[Change, ...] | None:
    """Return changes with which the text is a valid study: these, and the removal of keys without effect; else None."""
    if not changes:
        return ()
    known = tuple(changes)
    for _ in range(REPAIRS):
        edited = with_changes(text, known)
        problems = [] if edited is None else problems_of(edited)
        if edited is None or not all(each.message.startswith(NO_EFFECT) for each in problems):
            return None
        if not problems:
            return known
        known += tuple(Change(place_of(each.key), None) for each in problems)
    return None


def with_changes(text: str, changes: Sequence[Change]) -> str | None:
    """Return the text of a study with all changes; None if one has no place in it."""
    edited: str | None = text
    for change in changes:
        edited = None if edited is None else with_value(edited, change.path, change.value)
    return edited


def _steps(night: Night) -> list[Step]:
    if night.space is None or not night.origin.text or night.origin.written is None or not night.ranked:
        return []
    search = night.origin.content.get("search", {})
    return next_steps(
        SweepFacts(
            space=night.space,
            tables=night.origin.written,
            results=[each.result for each in night.trials if each.result.trial.number not in night.inherited],
            direction=night.sweep.direction,
            epochs=int(search.get("epochs") or max(each.epochs for each in night.ranked)),
            text=night.measure.text,
            points=night.measure.points,
            effects=night.effects,
            winner=night.winner,
            confirmation=night.confirmation,
            verdict=night.verdict,
            has_rungs=any(len(each.rungs) > 1 for each in night.brackets),
            at_rung=night.compared,
            compared_epochs=night.compared_epochs,
            limits=_limits(night),
        )
    )


def _limits(night: Night) -> dict[str, tuple[float | None, float | None]]:
    """Return the ends that each key may have at all; batches have at most the training rows."""
    limits = {
        name: (None if key.is_open_low else key.low, None if key.is_open_high else key.high)
        for name, key in KEYS.items()
    }
    rows = night.row_counts.get("train")
    return limits | {name: (1, rows) for name in BOUNDED_BY_DATA if rows is not None}
