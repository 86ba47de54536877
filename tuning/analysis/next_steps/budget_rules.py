"""Rules about the budget: epochs too few or too many, noise above differences, a search that no longer improves, and
the gate's refusal."""

import math
from collections.abc import Iterator
from math import comb

from nightune.tuning.analysis.advice import models_needed, rows_needed
from nightune.tuning.analysis.confirmation import is_rival, seed_band
from nightune.tuning.analysis.next_steps.steps import SIGNIFICANCE, Change, Step, SweepFacts
from nightune.tuning.analysis.promotion_gate import Decision
from nightune.tuning.trial import Status
from nightune.vocabulary import sign_of

FEWEST_BEST = 5  # trials whose best epochs are compared with the budget
LATE = 0.9  # of the budget
EARLY = 1 / 3
SPARE = 1.5  # times the latest best epoch
FEWEST_EPOCHS = 3
MANY_ALIKE = 0.2  # of the trials
FIRST_PART = 0.25  # of the trials, in the order in which they ended
FEWEST_TRIALS = 20
MOST_REPLICATES = 100


def epochs(facts: SweepFacts) -> Iterator[Step]:
    """Yield a step if significantly many of the best trials peak at the end of their epochs, or all peak early."""
    budget, written = facts.epochs, facts.written(("search", "epochs"))
    best = [each.best_epoch for each in facts.ranked[: max(FEWEST_BEST, len(facts.ranked) // 4)]]
    if len(best) < FEWEST_BEST or not isinstance(written, int):
        return
    first_late = math.ceil(LATE * budget)
    late, chance = sum(each >= first_late for each in best), (budget - first_late + 1) / budget
    if late > len(best) / 2 and _at_least(late, len(best), chance) < SIGNIFICANCE and 2 * budget > written:
        evidence = (
            f"{late} of the best {len(best)} trials have their best epoch in the last tenth of the {budget}: they were "
            "still improving. Twice the epochs take at most twice the time."
        )
        yield Step(
            f"Train longer than {budget} epochs",
            evidence,
            (Change(("search", "epochs"), 2 * budget),),
            1.5 + late / len(best),
        )
    ran_on = sum(each.status is Status.COMPLETED and each.epochs == budget for each in facts.ranked)
    enough = max(FEWEST_EPOCHS, math.ceil(SPARE * max(best)))
    if max(best) <= EARLY * budget and ran_on > len(facts.ranked) / 2 and enough < min(budget, written):
        evidence = (
            f"The best {len(best)} trials all peak within {max(best)} of {budget} epochs, and {ran_on} of "
            f"{len(facts.ranked)} trials trained to the end: time for more trials."
        )
        yield Step(f"Train {enough} epochs instead of {budget}", evidence, (Change(("search", "epochs"), enough),), 1.4)


def _at_least(count: int, of: int, chance: float) -> float:
    return sum(comb(of, k) * chance**k * (1 - chance) ** (of - k) for k in range(count, of + 1))


def more_seeds(facts: SweepFacts) -> Iterator[Step]:
    """Yield a step if the finalists differ by less than one of them differs between its seeds."""
    held = facts.confirmation
    sound = [each for each in held.finalists if each.finalist.is_sound] if held is not None else []
    if held is None or held.note or len(sound) < 2:
        return
    seeds, alike = len(sound[0].finalist.scores), sum(is_rival(each, held) for each in sound)
    wanted = min(2 * seeds + 2, MOST_REPLICATES)
    if alike < 2 or wanted <= seeds:
        return
    shorter, leads = 100 * (1 - math.sqrt(seeds / wanted)), abs(sound[0].finalist.mean - sound[1].finalist.mean)
    evidence = (
        f"{alike} of the {len(sound)} finalists may be the best as far as {seeds} seeds tell: the best mean leads by "
        f"{facts.points(leads)}. {wanted} seeds make the intervals {shorter:.0f}\u00a0% shorter; more trials do not."
    )
    change = Change(("confirmation", "replicates"), wanted)
    yield Step("Settle it with seeds, not with trials", evidence, (change,), 1.6)


def fewer_trials(facts: SweepFacts) -> Iterator[Step]:
    """Yield a step if a large part of the trials is as good as the best one, up to seed noise, from early on."""
    band = math.nan if facts.confirmation is None else seed_band(facts.confirmation)
    ranked, written = facts.ranked, facts.written(("search", "trials"))
    if not math.isfinite(band) or len(ranked) < FEWEST_TRIALS or facts.has_rungs or not isinstance(written, int):
        return
    best, sign = ranked[0].objective, sign_of(facts.direction)
    alike = [each for each in ranked if sign * (each.objective - best) <= band]
    order = [each.trial.number for each in facts.results]
    first = min(order.index(each.trial.number) for each in alike) + 1
    trials = math.ceil(len(order) / 2)
    if len(alike) < MANY_ALIKE * len(order) or first > FIRST_PART * len(order) or trials >= written:
        return
    evidence = (
        f"{len(alike)} of {len(order)} trials lie within seed noise of the best ({facts.points(band)} between two "
        f"trials of one seed each), and one of them was found after {first}. Half of the trials would have found one, "
        "too; the time is better spent on seeds, data, or another model."
    )
    yield Step("Search with fewer trials", evidence, (Change(("search", "trials"), trials),), 1.1)


def gate(facts: SweepFacts) -> Iterator[Step]:
    """Yield a step if the gate refused the winner: what would make its gain significant, or which guard failed."""
    verdict = facts.verdict
    if verdict is None or verdict.decision is not Decision.REFUSED:
        return
    failed = [guard for guard in verdict.guards if not guard.passed]
    if failed:
        yield Step(
            f"Correct what the gate refused: {failed[0].name}", _sentence(verdict.advice, failed[0].said), (), 2.5
        )
        return
    gain = verdict.gain or verdict.baseline
    if gain is None or gain.gain <= verdict.minimum_gain:
        return
    opponent = "champion" if verdict.gain is not None else "baseline"
    seen = f"The winner is better than the {opponent} by {gain.gain:.4g}, from {gain.low:.4g} to {gain.high:.4g}"
    models = models_needed(gain, verdict.minimum_gain, has_seeds=verdict.gain is not None)
    if models is not None:
        text = f"{seen}. With {models} models instead of {gain.challenger_models} the same gain would be significant."
        yield Step("Judge more models of the winner", text, (Change(("promotion", "replicates"), models),), 2.2)
        return
    rows = rows_needed(gain, verdict.minimum_gain)
    if rows is not None:
        text = f"{seen}, over {gain.rows} sealed rows. With about {rows} the same gain would be significant."
        yield Step("Seal more test rows", f"{text} Set data.split.test higher, or add data.", (), 2.2)


def _sentence(advice: tuple[str, ...], otherwise: str) -> str:
    text = advice[0] if advice else otherwise
    return f"{text[:1].upper()}{text[1:]}."
