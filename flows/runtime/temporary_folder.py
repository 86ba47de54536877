"""Check the folder for temporary files: Python uses another one without a word if the named one cannot be used."""

import os
import tempfile

VARIABLES = ("TMPDIR", "TEMP", "TMP")  # in the order in which Python reads them
PROBE = b"\0" * 2**20  # a full disk still creates empty files, and servers end without a message in a nearly full one


def temporary_folder_problems() -> list[str]:
    """Return a line if temporary files cannot be written to the folder that the environment names, or to any."""
    name = next((name for name in VARIABLES if os.environ.get(name)), None)
    try:
        folder = tempfile.gettempdir() if name is None else os.environ[name]
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(PROBE)
            file.flush()
    except OSError as error:
        allowed = "a folder that exists, can be written to and has free space (1 MiB at the least)"
        if name is None:
            return [f"TMPDIR: not set, and no usual folder takes temporary files; set it to {allowed}"]
        return [f"{name}: {os.environ[name]!r} takes no temporary files ({error.strerror}); allowed: {allowed}"]
    return []
