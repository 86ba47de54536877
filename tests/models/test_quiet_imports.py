"""No output of a backend's start reaches the terminal, whoever imports it; what Python code prints and raises does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

NOISE = "E0000 cuda_dnn.cc: Unable to register cuDNN factory"
NOISY = f"import os\nos.write(2, b'{NOISE}\\n')\ndef start():\n    os.write(2, b'{NOISE}\\n')\n"
USERS = """
import os, sys
import tensorflow
tensorflow.start()
print("my own line", file=sys.stderr)
def build():
    tensorflow.start()
    print("my other line", file=sys.stderr)
    return 3
"""
CODE = """
from pathlib import Path
from nightune.models.quiet_imports import {names}
from nightune.models.user_code import call_function
{before}
call_function("net.py:build", Path.cwd(), "model.architecture")
"""


def run(folder: Path, code: str, users: str = USERS) -> "subprocess.CompletedProcess[str]":
    (folder / "mlruns").mkdir(exist_ok=True)
    (folder / "tensorflow").mkdir(exist_ok=True)
    (folder / "tensorflow" / "__init__.py").write_text(NOISY)
    (folder / "tensorflow" / "data.txt").write_text("a resource")
    (folder / "net.py").write_text(users)
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | {"NIGHTUNE_STORE": str(folder / "mlruns")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_users_file_that_imports_a_backend_is_quiet(tmp_path: Path) -> None:
    done = run(tmp_path, CODE.format(names="BACKENDS", before=""))
    assert (done.returncode, done.stderr) == (0, "my own line\nmy other line\n")
    assert (tmp_path / "mlruns" / "native.log").read_text().splitlines() == [NOISE] * 3


def test_native_output_is_shown_once_the_backend_has_started(tmp_path: Path) -> None:
    done = run(tmp_path, CODE.format(names="backend_is_ready", before="backend_is_ready()"))
    assert done.stderr.count(NOISE) == 3


def test_a_library_that_imports_a_backend_is_quiet_and_finds_it_unchanged(tmp_path: Path) -> None:
    code = (
        "from nightune.models.quiet_imports import import_backends_quietly as quiet; quiet(); quiet()\n"
        "import sys, importlib.util, importlib.resources\n"
        "assert importlib.util.find_spec('tensorflow').loader.get_source('tensorflow')\n"
        "import tensorflow\n"
        "loaders = tensorflow.__loader__, tensorflow.__spec__.loader\n"
        "assert {type(loader).__name__ for loader in loaders} == {'SourceFileLoader'}\n"
        "assert importlib.resources.files('tensorflow').joinpath('data.txt').read_text() == 'a resource'\n"
        "assert sum(type(finder).__name__ == '_QuietFinder' for finder in sys.meta_path) == 1\n"
    )
    done = run(tmp_path, code)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_error_of_a_users_file_is_raised_and_the_log_stays_small(tmp_path: Path) -> None:
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns" / "native.log").write_bytes(b"x" * (2**20 + 1))
    done = run(tmp_path, CODE.format(names="BACKENDS", before=""), users=USERS + "1 / 0\n")
    assert "ZeroDivisionError" in done.stderr
    assert NOISE not in done.stderr
    assert (tmp_path / "mlruns" / "native.log").stat().st_size < 1000


def test_a_stream_without_a_file_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from nightune.models.quiet_imports import native_output_logged, output_logged

    monkeypatch.setattr(sys, "stderr", None)
    with native_output_logged(), output_logged():
        assert sys.stderr is None
