"""Rules about the search space: an end of a range that is hit, an option to leave out, a dimension that does nothing,
failures that cluster."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nightune.tuning.analysis.importance import EDGE, end_hits
from nightune.tuning.analysis.next_steps.steps import (
    SIGNIFICANCE,
    Change,
    Step,
    SweepFacts,
    names_text,
    options_of,
    place_of,
)
from nightune.tuning.analysis.value_text import value_text
from nightune.tuning.search.domains import Cases, Choice, Range, is_same
from nightune.tuning.search.search_space import Dimension
from nightune.tuning.trial import Status, TrialResult
from nightune.vocabulary import sign_of

FEWEST_OF_OPTION = 5  # trials
FEWEST_BROKEN = 3
DECADE = 10.0  # factor by which a logarithmic range grows
WHOLE = 2  # factor by which a logarithmic range of whole numbers grows


def range_ends(facts: SweepFacts) -> Iterator[Step]:
    """Yield a step for each end of a range at which the best trials lie more often than by chance.

    Of trials that are compared at a rung, the winner has to lie there, too: what learns fast may end badly.
    """
    ranges = [(each, each.domain) for each in facts.space.dimensions if isinstance(each.domain, Range)]
    shares = {each.name: each.share for each in facts.effects}
    for dimension, domain in ranges:
        for hits in end_hits(dimension.name, domain, facts.compared):
            table = facts.written(place_of(dimension.name))
            is_written = isinstance(table, Mapping) and {"low", "high"} <= set(table)
            bounds = _wider(facts, dimension, hits.end) if is_written else None
            if hits.chance * 2 * len(ranges) >= SIGNIFICANCE or bounds is None:
                continue
            if facts.compared_epochs and not _is_there(facts.winner, dimension.name, domain, hits.end):
                continue
            evidence = (
                f"{hits.trials} of the best {hits.best} trials{facts.after_epochs} lie in the {hits.end}est quarter "
                f"of its range, which ends at {value_text(getattr(domain, hits.end))}: the optimum may be beyond it."
            )
            change = Change(place_of(dimension.name), {**table, "low": bounds[0], "high": bounds[1]})
            title = f"{'Raise' if hits.end == 'high' else 'Lower'} the {hits.end} end of {dimension.name}"
            yield Step(title, evidence, (change,), 2.0 + shares.get(dimension.name, 0.0))


def _is_there(winner: TrialResult | None, name: str, domain: Range, end: str) -> bool:
    """True if the winner lies in the quarter of a range at this end."""
    if winner is None or name not in winner.trial.params:
        return False
    place = domain.to_unit(winner.trial.params[name])
    return place >= 1 - EDGE if end == "high" else place <= EDGE


def _wider(facts: SweepFacts, dimension: Dimension, end: str) -> tuple[float, float] | None:
    """Return the bounds of the range with its end moved outwards; None if it has no room there."""
    domain, is_high = dimension.domain, end == "high"
    assert isinstance(domain, Range)
    lowest, highest = facts.limits.get(dimension.name, (None, None))
    low, high = domain.low, domain.high
    if domain.scale == "log":
        factor = WHOLE if domain.integer else DECADE
        moved = high * factor if is_high else low / factor
    elif low >= 0 and high <= 1 and not domain.integer:  # a share stays one
        moved = high + (1 - high) / 2 if is_high else low / 2
    else:
        moved = high + (high - low) / 2 if is_high else low - (high - low) / 2
        moved = max(moved, 0) if low >= 0 else moved
    moved = math.floor(moved) if domain.integer else float(f"{moved:.3g}")
    moved = max(moved, 1) if domain.integer and low >= 1 else moved
    moved = moved if lowest is None else max(moved, lowest)
    moved = moved if highest is None else min(moved, highest)
    moved = int(moved) if domain.integer else moved
    bounds = (low, moved) if is_high else (moved, high)
    return bounds if bounds != (low, high) and bounds[0] <= low and bounds[1] >= high else None


def losing_options(facts: SweepFacts) -> Iterator[Step]:
    """Yield a step for each choice with options that are significantly worse than its others (Mann, Whitney, 1947).

    The level is divided by the number of options that are examined; a diverged trial is worse than all others. Of
    trials that are compared at a rung, the winner's option is kept: it may learn slowly and end well.
    """
    from scipy.stats import mannwhitneyu  # noqa: PLC0415 - takes a second, only for reports

    choices = [each for each in facts.space.dimensions if _is_free_choice(facts, each)]
    examined = sum(len(options) for each in choices if (options := _options(each)))
    for dimension in choices:
        worse = []
        for option in _options(dimension):
            mine, rest = _scores(facts, dimension.name, option)
            if len(mine) < FEWEST_OF_OPTION or len(rest) < FEWEST_OF_OPTION:
                continue
            chance = float(mannwhitneyu(mine, rest, alternative="greater").pvalue)
            if chance * examined < SIGNIFICANCE and not (
                facts.compared_epochs and _has(facts.winner, dimension, option)
            ):
                worse.append((option, mine))
        kept = [each for each in _options(dimension) if not any(is_same(each, option) for option, _ in worse)]
        if worse and kept:
            yield _leave_out(facts, dimension.name, worse, kept)


def _leave_out(facts: SweepFacts, name: str, worse: Sequence[tuple[Any, list[float]]], kept: list[Any]) -> Step:
    names, sign = names_text([value_text(option) for option, _ in worse]), sign_of(facts.direction)
    best, count = min(min(scores) for _, scores in worse), sum(len(scores) for _, scores in worse)
    reached = facts.text(sign * best) if math.isfinite(best) else "no score"
    best_of_all = facts.text(facts.compared[0].objective)
    evidence = (
        f"The best of its {count} trials reaches {reached}{facts.after_epochs}, the best of all {best_of_all}, and its "
        "trials are worse than the others by more than chance. The trials that it took go to the other options."
    )
    return Step(f"Leave out {name} {names}", evidence, (Change(place_of(name), options_of(kept)),), 1.9)


def _is_free_choice(facts: SweepFacts, dimension: Dimension) -> bool:
    """True for a searched choice that is active in all trials, and written as a list in the study."""
    is_choice = isinstance(dimension.domain, Choice) and not dimension.domain.is_fixed and not dimension.when
    return is_choice and isinstance(facts.written(place_of(dimension.name)), list)


def _has(winner: TrialResult | None, dimension: Dimension, option: Any) -> bool:
    return winner is not None and is_same(winner.trial.params.get(dimension.name), option)


def _options(dimension: Dimension) -> tuple[Any, ...]:
    return dimension.domain.options if isinstance(dimension.domain, Choice) else ()


def _scores(facts: SweepFacts, name: str, option: Any) -> tuple[list[float], list[float]]:
    """Return the scores to minimize of the trials with an option, and of the others; infinite for a diverged one."""
    sign = sign_of(facts.direction)
    mine: list[float] = []
    rest: list[float] = []
    left_out = (Status.FAILED, Status.NOT_PROMOTED)
    unranked = [each for each in facts.results if not each.is_ranked and each.status not in left_out]
    for result in [*facts.compared, *unranked]:
        if name not in result.trial.params:
            continue
        score = sign * result.objective if result.is_ranked else math.inf
        (mine if is_same(result.trial.params[name], option) else rest).append(score)
    return mine, rest


def idle_dimensions(facts: SweepFacts) -> Iterator[Step]:
    """Yield a step to fix the dimensions that next to nothing is due to, at the winner's values.

    Not of trials that are compared at a rung: schedules, decay and dropout do next to nothing in its few epochs.
    """
    if facts.winner is None or facts.compared_epochs:
        return
    params = facts.winner.trial.params
    controllers = {name for each in facts.space.dimensions for name in each.controllers}
    idle = [
        each
        for each in facts.effects
        if each.is_idle and each.name in params and not each.dimension.when and each.name not in controllers
    ]
    idle = [
        each
        for each in idle
        if facts.written(place_of(each.name)) is not None and not isinstance(each.dimension.domain, Cases)
    ]
    if not idle:
        return
    most = math.ceil(100 * max(each.share_high for each in idle))
    it, causes = ("them", "Each of them causes") if len(idle) > 1 else ("it", "It causes")
    evidence = (
        f"{causes} less than {max(most, 1)}\u00a0% of the differences between trials. Fix {it} at the winner's "
        f"{'values' if len(idle) > 1 else 'value'}, and the trials search the others."
    )
    changes = tuple(Change(place_of(each.name), options_of([params[each.name]])) for each in idle)
    yield Step(f"Stop searching {names_text([each.name for each in idle])}", evidence, changes, 1.0)


def clustered_failures(facts: SweepFacts) -> Iterator[Step]:
    """Yield a step for the place in the space, if any, where failed and diverged trials cluster."""
    broken = [each for each in facts.results if each.status in (Status.FAILED, Status.DIVERGED)]
    sound = [each for each in facts.results if each.is_ranked]
    if len(broken) < FEWEST_BROKEN or len(sound) < FEWEST_BROKEN:
        return
    dimensions = [each for each in facts.space.dimensions if not each.domain.is_fixed and not each.when]
    tests = sum(len(_options(each)) or 2 for each in dimensions)
    found = [(chance, step) for each in dimensions for chance, step in _clusters(facts, each, broken, sound)]
    chance, step = min(found, key=lambda each: each[0], default=(1.0, None))
    if step is not None and chance * tests < SIGNIFICANCE:
        yield step


def _clusters(
    facts: SweepFacts, dimension: Dimension, broken: Sequence[TrialResult], sound: Sequence[TrialResult]
) -> Iterator[tuple[float, Step]]:
    name, domain = dimension.name, dimension.domain
    places = [_held(each, dimension) for each in broken], [_held(each, dimension) for each in sound]
    table = facts.written(place_of(name))
    if isinstance(domain, Choice) and isinstance(table, list):
        yield from _broken_options(name, domain, *places)
    elif isinstance(domain, Range) and isinstance(table, Mapping) and {"low", "high"} <= set(table):
        yield from _broken_ends(facts, name, domain, table, *places)


def _held(result: TrialResult, dimension: Dimension) -> Any:
    return result.trial.params.get(dimension.name)


def _broken_options(
    name: str, domain: Choice, broken: Sequence[Any], sound: Sequence[Any]
) -> Iterator[tuple[float, Step]]:
    from scipy.stats import fisher_exact  # noqa: PLC0415 - as above

    for option in domain.options:
        bad, good = (sum(is_same(each, option) for each in values) for values in (broken, sound))
        kept = [each for each in domain.options if not is_same(each, option)]
        if bad <= good:
            continue
        table = [[bad, len(broken) - bad], [good, len(sound) - good]]
        chance = float(fisher_exact(table, alternative="greater").pvalue)
        title = f"Leave out {name} {value_text(option)}: its trials fail"
        evidence = (
            f"{bad} of its {bad + good} trials failed or diverged, and {len(broken) - bad} of the other "
            f"{len(broken) + len(sound) - bad - good}. Their causes stand under the history."
        )
        yield chance, Step(title, evidence, (Change(place_of(name), options_of(kept)),), 1.8)


def _broken_ends(
    facts: SweepFacts, name: str, domain: Range, table: Mapping[str, Any], broken: Sequence[Any], sound: Sequence[Any]
) -> Iterator[tuple[float, Step]]:
    from scipy.stats import mannwhitneyu  # noqa: PLC0415 - as above

    bad, good = (sorted(domain.to_unit(each) for each in values if each is not None) for values in (broken, sound))
    best = [domain.to_unit(each.trial.params[name]) for each in facts.compared[: max(3, len(good) // 4)]]
    if not bad or not good or not best:
        return
    for end, side in (("high", "greater"), ("low", "less")):
        chance = float(mannwhitneyu(bad, good, alternative=side).pvalue)
        cut = max(bad[len(bad) // 10], *best) if end == "high" else min(bad[-1 - len(bad) // 10], *best)
        if not (EDGE if end == "high" else 0.02) < cut < (0.98 if end == "high" else 1 - EDGE):
            continue
        value = domain.from_unit(cut)
        assert isinstance(value, int | float)
        bound = value if domain.integer else float(f"{value:.2g}")
        beyond = sum(place >= cut if end == "high" else place <= cut for place in bad)
        kept = sum(place > cut if end == "high" else place < cut for place in good)
        evidence = (
            f"{beyond} of {len(bad)} trials that failed or diverged lie beyond {value_text(bound)}, and {kept} of "
            f"{len(good)} others, none of them among the best. Their causes stand under the history."
        )
        verb = "Lower the high" if end == "high" else "Raise the low"
        change = Change(place_of(name), {**table, end: bound})
        yield chance, Step(f"{verb} end of {name}: trials fail beyond it", evidence, (change,), 1.8)
