"""Cut trials into cohorts of one graph key, in the order of training."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from nightune.models.recipe.params import read_recipe
from nightune.models.training.graph_key import graph_key
from nightune.models.training.model_key import code_digest
from nightune.tasks.tracking.trials.trial_tags import kind_of, run_name
from nightune.tuning.trial import Params, Trial, Value

COHORT_TRIALS = 50  # keeps a flow of thousands of trials under Prefect's limit of about a thousand task runs
NAMED_TRIALS = 6  # in the name of a task
OPTIMIZER = "optimizer"
BATCHES = "batch_size."
REFUSED = "refused"  # instead of the graph key, if a trial's params make no recipe


class Place(NamedTuple):
    """A trial's place in the order of training.

    Within a graph key, trials are sorted by batch size: trials with the same batch layout can be computed as one stack,
    and a cohort with few layouts has large stacks.
    """

    graph_key: str
    largest_batch: int
    number: int


def first_of_layouts(trials: Sequence[Trial]) -> list[Trial]:
    """Return the first trial of each setting of the batches: others need no other function of a program."""
    first: dict[tuple[str, ...], Trial] = {}
    for trial in trials:
        first.setdefault(tuple(f"{name} {value}" for name, value in _of_batches(trial.params)), trial)
    return list(first.values())


def _of_batches(params: Params) -> list[tuple[str, Value]]:
    return sorted((name, value) for name, value in params.items() if name.startswith(BATCHES))


def trials_text(trials: Sequence[Trial]) -> str:
    """Return which trials these are, in words, with the optimizer if they have one in common."""
    optimizers = {str(trial.params.get(OPTIMIZER, "")) for trial in trials}
    optimizer = optimizers.pop() if len(optimizers) == 1 else ""
    return f"{_numbered(trials)}{f' ({optimizer})' if optimizer else ''}"


def training_order(folder: Path) -> Callable[[Trial], Place]:
    """Return a function from a trial to its place. `folder` is the study's; the user's code in it is read once."""
    code = cache(lambda architecture, losses: code_digest(architecture, losses, folder))

    def place(trial: Trial) -> Place:
        try:
            recipe = read_recipe(trial.params)
            return Place(
                graph_key(recipe, code(recipe.architecture, recipe.training.losses)), recipe.largest_batch, trial.number
            )
        except ValueError:
            return Place(REFUSED, 0, trial.number)

    return place


def _numbered(trials: Sequence[Trial]) -> str:
    if len(trials) == 1:
        return run_name(trials[0])
    numbers = list(dict.fromkeys(str(trial.number) for trial in trials))
    first, left = ", ".join(numbers[:NAMED_TRIALS]), len(numbers) - NAMED_TRIALS
    kinds = {kind_of(trial) for trial in trials}
    kind = f"{len(trials)} replicates of trials" if kinds == {"replicate"} else "trials"
    return f"{kind} {first}{f' and {left} more' if left > 0 else ''}"


def cohorts(trials: Sequence[Trial], folder: Path) -> Iterator[list[Trial]]:
    """Cut the trials into cohorts with one program each; `folder` is the study's."""
    placed = sorted(zip(map(training_order(folder), trials), trials, strict=True), key=lambda pair: pair[0])
    for _, group in itertools.groupby(placed, key=lambda pair: pair[0].graph_key):
        members = [trial for _, trial in group]
        for start in range(0, len(members), COHORT_TRIALS):
            yield members[start : start + COHORT_TRIALS]
