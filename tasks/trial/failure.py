"""Describe why a trial failed: the cause in one line for the user, and the traceback for its run."""

import linecache
import traceback
from dataclasses import dataclass
from pathlib import Path

import nightune
from nightune import tasks
from nightune.models.error_causes import cause_of, users_line
from nightune.tasks.tracking.store.retry import masked
from nightune.tuning.analysis.failures import OUT_OF_DEVICE_MEMORY

_FOLDER = Path(tasks.__path__[0]).resolve().parent  # the checkout, or the installed package itself
PACKAGE_FOLDERS = (
    *(_FOLDER / name for name in ("flows", "tasks", "tuning", "models")),
    Path(nightune.__path__[0]).resolve(),  # settings, vocabulary and proxies
)


@dataclass(frozen=True)
class Failure:
    """The cause of a failure, for the terminal and the trial's run. Secrets in addresses are masked."""

    message: str  # one line
    traceback: str


def describe(error: Exception, study_folder: Path) -> Failure:
    """Describe the error of a trial; `study_folder` contains the user's own files."""
    line, cause = users_line(error, study_folder), cause_of(error)
    if line:
        cause = cause if line in cause else f"{cause} ({line})"
    elif OUT_OF_DEVICE_MEMORY not in cause and (where := _own_fault(error)):  # JAX hides its frames below our call
        cause = f"fault in Nightune: {cause} ({where}); please report it with error.txt of the trial's run"
    return Failure(masked(cause), masked("".join(traceback.format_exception(error))))


def is_ours(file: str | Path) -> bool:
    """Return True for a file of Nightune's packages; a virtual environment in the checkout is not among them."""
    return any(Path(file).resolve().is_relative_to(folder) for folder in PACKAGE_FOLDERS)


def _own_fault(error: Exception) -> str:
    """Return the line of Nightune's code that raised the error by mistake; empty for any other error.

    Errors of a `raise` statement concern the trial's params; errors that Python or NumPy raise in our code are bugs.
    """
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return ""
    file, number = Path(frames[-1].filename).resolve(), frames[-1].lineno or 0
    if not is_ours(file) or linecache.getline(frames[-1].filename, number).lstrip().startswith("raise"):
        return ""
    return f"line {number} of {file.parent.name}/{file.name}"
