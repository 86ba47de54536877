"""The library that draws the charts of the report: one script, kept in the store's folder of compiled programs.

Bundling it takes seconds, and the result depends on the versions of two packages alone.
"""

import hashlib
import os
from contextlib import suppress
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from nightune.models.errors import InputError

PACKAGE = "vl-convert-python"
VEGA_LITE = "6.4"  # one of those that the package brings
FILES = "charts-*.js"  # the digest of the script is its first line


def charts_library(folder: Path | None = None) -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script; InputError if their package is not installed.

    A file in the folder is used if its content has its digest; else the script is bundled, and replaces earlier files.
    """
    file = None if folder is None else _file(folder)
    kept = "" if file is None else _read(file)
    if file is None or kept:
        return kept or _bundle()
    script = _bundle()
    _keep(file, script)
    return script


def is_kept(folder: Path) -> bool:
    """Return whether the folder has the script; True as well where its package is missing, which the report says."""
    try:
        return _file(folder).exists()
    except InputError:
        return True


def _file(folder: Path) -> Path:
    return folder / f"charts-{_version()}-{VEGA_LITE}.js"


def _version() -> str:
    try:
        return metadata.version(PACKAGE)
    except metadata.PackageNotFoundError as error:  # an earlier installation lacks it
        raise _missing(error) from error


def vl_convert_module() -> Any:
    """Return the package that draws charts; InputError if it is not installed."""
    try:
        import vl_convert  # noqa: PLC0415 - only the report needs it
    except ImportError as error:
        raise _missing(error) from error
    return vl_convert


@lru_cache(maxsize=1)
def _bundle() -> str:
    script: str = vl_convert_module().javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE).strip()
    if "</script" in script or "<!--" in script:
        raise ValueError("vl_convert: its script cannot stand in a page")
    return script


def _missing(error: ImportError) -> InputError:
    remedy = f"install Nightune's dependencies again, or: pip install {PACKAGE}"
    return InputError("report", f"the charts need the package {PACKAGE} ({error}); {remedy}")


def _read(file: Path) -> str:
    """Return the script of a file, empty if there is none or it is damaged."""
    with suppress(OSError, ValueError):
        digest, _, script = file.read_bytes().partition(b"\n")
        if digest.decode() == _digest(script):
            return script.decode()
    return ""


def _keep(file: Path, script: str) -> None:
    """Write the file in one step, and delete those of other versions; without disk space or permission, keep none."""
    content = script.encode()
    part = file.with_suffix(f".{os.getpid()}.part")
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(f"{_digest(content)}\n".encode() + content)
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
        for other in file.parent.glob(FILES):
            if other != file:
                other.unlink(missing_ok=True)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
