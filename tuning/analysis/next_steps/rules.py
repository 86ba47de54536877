"""What to do next: the actions that pay most, from rules that each stay silent where there is nothing to find."""

from collections.abc import Callable, Iterable

from nightune.tuning.analysis.next_steps import budget_rules, space_rules
from nightune.tuning.analysis.next_steps.steps import Step, SweepFacts

MOST_STEPS = 3

RULES: dict[str, Callable[[SweepFacts], Iterable[Step]]] = {
    "range ends": space_rules.range_ends,
    "losing options": space_rules.losing_options,
    "idle dimensions": space_rules.idle_dimensions,
    "clustered failures": space_rules.clustered_failures,
    "epochs": budget_rules.epochs,
    "more seeds": budget_rules.more_seeds,
    "fewer trials": budget_rules.fewer_trials,
    "gate": budget_rules.gate,
}


def next_steps(facts: SweepFacts) -> list[Step]:
    """Return the steps that pay most, at most three, none of which changes a key that an earlier one changes."""
    found = sorted((step for rule in RULES.values() for step in rule(facts)), key=lambda step: -step.weight)
    kept: list[Step] = []
    for step in found:
        taken = {change.path for each in kept for change in each.changes}
        if not any(change.path in taken for change in step.changes):
            kept.append(step)
    return kept[:MOST_STEPS]
