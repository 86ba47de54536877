"""Read a study file and check every name and value in it against what the models know."""

from pathlib import Path

from models.architectures import architecture_keys
from models.customary_ranges import customary_spaces
from models.recipe import KEYS
from tuning.study import Study, Vocabulary
from tuning.study import load_study as parse_study


def load_study(path: Path, *, trials: int | None = None, epochs: int | None = None, seed: int | None = None) -> Study:
    """Return the study in the file, with overrides of the command line; StudyError names every problem at once."""
    folder = path.resolve().parent
    vocabulary = Vocabulary(KEYS, lambda name: architecture_keys(name, folder), customary=customary_spaces())
    return parse_study(path, vocabulary, trials=trials, epochs=epochs, seed=seed)
