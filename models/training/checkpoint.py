"""Checkpoints: the best epoch's model as a self-contained `.keras` file for any Keras 3.

A model that contains code of its author becomes an archive with that code instead (models/serving/rebuilt_model.py).
"""

import math
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from cachetools import LRUCache

from nightune.models.data.dataset import Dataset
from nightune.models.error_causes import cause_of
from nightune.models.errors import InputError
from nightune.models.networks.own_code import has_own_code
from nightune.models.networks.packed_models import plain_model
from nightune.models.serving.rebuilt_model import ARCHIVE, is_rebuilt, open_rebuilt, read_manifest
from nightune.models.training.engine import Engine
from nightune.models.training.keras_file import Template, learn_template
from nightune.models.training.loop import Outcome
from nightune.models.training.model_key import has_dropout_as_data, model_key
from nightune.models.training.rebuilding import Rebuilding, learn_rebuilding
from nightune.models.user_code import is_reference, source_digest
from nightune.vocabulary import ARCHITECTURE

KEPT_TEMPLATES = 32  # the least recently used one is dropped
TEMPLATE_BYTES = 2**26  # Keras writes larger models each time, because templates are kept in memory


class Checkpoints:
    """Writes the checkpoints of an engine's trials.

    Keras writes one file for each shape of model, and later trials' weights are filled into a copy of it. That takes a
    fraction of the time and does not use Keras, whose global state belongs to the training thread.
    """

    def __init__(self, engine: Engine, folder: Path, dataset: Dataset) -> None:
        self._engine, self._folder, self._dataset = engine, folder, dataset
        self._templates: LRUCache[tuple[str, str], Template | None] = LRUCache(KEPT_TEMPLATES)
        self._rebuildings: LRUCache[tuple[str, str], Rebuilding | None] = LRUCache(KEPT_TEMPLATES)

    def prepare(self, outcome: Outcome, path: Path) -> Callable[[], bool]:
        """Return a function that writes the best epoch's model to `path`, from any thread, and returns if there is one.

        The archive of a model that contains code of its author is written beside `path`, under the name ARCHIVE.
        Raise InputError for a model that Keras cannot write.
        """
        rebuilding = self._rebuilding(outcome) if outcome.best_epoch else None
        if rebuilding is not None:
            return partial(_write_archive, rebuilding, outcome.weights, path.with_name(ARCHIVE))
        template = self._template(outcome) if outcome.best_epoch else None
        if template is None:
            is_saved = save_checkpoint(self._engine, outcome, path)
            return lambda: is_saved
        weights, recipe = outcome.weights, outcome.recipe
        dropout = recipe.model["dropout"] if has_dropout_as_data(recipe) else None

        def write() -> bool:
            path.write_bytes(template.fill(weights, dropout))
            return True

        return write

    def _template(self, outcome: Outcome) -> Template | None:
        if sum(weight.nbytes for weight in outcome.weights) > TEMPLATE_BYTES:
            return None
        model: list[Any] = []  # built once for both files, and only without a template

        def write(weights: list[np.ndarray]) -> bytes:
            if not model:
                model.append(self._engine.model(outcome.recipe, weights))
            model[0].set_weights(weights)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.keras"
                save(model[0], path)
                return path.read_bytes()

        key = self._key(outcome)
        if key not in self._templates:
            self._templates[key] = learn_template(write, outcome.weights)
        return self._templates[key]

    def _rebuilding(self, outcome: Outcome) -> Rebuilding | None:
        """Return how to save a model with code of its author; None for models of Keras' own layers alone."""
        recipe, key = outcome.recipe, self._key(outcome)
        if not is_reference(recipe.architecture):
            return None
        if key not in self._rebuildings:
            model = self._engine.model(recipe, outcome.weights)
            is_own = has_own_code(model)
            self._rebuildings[key] = learn_rebuilding(model, recipe, self._dataset, self._folder) if is_own else None
        return self._rebuildings[key]

    def _key(self, outcome: Outcome) -> tuple[str, str]:
        code = source_digest(outcome.recipe.architecture, self._folder)
        return keras.config.dtype_policy().name, model_key(outcome.recipe.as_built, code)


def _write_archive(rebuilding: Rebuilding, weights: Sequence[np.ndarray], path: Path) -> bool:
    path.write_bytes(rebuilding.archive(weights))
    return True


def save_checkpoint(engine: Engine, outcome: Outcome, path: Path) -> bool:
    """Write the best epoch's model; return False if no epoch was finite."""
    if outcome.best_epoch == 0:
        return False
    save(engine.model(outcome.recipe, outcome.weights), path)
    return True


def save(model: Any, path: Path) -> None:
    """Write a model to `path` atomically; raise InputError if Keras cannot write it."""
    unfinished = path.with_name(f".{path.stem}-{os.getpid()}.keras")
    try:
        with warnings.catch_warnings():
            # NumPy 2 deprecates how Keras 3.15 converts its variables to arrays; ends with Keras' fix.
            warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
            plain_model(model).save(unfinished)
        unfinished.replace(path)
    except (NotImplementedError, TypeError, ValueError) as error:  # a model class without a usable get_config
        message = f"the model cannot be saved as .keras: {cause_of(error)}"
        raise InputError(ARCHITECTURE, message) from error
    finally:
        unfinished.unlink(missing_ok=True)


def load(path: Path) -> Any:
    """Load a checkpoint without its optimizer: an archive is rebuilt by the code in it.

    Keras' safe mode refuses a `.keras` file that contains code.
    """
    if is_rebuilt(path):
        return open_rebuilt(path)
    return keras.saving.load_model(path, compile=False, safe_mode=True)


def parameter_count(path: Path) -> int:
    """Return the number of parameters of a checkpoint."""
    if is_rebuilt(path):
        known = read_manifest(path).variables
        return sum(math.prod(each["shape"]) for each in known if each["is_weight"])
    return int(load(path).count_params())
