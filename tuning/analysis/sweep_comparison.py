"""Compare two sweeps of a study: their scores, settings and top trials."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nightune.tuning.analysis.changes import Change
from nightune.tuning.analysis.confirmation import Confirmation
from nightune.tuning.analysis.importance import TOP_SHARE
from nightune.tuning.analysis.leaderboard import leaderboard, varying_params
from nightune.tuning.analysis.metric_values import MetricValues, search_unit
from nightune.tuning.trial import TrialResult, Value
from nightune.vocabulary import DEFAULT_LOSS, LOSS_SAID

RANGE_PARTS = 4  # of the span between the smallest and the largest value of both sweeps
METRIC_CODE = "metric code"  # the name of this fact: the digest of a user's metric


@dataclass(frozen=True, slots=True)
class ComparedSweep:
    """One sweep: its provenance, its results, and the verdict of the gate (empty without one)."""

    sweep: str
    metric: str
    direction: str
    facts: Mapping[str, str]  # data version, engine, commit, Keras and so on
    content: Mapping[str, Any]  # of the study at the time
    results: Sequence[TrialResult]
    confirmation: Confirmation | None = None
    verdict: str = ""
    values: MetricValues | None = None  # of the gate on the test split; None without a verdict that has them
    models: Sequence[str] = ()  # findings on its models

    @property
    def scored(self) -> object:
        """What its scores are of."""
        version, code = self.facts.get("data version", ""), self.facts.get(METRIC_CODE, "")
        return what_is_scored(self.metric, version, self.results, self.models, code)


@dataclass(frozen=True, slots=True)
class Score:
    """A sweep's best score: of the search, and with its interval if finalists were confirmed."""

    sweep: str
    searched: float | None
    confirmed: float | None
    low: float | None
    high: float | None
    trials: int
    verdict: str
    values: MetricValues | None = None
    trial: int | None = None  # the confirmed winner, or the best of the search
    metric: str = ""
    unit: str = ""  # of a scaled target, in words


@dataclass(frozen=True, slots=True)
class Share:
    """The share of each sweep's top quarter of ranked trials with one option, or in one part of a range."""

    dimension: str
    value: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Difference:
    """The comparison of two sweeps. Scores are not comparable if the metric, its loss or the data differs."""

    metric: str
    is_comparable: bool
    scores: tuple[Score, Score]
    changes: tuple[Change, ...]
    best_params: tuple[Change, ...]
    shares: tuple[Share, ...]

    def as_json(self) -> dict[str, Any]:
        """Return all fields as plain values."""
        return asdict(self)


def what_is_scored(
    metric: str, data_version: str, results: Sequence[TrialResult], models: Sequence[str], metric_code: str = ""
) -> object:
    """Return what the scores of a sweep are of: equal for sweeps whose scores can be compared.

    `val_loss` is of a loss: that of the study, or one that models were compiled with, as the findings on `models` say.
    `metric_code` identifies the code of a metric of the user.
    """
    if metric != "val_loss":
        return metric, data_version, metric_code
    params = [each.trial.params for each in results]
    stated = {repr((each.get("training.loss"), each.get("training.quantiles"))) for each in params}
    settled = {line.partition(LOSS_SAID)[2] for line in models if LOSS_SAID in line and DEFAULT_LOSS not in line}
    return metric, data_version, frozenset(stated | settled)


def compare_nights(before: ComparedSweep, after: ComparedSweep) -> Difference:
    """Compare two sweeps, the earlier one first."""
    facts = _changes(before.facts, after.facts)
    content = _changes(_flat(before.content), _flat(after.content))
    searched = varying_params([*before.results, *after.results])
    winners = [_only(searched, _winner_params(night)) for night in (before, after)]
    return Difference(
        metric=after.metric,
        is_comparable=before.scored == after.scored,
        scores=(_score(before), _score(after)),
        changes=tuple(each for each in facts + content if each.before != each.after),
        best_params=tuple(_changes(winners[0], winners[1])),
        shares=tuple(_shares(_top(before), _top(after))),
    )


def _score(night: ComparedSweep) -> Score:
    ranked = [each for each in leaderboard(night.results, night.direction) if each.is_ranked]
    winner = night.confirmation.winner if night.confirmation else None
    return Score(
        sweep=night.sweep,
        searched=ranked[0].objective if ranked else None,
        confirmed=winner.finalist.mean if winner else None,
        low=winner.low if winner else None,
        high=winner.high if winner else None,
        trials=len(night.results),
        verdict=night.verdict,
        values=night.values,
        trial=None if (best := _winner(night)) is None else best.trial.number,
        metric=night.metric,
        unit=search_unit(night.metric, night.content),
    )


def _winner_params(night: ComparedSweep) -> Mapping[str, Value]:
    winner = _winner(night)
    return {} if winner is None else winner.trial.params


def _winner(night: ComparedSweep) -> TrialResult | None:
    """Return the confirmed winner, or the best trial of the search."""
    winner = night.confirmation.winner if night.confirmation else None
    for result in leaderboard(night.results, night.direction):
        if result.is_ranked and (winner is None or result.trial.key == winner.finalist.key):
            return result
    return None


def _only(names: Sequence[str], params: Mapping[str, Value]) -> Mapping[str, Value]:
    return {name: params[name] for name in names if name in params}


def _changes(before: Mapping[str, Value], after: Mapping[str, Value]) -> list[Change]:
    return [Change(name, before.get(name), after.get(name)) for name in sorted({*before, *after})]


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Value]:
    """Flatten nested tables into one table with dotted names."""
    flat: dict[str, Value] = {}
    for name, inner in value.items():
        flat |= _flat(inner, f"{prefix}{name}.") if isinstance(inner, Mapping) else {f"{prefix}{name}": inner}
    return flat


def _top(night: ComparedSweep) -> list[Mapping[str, Value]]:
    ranked = [each for each in leaderboard(night.results, night.direction) if each.is_ranked]
    return [each.trial.params for each in ranked[: max(1, round(TOP_SHARE * len(ranked)))]]


def _shares(before: Sequence[Mapping[str, Value]], after: Sequence[Mapping[str, Value]]) -> list[Share]:
    """The shares that differ between the sweeps, of dimensions with more than one value."""
    shares: list[Share] = []
    for name in sorted({name for params in (*before, *after) for name in params}):
        label = _labels([params[name] for params in (*before, *after) if name in params])
        sides = [[label(params[name]) for params in side if name in params] for side in (before, after)]
        values = sorted({*sides[0], *sides[1]})
        if len(values) > 1:
            shares += [
                Share(name, value, *(side.count(value) / max(1, len(side)) for side in sides)) for value in values
            ]
    return [share for share in shares if share.before != share.after]


def _labels(values: Sequence[Value]) -> Any:
    """Return a function from a value to its option or its part of the range."""
    numbers = [float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(values) or len(set(numbers)) <= RANGE_PARTS:
        return str
    low, high = min(numbers), max(numbers)
    is_wide = low > 0 and high / low > 100  # a range on a log scale
    parts = [part / RANGE_PARTS for part in range(RANGE_PARTS + 1)]
    edges = [low * (high / low) ** part if is_wide else low + (high - low) * part for part in parts]

    def label(value: Value) -> str:
        assert isinstance(value, int | float)
        part = min(sum(value >= edge for edge in edges[1:]), RANGE_PARTS - 1)
        return f"{edges[part]:.3g} to {edges[part + 1]:.3g}"

    return label
