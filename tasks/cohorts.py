"""Cut trials into cohorts of one graph key, in the order of training."""

import itertools
from collections.abc import Iterator, Sequence

from nightune.models.recipe.params import read_recipe
from nightune.tuning.trial import Trial


def training_order(trial: Trial) -> tuple[str, int]:
    """Sort trials by this."""
    return graph_key(trial), trial.number


def graph_key(trial: Trial) -> str:
    """The shape of the trial's graph, or "refused" where its params make no recipe."""
    try:
        return str(read_recipe(trial.params).graph_key)
    except ValueError:
        return "refused"


COHORT_TRIALS = 50  # keeps a flow of thousands of trials under Prefect's limit of about a thousand task runs


def cohorts(trials: Sequence[Trial]) -> Iterator[list[Trial]]:
    """Cut the trials into cohorts of one graph shape, so that what is compiled for one serves the next."""
    ordered = sorted(trials, key=training_order)
    for _, group in itertools.groupby(ordered, key=graph_key):
        members = list(group)
        for start in range(0, len(members), COHORT_TRIALS):
            yield members[start : start + COHORT_TRIALS]
