"""Estimate what a sweep costs in a compiled engine and in `fit`, from seconds that their comparison measured.

A program pays for itself over the trials that share it. Where nearly each trial has a program of its own, as with
widths that are searched, and trials are short, `fit` is faster.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nightune.models.data.dataset import Dataset
from nightune.models.data.few_rows import few_rows
from nightune.models.engines.make import make_engine, make_same_engine
from nightune.models.recipe.recipe import Recipe
from nightune.models.techniques.stopping.settings import StoppingSettings
from nightune.models.training import reported_names
from nightune.models.training.engine import Compiles, Engine
from nightune.models.training.graph_key import structure_key
from nightune.models.training.loop import train
from nightune.models.training.row_weights import weights_of_classes

MARGIN = 0.9  # `fit` must cost less than this share of the compiled engine, for measurements are noisy
LEAST_SAVED_SECONDS = 5.0
COUNTED_RECIPES = 16  # whose models are built, to find how many programs they need
NEW_SHARE = 1 / 3  # of proposed trials that need another program than those before, where nearly all drawn ones do
MEASURED_EXAMPLES = 5_000  # of training and validation; epochs of more are extrapolated from a part
TRIED_RECIPES = 3  # to measure an epoch of: some models cannot be built, and some trainings diverge at once


@dataclass(frozen=True)
class PlannedWork:
    """What a sweep trains at most: trials, and their epochs in total, each of which trains every fold once.

    Of the trials `proposed` are not drawn, but chosen with a preference for programs of earlier ones (decision 157).
    After so many `seconds` the search ends.
    """

    trials: int
    epochs: int
    proposed: int = 0
    seconds: float = math.inf

    def first(self, share: float) -> "PlannedWork":
        """Return the work of the first trials, one at least: of those, the drawn ones come before the proposed ones."""
        trials = max(1, round(share * self.trials))
        return replace(
            self,
            trials=trials,
            epochs=max(1, round(share * self.epochs)),
            proposed=max(0, trials - (self.trials - self.proposed)),
        )


@dataclass(frozen=True)
class Seconds:
    """Measured seconds: of the first short training in the compiled engine, the next of the same program, and `fit`'s.

    The last two include what each trial pays; the first also tracing and compiling.
    """

    first: float
    compiled: float
    fit: float


@dataclass(frozen=True)
class _Estimate:
    """What the trials of some work cost, in seconds: to compile their programs, in all with that engine, in `fit`."""

    work: PlannedWork
    programs: int
    compiling: float
    compiled: float
    fit: float

    @property
    def is_less_in_fit(self) -> bool:
        return self.fit < MARGIN * self.compiled and self.compiled - self.fit > LEAST_SAVED_SECONDS


@dataclass(frozen=True)
class _Prices:
    """What one trial costs: `members` are its trainings in one program."""

    engine: Compiles
    recipes: Sequence[Recipe]
    members: int
    seconds: Seconds

    def estimate(self, work: PlannedWork, epoch: Sequence[float] = (0.0, 0.0)) -> _Estimate:
        """Return what the work costs, or as much of it as `fit` trains before the search ends.

        `epoch` are the seconds of one in the compiled engine and in `fit`.
        """
        found = self._of_all(work, epoch)
        return found if found.fit <= work.seconds else self._of_all(work.first(work.seconds / found.fit), epoch)

    def _of_all(self, work: PlannedWork, epoch: Sequence[float]) -> _Estimate:
        programs = _programs(self.engine, self.recipes, work)
        seconds = self.seconds
        compiling = (programs - 1) * max(0.0, seconds.first - seconds.compiled)
        compiled, fit = (
            self.members * (work.trials * each + work.epochs * more)
            for each, more in zip((seconds.compiled, seconds.fit), epoch, strict=True)
        )
        return _Estimate(work, programs, compiling, compiling + compiled, fit)


def cheaper_in_fit(
    engine: Engine, recipes: Sequence[Recipe], dataset: Dataset, folder: Path, work: PlannedWork, seconds: Seconds
) -> str | None:
    """Return why `fit` trains the sweep in clearly less time than a compiled engine; None if it does not.

    Epochs are measured only if `fit` costs less without them.
    """
    if not isinstance(engine, Compiles):
        return None
    prices = _Prices(engine, recipes, max(1, len(dataset.folds)), seconds)
    if not prices.estimate(work).is_less_in_fit:
        return None
    engines = (engine, make_engine("fit", dataset, folder))
    measured = _measured_epochs(engines, recipes[:COUNTED_RECIPES], dataset, folder)
    if measured is None or not (found := prices.estimate(work, measured)).is_less_in_fit:
        return None
    return (
        f"{found.programs} programs for {found.work.trials} trials would take about {found.compiling:.0f} s to "
        f"compile: the sweep at most {found.compiled:.0f} s, {found.fit:.0f} s in fit"
    )


def _programs(engine: Compiles, recipes: Sequence[Recipe], work: PlannedWork) -> int:
    """Return the expected number of programs: more trials bring more if most of the sampled ones have their own.

    Proposed trials bring fewer, unless their structures tell fewer programs apart than there are, as where a width is
    a float.
    """
    sample = recipes[: min(COUNTED_RECIPES, work.trials)]
    counted = engine.program_count(sample)
    if 2 * counted <= len(sample):
        return counted
    rules = frozenset(filter(None, (recipe.optimizer.shared_rule for recipe in sample)))
    are_told_apart = counted <= len({structure_key(each, rules) for recipe in sample for each in recipe.phases})
    saved = (1 - NEW_SHARE) * work.proposed if are_told_apart else 0
    return max(1, round(counted * (work.trials - saved) / len(sample)))


def _measured_epochs(
    engines: Sequence[Engine], recipes: Sequence[Recipe], dataset: Dataset, folder: Path
) -> list[float] | None:
    """Return the seconds of an epoch in each engine, of a typical recipe that trains; None if the first ones do not."""
    for recipe in _by_typical_updates(recipes, len(dataset.train))[:TRIED_RECIPES]:
        try:
            seconds = [_epoch_seconds(engine, recipe, dataset, folder) for engine in engines]
        except (MemoryError, OSError):
            raise
        except Exception:  # a user's model may raise anything; its trials will report it
            continue
        if all(map(math.isfinite, seconds)):
            return seconds
    return None


def _by_typical_updates(recipes: Sequence[Recipe], rows: int) -> list[Recipe]:
    """Sort recipes by how near their updates in an epoch are to the mean: `fit` spends most of an epoch on these."""
    updates = [1 if each.optimizer.is_full_batch else math.ceil(rows / each.batch_size.size) for each in recipes]
    mean = sum(updates) / len(updates)
    order = sorted(range(len(recipes)), key=lambda place: abs(updates[place] - mean))
    return [recipes[place] for place in order]


def _epoch_seconds(engine: Engine, recipe: Recipe, dataset: Dataset, folder: Path) -> float:
    """Return the seconds of an epoch after the first; infinite if the training ends after it.

    Of many examples a part is measured, in an engine of its own. A compiled engine trains twice: its first call may
    compute both epochs, and includes the compilation.
    """
    validation = dataset.without_weights(dataset.validation)
    share = min(1.0, MEASURED_EXAMPLES / (len(dataset.train) + len(validation)))
    if share < 1.0:
        count, held_out = (max(1, int(share * len(each))) for each in (dataset.train, validation))
        first = few_rows(dataset, dataset.train, count, weights_of_classes(dataset, [recipe.training]))
        dataset = replace(dataset, train=first, validation=few_rows(dataset, validation, held_out))
        engine = make_same_engine(engine, dataset, folder)
    recipe = replace(recipe, stopping=StoppingSettings("none"))
    seconds: list[float] = []
    for _ in range(2 if isinstance(engine, Compiles) else 1):
        outcome = train(engine, recipe, dataset, epochs=2, seed=0, monitor="val_loss", direction="minimize")
        seconds = outcome.curves[reported_names.SECONDS]
    return min(seconds) / share if len(seconds) > 1 else math.inf
