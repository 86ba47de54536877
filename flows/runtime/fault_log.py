"""Keep the full text of an error in a file: the terminal gets one paragraph that names it."""

import os
import platform
import shlex
import sys
import tempfile
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from nightune.settings import usable_settings
from nightune.tasks.tracking.store.retry import masked

FOLDER = "faults"  # in the store
PACKAGES = ("nightune", "keras", "tensorflow", "jax", "prefect", "mlflow", "numpy", "pandas")


def write_fault(error: BaseException) -> Path | None:
    """Write an error's traceback with command and versions, without passwords; return the file.

    The folder is the store's, or that for temporary files. None if neither can be written.
    """
    return write_fault_text("".join(traceback.format_exception(error)))


def write_fault_text(text: str) -> Path | None:
    """Write a text with command and versions, without passwords; return the file, or None if it cannot be written."""
    for folder in (usable_settings().store.resolve() / FOLDER, Path(tempfile.gettempdir())):
        file = folder / f"nightune-{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}.txt"
        with suppress(OSError):
            folder.mkdir(exist_ok=True)  # not the store itself
            with file.open("a", encoding="utf-8", errors="backslashreplace") as log:
                log.write(masked(f"{_about()}\n\n{text}\n"))
            return file
    return None


def _about() -> str:
    system = f"Python {platform.python_version()}, {platform.platform()}"
    return "\n".join([shlex.join(sys.argv), system, ", ".join(_versions())])


def _versions() -> list[str]:
    found = []
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return found
