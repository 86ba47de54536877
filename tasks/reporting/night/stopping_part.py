"""The part of the report on early stopping: what it saved, and what the audited trials say that it cost."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from nightune.phases import SEARCH
from nightune.tasks.reporting.night.measure import SPACE, duration, whole
from nightune.tasks.reporting.night.phrases import status_text
from nightune.tasks.reporting.night.record import Night
from nightune.tasks.reporting.night.tables import Fact, Row
from nightune.tuning.analysis.early_stopping import (
    Audited,
    Regret,
    Saved,
    audit_key,
    audited_pairs,
    ended_with_search,
    regret_of,
    saved,
)
from nightune.tuning.trial import Status
from nightune.vocabulary import counted

MOST_ROWS = 300  # of single trials: those that saved most


def stopping_part(night: Night) -> dict[str, Any] | None:
    """Return what the template draws; None if no trial was stopped, or the budget is not recorded.

    Also None of a population: a member that ended was replaced, and its epochs were trained by another one.
    """
    found, budget = _saved(night), _budget(night)
    if not found:
        return None
    cost, pairs = _regret(night), _pairs(night)
    return {
        "heading": _heading(night, found, budget, cost),
        "facts": _facts(night, found, budget, cost),
        "groups": _groups(night, found, budget),
        "audits": [_audit_row(night, each) for each in pairs],
        "rows": [_row(night, each) for each in sorted(found, key=lambda each: -each.epochs)[:MOST_ROWS]],
        "left": max(0, len(found) - MOST_ROWS),
        "budget": budget,
    }


def stopping_numbers(night: Night) -> Row | None:
    """Return the account for `--json`."""
    found = _saved(night)
    if not found:
        return None
    cost = _regret(night)
    numbers: Row = {"stopped": len(found), "saved_epochs": sum(each.epochs for each in found)}
    numbers["saved_seconds"] = _seconds(found)
    if cost is not None:
        interval = [cost.missed_low, cost.missed_high] if math.isfinite(cost.missed_low) else None
        numbers["audit"] = {"audited": cost.audited, "missed": cost.missed, "interval": interval} | {
            "better": cost.better,
            "better_of_all": [cost.better_low, cost.better_high],
        }
    return numbers


def _saved(night: Night) -> list[Saved]:
    """Return what each stopped trial saved; empty of a population, and where the budget is not recorded."""
    budget = 0 if night.sweep.is_population else _budget(night)
    return saved(night.results, budget, _pace(night), _ended_early(night)) if budget else []


def _budget(night: Night) -> int:
    """Return the budget of a trial in epochs; 0 where the study is not recorded."""
    return int(night.origin.content.get("search", {}).get("epochs", 0))


def _ended_early(night: Night) -> set[int]:
    """Return the trials that the early end of the search halted, which no rung dropped."""
    return ended_with_search(night.results, night.brackets, night.sweep.direction) if night.sweep.ended_by else set()


def _regret(night: Night) -> Regret | None:
    """Return what stopping cost; None without audited trials."""
    return regret_of(night.results, night.accounts.audits, _budget(night), night.sweep.direction, _ended_early(night))


def _pace(night: Night) -> dict[int, float]:
    """Return the seconds of an epoch by trial, without its compilation, where the ledger has them."""
    ledger = night.accounts.ledger
    seconds, epochs = defaultdict[int, float](float), Counter[int]()
    for each in () if ledger is None else ledger.trainings(SEARCH):
        if each.epochs > each.begin:  # not interrupted
            seconds[each.trial] += each.seconds - each.compiling
            epochs[each.trial] += each.epochs - each.begin
    return {number: seconds[number] / trained for number, trained in epochs.items()}


def _pairs(night: Night) -> list[Audited]:
    return audited_pairs(night.results, night.accounts.audits, _budget(night), _ended_early(night))


def _seconds(found: Sequence[Saved]) -> float:
    return sum(each.seconds for each in found if math.isfinite(each.seconds))


def _heading(night: Night, found: Sequence[Saved], budget: int, cost: Regret | None) -> str:
    share = 100 * sum(each.epochs for each in found) / (budget * len(night.results))
    text = f"Stopping {counted(len(found), 'trial')} saved {share:.0f}{SPACE}% of all epochs"
    if cost is None:
        return text
    if cost.better:
        return f"{text}, but {cost.better} of {counted(cost.audited, 'audited trial')} would have been the best"
    return f"{text}; {'the' if cost.audited == 1 else 'none of the'} {counted(cost.audited, 'audited trial')} " + (
        "would not have been the best" if cost.audited == 1 else "would have been the best"
    )


def _facts(night: Night, found: Sequence[Saved], budget: int, cost: Regret | None) -> list[Fact]:
    epochs = sum(each.epochs for each in found)
    facts = [
        Fact(whole(epochs), "epochs saved", f"of {whole(budget * len(night.results))} planned"),
        Fact(duration(_seconds(found)), "time saved", "at the pace of each trial's own epochs"),
    ]
    if cost is None:
        return [*facts, Fact("not measured", "regret", "[search] audit = 0.05 trains some stopped trials to the end")]
    points = night.measure.points
    interval = (
        f"between {points(cost.missed_low)} and {points(cost.missed_high)} at {100 * cost.confidence:g}{SPACE}%"
        if math.isfinite(cost.missed_low)
        else "one trial gives no interval"
    )
    likely = f"of {cost.stopped} stopped trials, between {cost.better_low} and {cost.better_high}"
    return [
        *facts,
        Fact(points(cost.missed), "regret: missed by a stopped trial on average", interval),
        Fact(f"{cost.better} of {cost.audited}", "audited trials better than the best", likely),
    ]


def _groups(night: Night, found: Sequence[Saved], budget: int) -> list[Row]:
    groups: dict[str, list[Saved]] = {}
    for each in found:
        is_dropped = each.result.status is Status.NOT_PROMOTED
        name = f"dropped at epoch {each.result.epochs}" if is_dropped else _rule(night, each)
        groups.setdefault(name, []).append(each)
    return [
        {
            "name": name,
            "trials": len(held),
            "trained": sum(each.result.epochs for each in held),
            "saved": sum(each.epochs for each in held),
            "seconds": duration(_seconds(held)),
            "width": round(100 * sum(each.epochs for each in held) / (budget * len(held)), 1),
        }
        for name, held in groups.items()
    ]


def _rule(night: Night, each: Saved) -> str:
    rule = each.result.trial.params.get("stopping.rule")
    return status_text(night, each.result.status) if rule in (None, "none") else f"stopped by {rule}"


def _audit_row(night: Night, each: Audited) -> Row:
    m = night.measure
    keys = {held.trial.number: audit_key(held.trial.key) for held in night.results}
    runs = {held.trial.key: held.run_id for held in night.accounts.audits}
    is_known = math.isfinite(each.full) and math.isfinite(each.search)
    missed = max(0.0, night.improvement(each.full, each.search)) if is_known else 0.0
    best = night.ranked[0].objective if night.ranked else math.nan
    return {
        "trial": each.trial,
        "link": night.link(runs[keys[each.trial]]),
        "stopped": each.stopped_at,
        "search": m.text(each.search, 1) if math.isfinite(each.search) else "none",
        "full": m.text(each.full, 1) if math.isfinite(each.full) else "diverged or failed later",
        "missed": m.points(missed),
        "is_better": is_known and night.improvement(each.full, best) > 0,
    }


def _row(night: Night, each: Saved) -> Row:
    return {
        "trial": each.result.trial.number,
        "link": night.link(each.result.run_id),
        "how": _rule(night, each)
        if each.result.status is Status.STOPPED_EARLY
        else status_text(night, each.result.status),
        "trained": each.result.epochs,
        "epochs": each.epochs,
        "seconds": duration(each.seconds),
        "message": each.result.message,
    }
