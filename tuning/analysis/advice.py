"""What to do after a refusal: which key sets a guard that failed, and what would make a gain significant."""

import math
from collections.abc import Sequence

from nightune.tuning.analysis.paired_gain import Gain
from nightune.tuning.analysis.promotion_gate import Guard, Rules

FORCE = "promote in spite of it with `nightune promote STUDY --force --because`"
REMEDIES = {
    "data version": "run `nightune tune STUDY` on the present data, and promote the new sweep",
    "raw rows": "run `nightune tune STUDY` on the present data, and promote the new sweep",
    "finite outputs": "search again without the values that make weights overflow, such as high learning rates",
    "size": f"raise promotion.size_limit_mb, search smaller models, or {FORCE}",
    "limits": f"raise [limits], which begins a new sweep, search smaller or faster models, or {FORCE}",
    "latency": f"raise promotion.latency_limit_ms, search faster models, or {FORCE}",
    "schema": f"keep the champion's columns, shapes and labels, or {FORCE}",
    "champion": f"restore another one with `nightune rollback MODEL --because`, or {FORCE}",
    "the model itself": f"search again with `nightune tune STUDY --fresh`, or {FORCE}",
    "metric": f"more test rows (data.split.test, or more data), another objective.metric, or {FORCE}",
}
REPLICATES = 100  # the maximum of promotion.replicates
SAFETY = 0.9  # of the room that an estimate leaves to the seeds


def next_steps(
    gain: Gain | None, baseline: Gain | None, guards: Sequence[Guard], rules: Rules, has_champion: bool
) -> tuple[str, ...]:
    """Return what to do about each condition that does not hold; empty if all hold."""
    failed = [guard for guard in guards if not guard.passed]
    steps = [f"{guard.name}: {REMEDIES.get(guard.name, _unknown_remedy(guard))}" for guard in failed]
    if baseline is not None and not baseline.is_above(0.0):
        steps += _gain_steps(baseline, Rules(0.0, 0.0, rules.metric), "the baseline", has_seeds=False)
    elif has_champion and gain is not None and not gain.is_above(rules.minimum_gain):
        steps += _gain_steps(gain, rules, "the champion", has_seeds=True)
    return tuple(steps)


def rows_needed(gain: Gain, minimum: float) -> int | None:
    """Estimate the rows at which the same gain would be significant; None if no number of rows suffices.

    The part of the interval that is due to rows shrinks with the square root of their number; that of seeds stays.
    """
    margin = gain.gain - minimum
    room = margin**2 - gain.seed_reach**2
    if margin <= 0 or room <= 0:
        return None
    return max(gain.rows + 1, math.ceil(gain.rows * _row_square(gain) / room))


def _gain_steps(gain: Gain, rules: Rules, opponent: str, has_seeds: bool) -> list[str]:
    name, minimum = rules.metric or "objective", rules.minimum_gain
    if gain.gain <= minimum:
        least = f"{minimum:.4g}" if minimum else "zero"
        text = f"a larger gain over {opponent}: {gain.gain:+.4g} {name} is not above {least}"
        return [f"{text}, so more test rows do not help; search further (search.trials, search.epochs, [space])"]
    steps = []
    rows = rows_needed(gain, minimum)
    if rows is not None:
        grouped = "" if gain.groups is None else f" in about {math.ceil(rows / gain.rows * gain.groups)} groups"
        seen = f"{gain.gain:+.4g} {name} over {opponent}"
        steps.append(
            f"more test rows: about {rows}{grouped} instead of {gain.rows} would make a gain of {seen} significant "
            "(data.split.test, or more data)"
        )
    models = models_needed(gain, minimum, has_seeds)
    if models is not None:
        steps.append(f"more models of the winner: promotion.replicates = {models} instead of {gain.challenger_models}")
    steps += _lower_limits(gain, minimum)
    is_out_of_reach = rows is None and models is None
    why = "neither more test rows nor more promotion.replicates suffice alone; " if is_out_of_reach else ""
    steps.append(f"a larger gain over {opponent}: {why}search further (search.trials, search.epochs, [space])")
    return steps


def models_needed(gain: Gain, minimum: float, has_seeds: bool) -> int | None:
    """Estimate the winner's models at which the same gain would be significant; None if no allowed number suffices.

    The opponent keeps its models; a baseline has no seeds.
    """
    room = SAFETY * ((gain.gain - minimum) ** 2 - _row_square(gain))
    theirs = 1 / gain.opponent_models if has_seeds else 0.0
    if gain.seed_reach == 0.0 or room <= 0:
        return None
    share = room / gain.seed_reach**2 * (1 / gain.challenger_models + theirs) - theirs
    models = math.ceil(1 / share) if share > 0 else REPLICATES + 1
    return models if gain.challenger_models < models <= REPLICATES else None


def _row_square(gain: Gain) -> float:
    """The square of the part of the interval below the gain that is due to rows."""
    return max((gain.gain - gain.low) ** 2 - gain.seed_reach**2, 0.0)


def _lower_limits(gain: Gain, minimum: float) -> list[str]:
    steps = []
    level = next((level for level, low in gain.lows if low > minimum), None)
    if level is not None:
        share = 50 * (1 - level)
        steps.append(
            f"a lower confidence: promotion.confidence = {level:g} accepts this gain, and about {share:.3g} of 100 "
            "challengers that are no better"
        )
    if 0 < gain.low <= minimum:
        steps.append(f"a lower minimum: promotion.minimum_gain below {gain.low:.4g} accepts this gain")
    return steps


def _unknown_remedy(guard: Guard) -> str:
    return guard.said if guard.is_vital else f"{guard.said}; correct it, or {FORCE}"
