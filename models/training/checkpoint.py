"""Checkpoints: the best epoch's model as one `.keras` file that any Keras 3 loads alone."""

import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from cachetools import LRUCache

from nightune.models.error_causes import cause_of
from nightune.models.errors import InputError
from nightune.models.training.engine import Engine
from nightune.models.training.keras_file import Template, learn_template
from nightune.models.training.loop import Outcome
from nightune.models.training.model_key import has_dropout_as_data, model_key
from nightune.models.user_code import source_digest
from nightune.vocabulary import ARCHITECTURE

KEPT_TEMPLATES = 32  # the least recently used one goes
TEMPLATE_BYTES = 2**26  # a larger model is written by Keras each time: a template is held in memory


class Checkpoints:
    """Writes the checkpoints of an engine's trials.

    For each shape of model Keras writes a file once; later trials' weights are filled into what it wrote. That takes a
    fraction of the time, and no Keras, whose global state belongs to the thread that trains.
    """

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine, self._folder = engine, folder
        self._templates: LRUCache[tuple[str, str], Template | None] = LRUCache(KEPT_TEMPLATES)

    def prepare(self, outcome: Outcome, path: Path) -> Callable[[], bool]:
        """Return what writes the best epoch's model to `path`, from any thread; it says whether there is one.

        Raises InputError for a model that Keras cannot write.
        """
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
        model: list[Any] = []  # built once for both files, only if there is no template yet

        def write(weights: list[np.ndarray]) -> bytes:
            if not model:
                model.append(self._engine.model(outcome.recipe, weights))
            model[0].set_weights(weights)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.keras"
                save(model[0], path)
                return path.read_bytes()

        recipe = outcome.recipe
        key = (keras.config.dtype_policy().name, model_key(recipe, source_digest(recipe.architecture, self._folder)))
        if key not in self._templates:
            self._templates[key] = learn_template(write, outcome.weights)
        return self._templates[key]


def save_checkpoint(engine: Engine, outcome: Outcome, path: Path) -> bool:
    """Write the best epoch's model; without a finite epoch there is none, and False is returned."""
    if outcome.best_epoch == 0:
        return False
    save(engine.model(outcome.recipe, outcome.weights), path)
    return True


def save(model: Any, path: Path) -> None:
    """Write a model to `path`, whole or not at all; InputError if it is one that Keras cannot write."""
    unfinished = path.with_name(f".{path.stem}-{os.getpid()}.keras")
    try:
        with warnings.catch_warnings():
            # Keras 3.15 turns its variables into arrays in a way that NumPy 2 deprecates; goes when Keras is changed.
            warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
            model.save(unfinished)
        unfinished.replace(path)
    except (NotImplementedError, TypeError, ValueError) as error:  # a model class without a usable get_config
        message = f"the model cannot be saved as .keras: {cause_of(error)}"
        raise InputError(ARCHITECTURE, message) from error
    finally:
        unfinished.unlink(missing_ok=True)


def load(path: Path) -> Any:
    """Open a saved model without its optimizer; Keras' safe mode refuses a file that holds code."""
    return keras.saving.load_model(path, compile=False, safe_mode=True)


def parameter_count(path: Path) -> int:
    """How many numbers a saved model holds."""
    return int(load(path).count_params())
