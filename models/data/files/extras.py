"""Libraries that only some files need, installed as extras of Nightune."""

import importlib
from types import ModuleType

from nightune.models.errors import InputError


def imported(module: str, extra: str, what: str) -> ModuleType:
    """Import a library; InputError with the command that installs it, if it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            "data.source", f"{what} need the package {module}: pip install {module}, or nightune with [{extra}]"
        ) from error
