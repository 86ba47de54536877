"""Write the study that trains one trial's params again, such as the schedule that a population found."""

from pathlib import Path

from nightune.models.errors import InputError
from nightune.models.recipe.params import silent_defaults
from nightune.tasks.load_study import load_study
from nightune.tasks.output_files import refuse_bad_copy
from nightune.tasks.propose_trials import complete_params
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.records import optional_file
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.sweeps import Sweep, parse_content
from nightune.tuning.errors import StudyError
from nightune.tuning.study.repeat import Seeds, repeating_study
from nightune.tuning.study.section import LIMIT_SEED
from nightune.tuning.trial import Trial

KEY = "--write"


def write_repeat(store: Store, sweep: Sweep, trial: Trial, study_file: Path, copy: Path) -> None:
    """Write a study in the folder of the sweep's, whose only point are the trial's params; its trials have new seeds.

    StudyError or InputError, and no file, if it cannot be written, or would train other params.
    """
    refuse_bad_copy(study_file, copy)
    content = optional_file(store, sweep.run_id, names.STUDY_CONTENT, parse_content)
    if content is None:
        raise InputError(KEY, f"{sweep.id}: its study is not recorded; name another sweep")
    question = f"Does trial {trial.number} of {sweep.id} hold with other seeds?"
    epochs = int(content["search"]["epochs"])
    seeds = Seeds(of_trials=_next_seed(int(content["seed"])), of_split=int(content["seed"]))
    text = repeating_study(study_file.read_text(encoding="utf-8-sig"), question, seeds, epochs, trial.params)
    if text is None:
        raise InputError(KEY, f"the values of trial {trial.number} cannot be written into the text of {study_file}")
    with copy.open("x", encoding="utf-8") as file:
        file.write(text)
    try:
        _refuse_other_params(copy, trial)
    except BaseException:
        copy.unlink()
        raise


def _next_seed(seed: int) -> int:
    """Return another seed of a study: the trials of the first sweep have seeds that depend on it."""
    return (seed + 1) % (LIMIT_SEED + 1)


def _refuse_other_params(copy: Path, trial: Trial) -> None:
    """Raise InputError unless the study of the file trains the trial's params."""
    try:
        study = load_study(copy)
    except StudyError as error:
        said = "; ".join(f"{each.key}: {each.message}" for each in error.problems)
        raise InputError(KEY, f"the study of trial {trial.number} is refused, so it is not kept ({said})") from error
    (point,) = study.draw(study.space, 1, [], study.sweep_seed(0))
    found = {**silent_defaults(), **complete_params(study, point)}
    wanted = {**silent_defaults(), **trial.params}
    other = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
    if other:
        raise InputError(KEY, f"trial {trial.number} has other values of {', '.join(other)} than a study can fix")
