"""A build contains every file of the packages and nothing else, and works without a checkout."""

import tarfile
import zipfile
from pathlib import Path

import pytest

import nightune
from tests.packaging.conftest import Installed, tracked_files

FOLDERS = ("flows", "tasks", "tuning", "models")

STUDY = """
question = "Which rate is best on flowers?"
[data]
source = "iris"
[model]
architecture = "mlp"
units = [[4]]
[space]
learning_rate.peak = { low = 1e-3, high = 1e-1, scale = "log" }
[search]
method = "random"
trials = 2
epochs = 2
"""


def package_files() -> set[str]:
    """The files of the packages as they are installed."""
    inside = {f"nightune/{name}" for name in tracked_files() if name.split("/")[0] in FOLDERS}
    own = {name for name in tracked_files() if name.startswith("nightune/") and not Path(name).is_symlink()}
    return inside | own


def test_the_wheel_holds_the_packages_and_nothing_else(distributions: Path) -> None:
    (wheel,) = distributions.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    about = f"nightune-{nightune.__version__}.dist-info/"
    assert {name for name in names if not name.startswith(about)} == package_files()
    assert "nightune/py.typed" in names
    assert any(name.startswith(about) and name.endswith("LICENSE") for name in names)


def test_the_sdist_holds_what_a_wheel_is_built_from(distributions: Path) -> None:
    (sdist,) = distributions.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {member.name.split("/", 1)[1] for member in archive.getmembers() if member.isfile()}
    tree = {name for name in tracked_files() if name.split("/")[0] in FOLDERS}
    assert tree <= names
    assert {"pyproject.toml", "setup.py", "README.md", "LICENSE", "nightune/__init__.py", "nightune/py.typed"} <= names
    assert {name for name in names if name.endswith(".py")} <= set(tracked_files())


def test_every_folder_with_modules_is_a_package() -> None:
    modules = [Path(name) for name in tracked_files() if name.split("/")[0] in FOLDERS and name.endswith(".py")]
    assert [str(module) for module in modules if not (module.parent / "__init__.py").exists()] == []


def test_the_installed_wheel_is_not_this_checkout(from_wheel: Installed, tmp_path: Path) -> None:
    done = from_wheel.run_code("import nightune; print(nightune.__version__, nightune.__file__)", tmp_path)
    version, file = done.stdout.split()
    assert version == nightune.__version__
    assert Path(file).is_relative_to(from_wheel.python.parent.parent)


def test_help_and_check_work_from_another_folder(from_wheel: Installed, tmp_path: Path) -> None:
    studies, elsewhere = tmp_path / "studies", tmp_path / "elsewhere"
    studies.mkdir()
    elsewhere.mkdir()
    (studies / "flowers.toml").write_text(STUDY)
    shown = from_wheel.run("--help", folder=elsewhere)
    assert shown.returncode == 0, shown.stderr
    assert "tune" in shown.stdout
    checked = from_wheel.run("check", "--no-build", studies / "flowers.toml", folder=elsewhere)
    assert checked.returncode == 0, checked.stderr
    assert not list(elsewhere.iterdir())


@pytest.mark.nights
def test_a_study_in_another_folder_is_tuned(from_wheel: Installed, tmp_path: Path) -> None:
    studies, elsewhere = tmp_path / "studies", tmp_path / "elsewhere"
    studies.mkdir()
    elsewhere.mkdir()
    (studies / "flowers.toml").write_text(STUDY)
    done = from_wheel.run("tune", studies / "flowers.toml", "--json", folder=elsewhere)
    assert done.returncode == 0, done.stderr
    assert '"finished": 2' in done.stdout
    assert [path.name for path in studies.iterdir()] == ["flowers.toml"]
    assert [path.name for path in elsewhere.iterdir()] == ["mlruns"]
