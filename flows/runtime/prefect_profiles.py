"""Read Prefect's profiles, without Prefect: it takes seconds to import, and only warns of an unknown one."""

import difflib
import os
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nightune.settings import read_settings


def profile_problems(root: Path) -> list[str]:
    """Return a line if PREFECT_PROFILE names no profile."""
    name = read_settings().prefect_profile
    if name is None or name in (known := _profiles(root)):
        return []
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return [f"PREFECT_PROFILE: {name!r} is no profile of {_file(root)} (known: {', '.join(sorted(known))}){hint}"]


def prefect_address(root: Path) -> str | None:
    """Return the address of the server that PREFECT_API_URL or the profile names, or None."""
    settings = read_settings()
    if settings.prefect_api_url or settings.prefect_profile is None:
        return settings.prefect_api_url
    address = _profiles(root).get(settings.prefect_profile, {}).get("PREFECT_API_URL")
    return address if isinstance(address, str) else None


def _profiles(root: Path) -> dict[str, dict[str, Any]]:
    """Prefect's own profiles and the user's."""
    package = find_spec("prefect")
    folders = list(package.submodule_search_locations or []) if package else []
    found: dict[str, dict[str, Any]] = {}
    for file in [*(Path(folder) / "settings" / "profiles.toml" for folder in folders), _file(root)]:
        try:
            found |= tomllib.loads(file.read_text(encoding="utf-8")).get("profiles", {})
        except (OSError, ValueError):  # Prefect reports a file that it cannot read
            continue
    return found


def _file(root: Path) -> Path:
    named = os.environ.get("PREFECT_PROFILES_PATH")
    home = Path(os.environ.get("PREFECT_HOME") or root / "prefect")
    return (Path(named) if named else home / "profiles.toml").expanduser()
