"""Estimate what a sweep costs in a compiled engine and in `fit`, from seconds that their comparison measured.

A program pays for itself over the trials that share it. Where nearly each trial has a program of its own, as with
widths that are searched, and trials are short, `fit` is faster.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nightune.models.data.dataset import Dataset
from nightune.models.engines.make import make_engine
from nightune.models.recipe.recipe import Recipe
from nightune.models.techniques.stopping.settings import StoppingSettings
from nightune.models.training import reported_names
from nightune.models.training.engine import Compiles, Engine
from nightune.models.training.loop import train

MARGIN = 0.9  # `fit` must cost less than this share of the compiled engine, for measurements are noisy
LEAST_SAVED_SECONDS = 5.0
COUNTED_RECIPES = 16  # whose models are built, to find how many programs they need
MEASURED_EXAMPLES = 5_000  # of training and validation; epochs of more are extrapolated from a part


@dataclass(frozen=True)
class PlannedWork:
    """What a sweep trains at most: trials, and their epochs in total."""

    trials: int
    epochs: int


@dataclass(frozen=True)
class Seconds:
    """Measured seconds: of the first short training in the compiled engine, the next of the same program, and `fit`'s.

    The last two include what each trial pays; the first also tracing and compiling.
    """

    first: float
    compiled: float
    fit: float


def cheaper_in_fit(
    engine: Engine, recipes: Sequence[Recipe], dataset: Dataset, folder: Path, work: PlannedWork, seconds: Seconds
) -> str | None:
    """Return why `fit` trains the sweep in clearly less time than a compiled engine; None if it does not.

    Epochs are measured only if `fit` costs less without them.
    """
    if not isinstance(engine, Compiles):
        return None
    sample = recipes[:COUNTED_RECIPES]
    programs = _programs(engine.program_count(sample), len(sample), work.trials)
    compiling = (programs - 1) * max(0.0, seconds.first - seconds.compiled)
    compiled, fit = compiling + work.trials * seconds.compiled, work.trials * seconds.fit
    if not _is_worth_it(compiled, fit):
        return None
    recipe = recipes[0]
    compiled += work.epochs * _epoch_seconds(engine, recipe, dataset, folder)
    fit += work.epochs * _epoch_seconds(make_engine("fit", dataset, folder), recipe, dataset, folder)
    if not _is_worth_it(compiled, fit):
        return None
    return (
        f"{programs} programs for {work.trials} trials would take about {compiling:.0f} s to compile: "
        f"the sweep at most {compiled:.0f} s, {fit:.0f} s in fit"
    )


def _programs(counted: int, sampled: int, trials: int) -> int:
    """Return the expected number of programs: more trials bring more if most of the sampled ones have their own."""
    if 2 * counted <= sampled:
        return counted
    return max(counted, round(counted * trials / sampled))


def _is_worth_it(compiled: float, fit: float) -> bool:
    return fit < MARGIN * compiled and compiled - fit > LEAST_SAVED_SECONDS


def _epoch_seconds(engine: Engine, recipe: Recipe, dataset: Dataset, folder: Path) -> float:
    """Return the seconds of an epoch after the first; of many examples a part is measured in an engine of its own."""
    share = min(1.0, MEASURED_EXAMPLES / (len(dataset.train) + len(dataset.validation)))
    if share < 1.0:
        train_rows, held_out = (slice(int(share * len(each))) for each in (dataset.train, dataset.validation))
        dataset = replace(dataset, train=dataset.train.part(train_rows), validation=dataset.validation.part(held_out))
        engine = make_engine(engine.name, dataset, folder)
    recipe = replace(recipe, stopping=StoppingSettings("none"))
    outcome = train(engine, recipe, dataset, epochs=2, seed=0, monitor="val_loss", direction="minimize")
    return min(outcome.curves[reported_names.SECONDS]) / share
