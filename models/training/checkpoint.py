"""Checkpoints: the best epoch's model as one `.keras` file that any Keras 3 loads alone."""

import os
import warnings
from pathlib import Path
from typing import Any

from models.errors import InputError
from models.training.engine import Engine
from models.training.loop import Outcome


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
        lines = str(error).strip().splitlines() or ["no message"]
        message = f"the model cannot be saved as .keras: {type(error).__name__}: {lines[0]}"
        raise InputError("model.architecture", message) from error
    finally:
        unfinished.unlink(missing_ok=True)


def load(path: Path) -> Any:
    """Open a saved model without its optimizer; Keras' safe mode refuses a file that holds code."""
    import keras  # noqa: PLC0415 - seconds, and only where a model is opened

    return keras.saving.load_model(path, compile=False, safe_mode=True)


def parameter_count(path: Path) -> int:
    """How many numbers a saved model holds."""
    return int(load(path).count_params())
