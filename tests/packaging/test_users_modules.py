"""A user's own modules may be named like ours: models.py, tasks.py, tuning.py and a package flows."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.serving import Served
from tests.packaging.conftest import Installed

STUDY = """
question = "How wide?"
[data]
source = "data.py:flowers"
[model]
architecture = "models.py:build"
width = [2, 4]
[search]
method = "grid"
epochs = 1
[promotion]
replicates = 2
[confirmation]
finalists = 1
replicates = 2
"""

FILES = {
    "models.py": """
import keras
from tasks import activation


def build(input_shape, output_size, width: int = 2):
    from flows.layers import head  # when it is called

    return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(width, activation), head(output_size)])
""",
    "tasks.py": "from tuning import NAME\n\nactivation = NAME\n",
    "tuning.py": "NAME = 'relu'\n",
    "flows/__init__.py": "",
    "flows/layers.py": "import keras\n\n\ndef head(size):\n    return keras.layers.Dense(size)\n",
    "data.py": """
from sklearn.datasets import load_iris

import models  # the user's own


def flowers():
    assert models.build
    return load_iris(return_X_y=True)
""",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    for name, text in (FILES | {"flowers.toml": STUDY}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("command", ["check", pytest.param("tune", marks=pytest.mark.nights)])
def test_modules_named_like_ours_are_the_users_own(installed: Installed, project: Path, command: str) -> None:
    elsewhere = project.with_name("elsewhere")
    for name in ("models.py", "tasks.py", "tuning.py", "flows/__init__.py"):
        (elsewhere / name).parent.mkdir(parents=True, exist_ok=True)
        (elsewhere / name).write_text("raise RuntimeError('not the one beside the study')")
    options = ["--json", "--engine", "fit"] if command == "tune" else []
    done = installed.run(command, project / "flowers.toml", *options, folder=elsewhere)
    assert done.returncode == 0, done.stderr
    assert command == "check" or '"completed": 2' in done.stdout
    assert {path.name for path in project.iterdir()} == {name.split("/")[0] for name in (*FILES, "flowers.toml")}
    for name in ("models", "tasks", "tuning", "flows"):
        theirs = installed.run_code(f"import nightune.{name}, {name}; print({name}.__file__)", project)
        assert Path(theirs.stdout.strip()).is_relative_to(project), theirs.stderr


def test_our_packages_are_not_top_level_modules(from_wheel: Installed, tmp_path: Path) -> None:
    code = "from importlib.util import find_spec; print([find_spec(n) for n in ('flows', 'tasks', 'tuning', 'models')])"
    for installed in (from_wheel, Installed(Path(sys.executable))):
        assert installed.run_code(code, tmp_path).stdout.strip() == "[None, None, None, None]"


@pytest.fixture
def served(installed: Installed, project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A night of the study, served from the project's folder."""
    for name, value in installed.environment(project).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(project)
    service = Served(
        [Path("flowers.toml")], project / "serve.log", command=[str(installed.python.with_name("nightune"))]
    )
    service.start()
    yield service
    service.stop()


@pytest.mark.nights
def test_served_nights_import_the_users_own_modules(served: Served) -> None:
    served.wait(lambda: served.in_state("Completed"))
    assert served.in_state("Failed") == []
    assert served.in_state("Crashed") == []
