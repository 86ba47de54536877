"""The headings of the parts of the report: what each one found."""

import math
from collections.abc import Sequence

from nightune.tasks.reporting.night.measure import SPACE
from nightune.tasks.reporting.night.next_steps import Advice
from nightune.tasks.reporting.night.phrases import ordinal, status_text
from nightune.tasks.reporting.night.record import Night
from nightune.tuning.analysis.confirmation import is_rival
from nightune.tuning.analysis.effects import GRID, Effect
from nightune.tuning.analysis.leaderboard import status_counts
from nightune.tuning.analysis.value_text import value_text
from nightune.tuning.search.domains import Cases, Choice
from nightune.tuning.trial import TrialResult
from nightune.vocabulary import counted

SMALL_BAR = 0.01  # share below which a dimension has no bar
SHORT = 24  # characters of a value in a sentence
NUMBERS = {2: "Two", 3: "Three"}


def next_heading(advice: Sequence[Advice]) -> str:
    """Return how many changes pay, or that none stands out."""
    if not advice:
        return "Nothing stands out: search on, or leave it"
    return "One change pays most" if len(advice) == 1 else f"{NUMBERS[len(advice)]} changes pay most"


def history_heading(night: Night) -> str:
    """Return what the order of the trials tells."""
    if not night.ranked:
        return "No trial has a finite score"
    order = [each.result for each in night.trials]
    best = night.ranked[0].objective
    first = next(place for place, each in enumerate(order, start=1) if each.is_ranked and each.objective == best)
    band = night.seed_band
    if math.isfinite(band):
        near = [place for place, each in enumerate(order, start=1) if _is_near(night, each, best, band)]
        if near[0] < first and near[0] <= 0.8 * len(order):
            return f"After {ordinal(near[0])} trial, no gain exceeds seed noise"
    return f"The best score came with {ordinal(first)} of {len(order)} trials" if len(order) > 1 else "One trial ended"


def _is_near(night: Night, result: TrialResult, best: float, band: float) -> bool:
    is_own = result.is_ranked and result.trial.number not in night.inherited
    return is_own and night.improvement(best, result.objective) <= band


def history_note(night: Night) -> str:
    """Return the counts by status, the improvement, and how many trials lie within seed noise of the best."""
    counts = {status_text(night, name): many for name, many in status_counts(night.results).items() if many}
    text = ", ".join(f"{many} {name}" for name, many in sorted(counts.items(), key=lambda each: -each[1])) + "."
    missing = night.sweep.planned_trials - len(night.trials)
    if not night.sweep.is_complete:
        text += f" The sweep is {night.sweep.status}: {max(missing, 0)} trials are not trained yet."
    if night.ranked and math.isfinite(night.seed_band):
        best = night.ranked[0].objective
        near = sum(_is_near(night, each, best, night.seed_band) for each in night.ranked)
        text += f" {counted(near, 'trial')} of {len(night.trials)}, the best one included, lie within seed noise."
    return text


def mattered_heading(night: Night) -> str:
    """Return the dimensions that caused most of the differences between trials."""
    found = [each for each in night.effects if each.matters][:2]
    if not found:
        return f"No dimension has an effect beyond chance{night.after_epochs}"
    shares = " and ".join(f"{100 * each.share:.0f}{SPACE}%" for each in found)
    verb = "decided most" if len(found) > 1 or found[0].share > 0.5 else "mattered"
    said = f"{' and '.join(each.name for each in found)} {verb}: {shares} of the differences between trials"
    return f"{said}{night.after_epochs}"


def compared_note(night: Night) -> str:
    """Return at which rung trials are compared, and what that hides; empty where each is compared as it ended."""
    if not night.compared_epochs:
        return ""
    compared = {each.trial.number for each in night.compared}
    count, of_all = len(compared), len(night.results)
    many = f"all {count} trials" if count == of_all else f"{count} of {of_all} trials"
    said = f"Compared are {many}{night.after_epochs}, at their first rung, before any of them was dropped. "
    said += "What acts late, as schedules and penalties do, shows less there."
    if night.winner is None or night.winner.trial.number in compared:
        return said
    return f"{said} Trial {night.winner.trial.number}, which leads, had no rung there."


def mattered_note(night: Night) -> str:
    """Return what the figures leave out: small shares, and dimensions of which nothing can be said."""
    small = [each.name for each in night.effects if each.share < SMALL_BAR]
    known = {each.name for each in night.effects}
    unknown = [] if night.space is None else [name for name in night.space.varying if name not in known]
    text = f"Below 1{SPACE}%: {', '.join(small)}. " if small else ""
    return text + (f"Too few trials, or too much chance, to judge: {', '.join(unknown)}." if unknown else "")


def effect_note(night: Night, effect: Effect) -> str:
    """Return the best place along a dimension, and when it is active."""
    when = f" Active in {effect.trials} trials: {effect.dimension.condition_text}." if effect.dimension.when else ""
    if not effect.matters:
        return f"No effect beyond chance.{when}"
    straight = effect.middle if night.measure.grows else -effect.middle
    best, worst = int(straight.argmax()), int(straight.argmin())
    scores = [night.measure.text(night.measure.score(float(effect.middle[place]))) for place in (best, worst)]
    return f"Best {_where(effect, best)}: {scores[0]} to expect, {scores[1]} at worst.{when}"


def _where(effect: Effect, point: int) -> str:
    domain, place = effect.dimension.domain, float(GRID[point])
    if isinstance(domain, Cases):
        return f"at {100 * place:.0f}{SPACE}% of its range"
    return f"{'at' if isinstance(domain, Choice) else 'at about'} {value_text(domain.from_unit(place), SHORT)}"


def curves_heading(night: Night) -> str:
    """Return whether the best trials had epochs enough."""
    best = [each for each in night.full[:5] if each.best_epoch]
    search = night.origin.content.get("search", {})
    budget = int(search.get("epochs", 0)) or max((each.epochs for each in night.full), default=0)
    late = sum(each.best_epoch >= 0.9 * budget for each in best)
    if late > 1:
        return f"{late} of the best {len(best)} were still improving when their {budget} epochs ended"
    epochs = sorted(each.best_epoch for each in best)
    if len(epochs) == 1 or (epochs and epochs[0] == epochs[-1]):
        return f"The best {counted(len(best), 'trial')} peaked at epoch {epochs[0]} of {budget}"
    return f"The best {len(best)} peaked between epoch {epochs[0]} and {epochs[-1]} of {budget}"


def finalists_heading(night: Night) -> str:
    """Return how many finalists are equally good, and how many the search flattered."""
    finalists = night.confirmation.finalists if night.confirmation is not None else ()
    held = night.confirmation
    if not finalists:
        return "The gate judged the best trial of the search"
    within = sum(is_rival(each, held) for each in finalists) if held is not None and not held.note else 0
    flattered = sum(night.improvement(each.finalist.search_score, each.finalist.mean) > 0 for each in finalists)
    equal = f"{within} of {len(finalists)} finalists may be the best" if within > 1 else "One finalist stands out"
    if not within:
        sound = sum(each.finalist.is_sound for each in finalists)
        equal = f"{sound} finalists, no interval" if sound else "No finalist has finite scores over fresh seeds"
    return f"{equal}; the search flattered {flattered} of {len(finalists)}" if len(finalists) > 1 else "One finalist"


def best_so_far(night: Night) -> list[float | None]:
    """Return the best objective after each trial, in the order in which they ended; None before the first one."""
    best: list[float | None] = []
    for each in night.trials:
        held, result = best[-1] if best else None, each.result
        is_better = result.is_ranked and (held is None or night.improvement(result.objective, held) > 0)
        best.append(result.objective if is_better else held)
    return best
