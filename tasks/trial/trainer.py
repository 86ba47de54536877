"""Keep one engine, with its compiled programs and its data, from cohort to cohort."""

import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nightune.models.data.dataset import Dataset
    from nightune.models.training.checkpoint import Checkpoints
    from nightune.models.training.engine import Engine
    from nightune.models.training.halted import HaltedTrainings

logger = logging.getLogger("nightune")


@dataclass(frozen=True)
class Trainer:
    """The engine of a sweep, its data, its checkpoints, and the trainings halted at a rung."""

    engine: "Engine"
    dataset: "Dataset"
    checkpoints: "Checkpoints"
    halted: "HaltedTrainings"


@lru_cache(maxsize=1)
def make_trainer(engine_name: str, data_folder: Path, study_folder: Path, compiled: Path) -> Trainer:
    """Create the engine with its data, or return the trainer of the last call with the same arguments."""
    from nightune.models.backend import load_keras  # noqa: PLC0415 - Keras, only if something is trained
    from nightune.models.data.storage import data_placement, open_dataset  # noqa: PLC0415
    from nightune.models.engines.make import make_engine  # noqa: PLC0415
    from nightune.models.training.checkpoint import Checkpoints  # noqa: PLC0415
    from nightune.models.training.halted import HaltedTrainings  # noqa: PLC0415

    load_keras(compiled)
    dataset = open_dataset(data_folder)
    if dataset.is_on_disk:
        logger.info("data · kept on disk and read batch by batch: %s", data_placement(data_folder).reason)
    engine = make_engine(engine_name, dataset, study_folder)
    return Trainer(engine, dataset, Checkpoints(engine, study_folder, dataset), HaltedTrainings())
