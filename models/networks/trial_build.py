"""Build a model before any training, to report what its function raises or returns."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nightune.models.errors import InputError
from nightune.models.networks.architectures import build_model
from nightune.models.user_code import is_reference, load_function
from nightune.vocabulary import ARCHITECTURE


def build_problem(
    architecture: str, parameters: Mapping[str, Any], input_shape: tuple[int, ...], output_size: int, folder: Path
) -> InputError | None:
    """Return what prevents the model from being built, with file and line of the user's function; None if it is built.

    A build for which the host has too little memory is no problem of the study: its trial reports it.
    """
    import keras  # noqa: PLC0415 - Keras takes seconds; a study is read without it

    try:
        keras.backend.clear_session(free_memory=False)
        build_model(architecture, parameters, input_shape, output_size, folder=folder, seed=0)
    except MemoryError:
        return None
    except SystemExit as error:
        return InputError(ARCHITECTURE, f"{architecture} ended the process: SystemExit({error.code!r})")
    except InputError as error:
        return error if "(line " in error.message else _located(error, architecture, folder)
    return None


def _located(error: InputError, architecture: str, folder: Path) -> InputError:
    """Add where the function begins to an error that no line of it raised: a wrong result, a missing argument."""
    if not is_reference(architecture):
        return error
    try:
        function = inspect.unwrap(load_function(architecture, folder, ARCHITECTURE))
        line = inspect.getsourcelines(function)[1]
    except (InputError, OSError, TypeError, ValueError):  # not a function with a source: a callable object
        return error
    name = Path(architecture.rpartition(":")[0]).name
    return InputError(error.key, f"{error.message} (line {line} of {name})")
