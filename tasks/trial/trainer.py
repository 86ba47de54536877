"""Keep one engine, with its compiled programs and its data, from cohort to cohort."""

import logging
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

from nightune.models.techniques.optimizers.optimizers import OptimizerSettings
from nightune.models.training import reported_names
from nightune.models.training.engine import Compilation, Compiles
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.setting import Setting
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.study.budgets import planned_epochs
from nightune.tuning.study.study import Study
from nightune.tuning.trial import Trial

if TYPE_CHECKING:
    from nightune.models.data.dataset import Dataset
    from nightune.models.training.checkpoint import Checkpoints
    from nightune.models.training.engine import Engine
    from nightune.models.training.halted import HaltedTrainings

FEW_EXAMPLES = 2**20  # of all epochs of all trials: 48 trials of 20 epochs of 1,078 rows

logger = logging.getLogger("nightune")


@dataclass(frozen=True)
class Trainer:
    """The engine of a sweep, its data, its checkpoints, the trainings halted at a rung, and engines of folds.

    `considered` are the keys of trials whose programs need not be compiled ahead any more.
    """

    engine: "Engine"
    dataset: "Dataset"
    checkpoints: "Checkpoints"
    halted: "HaltedTrainings"
    folds: "tuple[Engine, ...]" = ()
    considered: set[str] = field(default_factory=set)

    def of_trial(self, engine: "Engine", trial: Trial) -> "Engine":
        """Return the engine of a trial's training: with folds, one that trains on all of them in step.

        A replicate of a finalist also trains on all rows outside the test split: its model may be promoted. `engine` is
        the trainer's, or one that waits for other trainings.
        """
        from nightune.models.training.folds import FoldsEngine  # noqa: PLC0415 - Keras

        if not self.folds:
            return engine
        return cast(
            "Engine", FoldsEngine(engine, self.folds, trains_all_rows=trial.replicate > 0 and trial.step is None)
        )


def trainer_of(setting: Setting) -> Trainer:
    """Return the trainer of a sweep, as its run records it."""
    sweep = setting.sweep
    return make_trainer(sweep.engine, setting.data, setting.study, setting.store.compiled, sweep.accumulates_blocks)


def accumulates_blocks(engine_name: str, data: PreparedData, study: Study) -> bool:
    """Return whether a new sweep adds up batches from blocks: on JAX, if it trains few examples (decision 130).

    Ask once, before the first trial, and record the answer: the study may get more trials, and both ways round
    differently.
    """
    examples = planned_epochs(study.search, study.brackets) * data.sizes["train"]
    return engine_name == reported_names.JAX and examples <= FEW_EXAMPLES


def make_trainer(
    engine_name: str, data: PreparedData, study: Study, compiled: Path, accumulates_blocks: bool
) -> Trainer:
    """Create the engine of a sweep with its data, or return the trainer of the last call for the same ones."""
    of_study = _OfStudy(shared_rules_of(study.space), accumulates_blocks)
    return _make_trainer(engine_name, data.folder, study.path.parent, compiled, of_study)


@dataclass(frozen=True)
class _OfStudy:
    """What an engine knows of a study: the rules of its optimizers, and how JAX adds up batches."""

    rules: frozenset[str]
    accumulates_blocks: bool


def compilation_of(engine: "Engine") -> Compilation:
    """Return what an engine has compiled so far: nothing if it compiles no programs of its own."""
    return engine.compilation if isinstance(engine, Compiles) else Compilation(0, 0.0)


def shared_rules_of(space: SearchSpace) -> frozenset[str]:
    """Return the rules that the optimizers of a study's trials can have, as far as they can share a program."""
    corrects = {True, *map(bool, space.options("bias_correction"))}
    found = (
        OptimizerSettings(str(kind), bias_correction=is_corrected).shared_rule
        for kind in space.options("optimizer")
        for is_corrected in corrects
    )
    return frozenset(filter(None, found))


@lru_cache(maxsize=1)
def _make_trainer(
    engine_name: str, data_folder: Path, study_folder: Path, compiled: Path, of_study: _OfStudy
) -> Trainer:
    from nightune.models.backend import load_keras  # noqa: PLC0415 - Keras, only if something is trained
    from nightune.models.data.storage import data_placement, open_dataset  # noqa: PLC0415
    from nightune.models.engines.make import make_engine  # noqa: PLC0415
    from nightune.models.training.checkpoint import Checkpoints  # noqa: PLC0415
    from nightune.models.training.halted import HaltedTrainings  # noqa: PLC0415

    load_keras(compiled)
    dataset = open_dataset(data_folder)
    if dataset.is_on_disk:
        logger.info("data · kept on disk and read batch by batch: %s", data_placement(data_folder).reason)
    rules, accumulates = of_study.rules, of_study.accumulates_blocks
    engine = make_engine(engine_name, dataset, study_folder, rules=rules, accumulates_blocks=accumulates)
    checkpoints, folds = Checkpoints(engine, study_folder, dataset), map(engine.of_fold, dataset.folds)
    return Trainer(engine, dataset, checkpoints, HaltedTrainings(), tuple(folds))
