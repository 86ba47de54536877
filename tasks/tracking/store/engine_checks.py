"""Checks of the compiled engine that an earlier sweep passed, kept in the store's folder of compiled programs.

A check is remembered for exactly the same question: code of the study and of Nightune, packages, settings, devices,
prepared data, and contents of the study. Only agreement is kept: what failed or was decided by cost is checked anew.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from nightune.tasks.tracking.store.provenance import installed_packages

FOLDER = "checks"
MAXIMUM_CHECKS = 200  # of a store; the oldest are deleted first


def check_key(question: Mapping[str, object]) -> str:
    """Return the digest of a check's question, with Python and all installed packages."""
    text = json.dumps({"packages": installed_packages(), **question}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def read_agreement(compiled: Path, key: str) -> str:
    """Return how well the engines agreed in an earlier check; empty if there is none, or its file is damaged."""
    with suppress(OSError, ValueError):
        known = json.loads((compiled / FOLDER / f"{key}.json").read_text(encoding="utf-8"))
        if isinstance(known, dict) and known.get("key") == key:
            return str(known.get("agreement", ""))
    return ""


def keep_agreement(compiled: Path, key: str, agreement: str) -> None:
    """Keep how well the engines agreed; nothing where the disk cannot be written."""
    folder = compiled / FOLDER
    file, part = folder / f"{key}.json", folder / f".{key}.{os.getpid()}"
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            part.write_text(json.dumps({"key": key, "agreement": agreement}), encoding="utf-8")
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
        kept = sorted(folder.glob("*.json"), key=lambda each: each.stat().st_mtime, reverse=True)
        for old in kept[MAXIMUM_CHECKS:]:
            old.unlink(missing_ok=True)
