"""The provenance of a sweep: the commit of the study's folder, and the environment."""

import hashlib
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from nightune.settings import read_settings
from nightune.tasks.tracking.store import names

PACKAGES = ("nightune", "keras", "tensorflow", "jax", "numpy", "scikit-learn", "pandas", "mlflow-skinny", "prefect")


def commit_tags(folder: Path) -> dict[str, str]:
    """Return tags with the git commit of a folder and whether files differ from it; empty outside a repository."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return {}
    is_changed = bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))
    return {names.MLFLOW_COMMIT: commit, names.GIT_CHANGED: str(is_changed).lower()}


def environment() -> dict[str, object]:
    """Return Python, platform, processors and the versions of the packages that affect results."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "keras_backend": read_settings().keras_backend,
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
    }


def installed_packages() -> str:
    """Identify Python and all installed packages with their versions: 16 hexadecimal digits."""
    folders = [Path(folder) for folder in dict.fromkeys(sys.path) if folder and Path(folder).is_dir()]
    packages = {path.name for folder in folders for path in folder.glob("*.dist-info")}
    return hashlib.sha256(f"{platform.python_version()} {sorted(packages)}".encode()).hexdigest()[:16]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
