"""The model folder of a candidate, written as for registration, so that the gate measures what would be served."""

import json
import shutil
from pathlib import Path
from typing import Any

from nightune.models.data.names_of_studies import NAMES, names_for
from nightune.models.errors import InputError
from nightune.models.serving.predictor import DESCRIPTION
from nightune.tasks.measure_candidate import Contender
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.registry.model_folder import place_model, write_model_folder
from nightune.tasks.tracking.sweeps.sweeps import fetch_study
from nightune.tasks.tracking.trials.checkpoints import fetch_checkpoint, why_unopened
from nightune.tasks.trial.interrupts import interrupts_raised
from nightune.tuning.analysis.promotion_gate import Candidate
from nightune.tuning.errors import Problem, StudyError


class UnopenedError(Exception):
    """The candidate's model cannot be opened; the text says why."""


def candidate_contender(setting: Setting, candidate: Candidate, dataset: Any, head: Any, folder: Path) -> Contender:
    """Build the candidate's folder as for registration, and fetch its siblings."""
    files = []
    for number, run_id in enumerate(candidate.siblings):
        place = folder / f"sibling-{number}"
        place.mkdir()
        files.append(fetch_checkpoint(setting.store, run_id, place))
    return Contender(write_candidate(setting, candidate, dataset, head, folder), tuple(files))


def write_candidate(setting: Setting, candidate: Candidate, dataset: Any, head: Any, folder: Path) -> Path:
    """Write the candidate's model folder below `folder`, and return it; UnopenedError if the model does not open."""
    from nightune.models.data.storage import preprocessing_files  # noqa: PLC0415
    from nightune.models.networks.thresholds import described_threshold  # noqa: PLC0415 - Keras
    from nightune.models.serving.predictor import open_model  # noqa: PLC0415

    parts = folder / "parts"
    parts.mkdir()
    model = place_model(fetch_checkpoint(setting.store, candidate.run_id, folder), parts)
    try:
        with interrupts_raised():
            opened = open_model(model)
    except MemoryError:
        raise
    except Exception as error:  # what a damaged file, a Lambda layer or a lost class raises is up to Keras
        raise UnopenedError(why_unopened(error)) from error
    for file in preprocessing_files(setting.data.folder):
        shutil.copyfile(file, parts / file.name)
    decided = described_threshold(setting.study.objective.threshold, opened, dataset, head)
    made_of = {"sweep": candidate.sweep, "trial": candidate.trial, "run_id": candidate.run_id}
    described = {name: each for name, each in dataset.description.items() if name != NAMES} | _names(setting, dataset)
    description = {**described, **head.description, **decided, "made_of": made_of}
    text = json.dumps(description, indent=2, ensure_ascii=False, allow_nan=False)
    (parts / DESCRIPTION).write_text(text + "\n", encoding="utf-8")
    fetch_study(setting.store, setting.sweep, parts)
    return write_model_folder(parts, dataset.raw_example, folder / "model")


def _names(setting: Setting, dataset: Any) -> dict[str, list[str]]:
    """Return the names of classes of the setting's study, which other studies on the same data do not share."""
    study = setting.study
    try:
        return names_for(dataset, setting.data.folder, study.name, study.data.class_names)
    except InputError as error:  # the file has changed since
        raise StudyError(str(study.path), [Problem(error.key, error.message)]) from error
