"""The promotion gate: the conditions for a confirmed winner to become champion, and the verdict with its numbers."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum

from nightune.tuning.analysis.metric_values import MetricValues, values_text
from nightune.tuning.analysis.paired_gain import Gain


class Decision(StrEnum):
    """The outcome for a confirmed winner."""

    PROMOTED = "promoted"
    REFUSED = "refused"
    FORCED = "forced"  # promoted against the gate, for a reason given by a person


@dataclass(frozen=True, slots=True)
class Guard:
    """A condition in addition to the comparison. Force does not override a vital one: such a model cannot serve."""

    name: str
    passed: bool
    said: str
    is_vital: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """The subject of a verdict: the registered model's name, and the confirmed winner of a sweep."""

    model: str
    sweep: str
    data_version: str
    trial: int
    key: str
    run_id: str  # of the replicate whose weights would serve
    search_score: float
    confirmed_score: float | None  # None where nothing was confirmed
    siblings: tuple[str, ...] = ()  # runs of all models of the same configuration, for later comparisons


@dataclass(frozen=True, slots=True)
class Verdict:
    """The gate's verdict. `gain` is None without a comparable champion; `against` is the champion's version.

    `values` are None where the models could not be measured, and in verdicts of versions that did not record them.
    `advice` says what to do after a refusal.
    """

    candidate: Candidate
    decision: Decision
    reason: str
    measure: str
    minimum_gain: float
    against: int | None
    gain: Gain | None
    baseline: Gain | None
    guards: tuple[Guard, ...]
    is_close: bool
    because: str = ""
    test_reads: int = 0  # of the test split of this data version, this one included
    test_metrics: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    values: MetricValues | None = None
    advice: tuple[str, ...] = ()

    @property
    def is_promoted(self) -> bool:
        """True if the candidate is to be champion."""
        return self.decision is not Decision.REFUSED

    @property
    def may_be_forced(self) -> bool:
        """True unless a vital guard failed."""
        return all(guard.passed for guard in self.guards if guard.is_vital)

    def forced(self, because: str) -> "Verdict":
        """Return the verdict promoted for a person's reason; ValueError without one, or if a vital guard failed."""
        if not because.strip():
            raise ValueError("a forced promotion needs a reason")
        if not self.may_be_forced:
            raise ValueError(f"cannot be forced: {self.reason}")
        if self.is_promoted:
            return self
        return replace(self, decision=Decision.FORCED, because=because.strip(), is_close=False, advice=())

    def as_json(self) -> str:
        """Return the verdict as JSON text."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Rules:
    """The study's conditions, in the unit of its metric; without its name, gains are printed without a unit."""

    minimum_gain: float
    challenger_margin: float
    metric: str = ""


def decide(
    gain: Gain | None, baseline: Gain | None, guards: Sequence[Guard], rules: Rules, has_champion: bool
) -> tuple[Decision, str, bool]:
    """Return the decision, its reason in words, and whether a refused candidate is close enough to be challenger.

    The low end of the gain's interval must be above the minimum gain, and above zero against the baseline; every guard
    must hold. A candidate is close if all guards hold and the gain misses the minimum by less than the margin.
    """
    failed = [guard for guard in guards if not guard.passed]
    if baseline is None or failed:
        reason = "; ".join(guard.said for guard in failed) or "the model could not be measured"
        return Decision.REFUSED, reason, False
    if not baseline.is_above(0.0):
        return Decision.REFUSED, f"{_not_better('baseline', 0.0)}: {gain_text(baseline, rules.metric)}", False
    if not has_champion:
        said = f"first model, significantly better than the baseline: {gain_text(baseline, rules.metric)}"
        return Decision.PROMOTED, said, False
    if gain is None:
        return Decision.REFUSED, "the champion could not be compared", False
    if gain.is_above(rules.minimum_gain):
        return Decision.PROMOTED, f"significantly better than the champion: {gain_text(gain, rules.metric)}", False
    is_close = gain.gain > rules.minimum_gain - rules.challenger_margin
    said = f"{_not_better('champion', rules.minimum_gain)}: {gain_text(gain, rules.metric)}"
    return Decision.REFUSED, said, is_close


def _not_better(opponent: str, minimum: float) -> str:
    return f"not significantly better than the {opponent} (the interval must lie above {minimum:g})"


def gain_text(gain: Gain, metric: str = "") -> str:
    """Return `gain +0.0123 val_auc [0.0040, 0.0210] at 95 % over 360 rows`."""
    interval = f"[{gain.low:.4g}, {gain.high:.4g}] at {100 * gain.confidence:g} %"
    seen = f"{gain.gain:+.4g} {metric}" if metric else f"{gain.gain:.4g}"
    groups = "" if gain.groups is None else f" in {gain.groups} groups"
    return f"gain {seen} {interval} over {gain.rows} {'weighted ' * gain.is_weighted}rows{groups}"


def as_markdown(verdict: Verdict) -> str:
    """Return the verdict as a page: a paragraph, and the comparison and the guards as tables."""
    candidate = verdict.candidate
    opponent = "no champion yet" if verdict.against is None else f"champion version {verdict.against}"
    lines = [
        f"# {candidate.model}: {verdict.decision}",
        "",
        f"Trial {candidate.trial} of {candidate.sweep}, against {opponent}. {verdict.reason}.",
        *([f"Forced because: {verdict.because}."] if verdict.because else []),
        "",
        f"On the test split: {values_text(verdict.values)}.",
        "",
        "| loss of | opponent | challenger | gain | interval | models | rows |",
        "|---|---|---|---|---|---|---|",
    ]
    pairs = [("champion", verdict.gain), ("baseline", verdict.baseline)]
    lines += [_gain_row(name, gain) for name, gain in pairs if gain is not None]
    lines += ["", f"Loss: {verdict.measure}, on the test split (its read number {verdict.test_reads})."]
    lines += [f"The interval of the gain must lie above {verdict.minimum_gain:g}."]
    lines += ["", "| guard | holds | |", "|---|---|---|"]
    lines += [f"| {guard.name} | {'yes' if guard.passed else 'no'} | {guard.said} |" for guard in verdict.guards]
    if verdict.test_metrics:
        lines += ["", "| metric on the test split | |", "|---|---|"]
        lines += [f"| {name} | {_defined(value)} |" for name, value in verdict.test_metrics.items()]
    lines += ["", *(f"- {note}" for note in verdict.notes)] if verdict.notes else []
    lines += ["", "What to do next:", "", *(f"- {step}" for step in verdict.advice)] if verdict.advice else []
    return "\n".join(lines) + "\n"


def _defined(value: float) -> str:
    return "not defined" if math.isnan(value) else f"{value:.4g}"


def _gain_row(name: str, gain: Gain) -> str:
    interval = f"[{gain.low:.4g}, {gain.high:.4g}] at {100 * gain.confidence:g} %"
    losses = f"{gain.opponent_loss:.4g} | {gain.challenger_loss:.4g} | {gain.gain:.4g}"
    return f"| {name} | {losses} | {interval} | {gain.challenger_models} to {gain.opponent_models} | {gain.rows} |"
