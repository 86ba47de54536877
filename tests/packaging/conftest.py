"""A wheel and an sdist of the tracked files, and Nightune installed from them or for development."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Installed:
    """An environment with Nightune in it; commands run without variables that point to this checkout."""

    python: Path

    def run(self, *arguments: str | Path, folder: Path, seconds: float = 300) -> "subprocess.CompletedProcess[str]":
        """Run the command line in a folder."""
        command = [str(self.python.with_name("nightune")), *map(str, arguments)]
        return self._run(command, folder, seconds)

    def run_code(self, code: str, folder: Path) -> "subprocess.CompletedProcess[str]":
        """Run Python code in a folder, which `-c` puts on the path."""
        return self._run([str(self.python), "-c", code], folder, 60)

    def _run(self, command: list[str], folder: Path, seconds: float) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command,
            cwd=folder,
            env=self.environment(folder),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def environment(self, folder: Path) -> dict[str, str]:
        """The environment of a person who works in a folder, with the store there."""
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PREFECT_API_URL")}
        return kept | {"NIGHTUNE_STORE": str(folder / "mlruns")}


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel and an sdist, built from a copy of the tracked files."""
    copy = tmp_path_factory.mktemp("tree")
    for name in tracked_files():
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target, follow_symlinks=False)
    built = tmp_path_factory.mktemp("dist")
    # From the sdist, as an index would: what the sdist lacks, the wheel lacks.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(built), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return built


def tracked_files() -> list[str]:
    """Return the files of the checkout that git tracks and that exist, relative to its root."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.splitlines() if os.path.lexists(ROOT / name)]


@pytest.fixture(scope="session")
def from_wheel(distributions: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Nightune installed from the wheel into its own environment.

    The dependencies are those of this environment, by their folder: `.pth` files there, which make this checkout
    importable, are not followed.
    """
    folder = tmp_path_factory.mktemp("wheel") / "venv"
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    python = next(path for path in (folder / "bin" / "python", folder / "Scripts" / "python.exe") if path.exists())
    (wheel,) = distributions.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    paths = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    (Path(paths.stdout.strip()) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return Installed(python)


@pytest.fixture(params=[pytest.param("editable", marks=pytest.mark.nights), "wheel"])
def installed(request: pytest.FixtureRequest) -> Installed:
    """Nightune installed for development, and from the wheel."""
    if request.param == "wheel":
        wheel: Installed = request.getfixturevalue("from_wheel")
        return wheel
    return Installed(Path(sys.executable))
