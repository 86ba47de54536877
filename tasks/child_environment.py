"""The environment of a child process that imports what this one can import."""

import os
import sys


def child_environment() -> dict[str, str]:
    """Return this process' variables, with the folders of its imports in PYTHONPATH, the working folder left out."""
    folders = [path for path in sys.path if path and isinstance(path, str)]  # Python ignores others than texts
    return os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
