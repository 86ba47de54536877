"""Stopping rules of the user: a function in a file, given in a study as `path/to/file.py:function`."""

from collections.abc import Mapping
from pathlib import Path

from nightune.models.errors import InputError
from nightune.models.techniques.stopping.state import StopFunction
from nightune.models.user_code import bind_function

KEY = "stopping.rule"


def load_stop_function(reference: str, folder: Path) -> StopFunction:
    """Return the user's function, checked at each call: it returns the reason to stop as a text, or None.

    Its argument is the curves so far by name (`loss`, `val_loss`, …), one value per epoch. InputError gives the file,
    the function and the error.
    """
    function = bind_function(reference, folder, KEY)

    def stop(curves: Mapping[str, list[float]]) -> str | None:
        reason = function(curves)
        if reason is None or (isinstance(reason, str) and reason):
            return reason
        raise InputError(KEY, f"{reference} returned {reason!r} (allowed: a text, the reason to stop, or None)")

    return stop
