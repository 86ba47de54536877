"""Every exception ends a command with one paragraph: exit code 3 for machine and store, 1 for our own faults."""

import errno
import gc
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from nightune.flows.commands import main as main_module
from nightune.flows.commands.options import report_errors
from nightune.flows.runtime.exit_codes import BAD_STORE
from nightune.tasks.tracking.store.errors import StoreLostError


@pytest.fixture(autouse=True)
def garbage_collected() -> Iterator[None]:
    """The command line ends its process, and leaves all objects to it."""
    yield
    gc.unfreeze()


class PrefectHTTPStatusError(Exception):
    """The error that Prefect's client raises when its server responds 500."""


def refused(error: Exception, context: Exception | None = None) -> None:
    error.__context__ = context
    with pytest.raises(typer.Exit) as ended, report_errors():
        raise error
    assert ended.value.exit_code == BAD_STORE


def test_a_full_disk_is_reported_with_a_remedy(capsys: pytest.CaptureFixture[str], store_root: object) -> None:
    refused(OSError(errno.ENOSPC, "No space left on device"))
    output = capsys.readouterr().err
    for words in ("No space left on device", "Finished trials are kept", "Free the disk"):
        assert words in output


def test_a_store_failure_that_ends_prefects_server_is_reported_as_the_cause(
    capsys: pytest.CaptureFixture[str], store_root: object
) -> None:
    refused(PrefectHTTPStatusError("Server error '500'"), StoreLostError("sqlite:///x: the store has not answered"))
    assert capsys.readouterr().err == "sqlite:///x: the store has not answered\n"


def test_a_prefect_server_that_fails_is_reported_without_its_password(
    capsys: pytest.CaptureFixture[str], store_root: object
) -> None:
    refused(PrefectHTTPStatusError("Server error '500' for url 'http://me:secret@host/api'"))
    output = capsys.readouterr().err
    assert "Server error '500' for url 'http://***@host/api'" in output
    assert "secret" not in output


class MlflowError(Exception):
    """As MLflow raises it for a record that it cannot read."""

    __module__ = "mlflow.exceptions"


def reported(error: Exception, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    with pytest.raises(typer.Exit) as ended, report_errors():
        raise error
    return ended.value.exit_code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ValueError("ours https://me:hunter2@host"), 1, ["fault of Nightune", "ValueError: ours", "report"]),
        (KeyError(3), 1, ["fault of Nightune", "KeyError: 3", "line "]),
        (RecursionError(), 1, ["RecursionError (line"]),
        (FileNotFoundError(errno.ENOENT, "No such file"), 1, ["fault of Nightune", "No such file"]),
        (FileNotFoundError(errno.ENOENT, "No such file", "/x/y"), 3, ["'/x/y'", "run the same command again"]),
        (MlflowError("No run\nsecond line"), 3, ["The store failed", "No run", "nightune doctor"]),
        (MemoryError(), 3, ["Out of memory", "smaller"]),
    ],
)
def test_any_exception_is_one_paragraph_and_a_file_with_its_full_text(
    error: Exception, code: int, words: list[str], store_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended, said = reported(error, capsys)
    assert ended == code
    (paragraph,) = said.splitlines()
    (file,) = (store_root / "faults").iterdir()
    assert [word for word in [*words, str(file)] if word not in paragraph] == []
    full = file.read_text()
    assert "Traceback" in full
    assert "raise error" in full
    assert "hunter2" not in paragraph + full


def test_a_fault_without_a_store_is_kept_among_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NIGHTUNE_STORE", str(tmp_path / "mlruns"))
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))

    def lose_store() -> None:
        shutil.rmtree(tmp_path / "mlruns")
        raise KeyError("lost")

    with pytest.raises(typer.Exit), report_errors():
        lose_store()
    (file,) = tmp_path.glob("nightune-*.txt")
    assert str(file) in capsys.readouterr().err
    assert not (tmp_path / "mlruns").exists()


def test_a_fault_while_results_are_printed_shows_no_traceback(
    monkeypatch: pytest.MonkeyPatch, store_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(main_module, "app", fail)
    with pytest.raises(SystemExit) as ended:
        main_module.main()
    assert ended.value.code == BAD_STORE
    (line,) = capsys.readouterr().err.splitlines()
    assert "No space left on device" in line


@pytest.mark.parametrize("error", [typer.BadParameter("not a date"), typer.Exit(4)])
def test_errors_of_options_and_exit_codes_pass(error: Exception, store_root: Path) -> None:
    with pytest.raises(type(error)) as passed, report_errors():
        raise error
    assert passed.value is error
    assert not (store_root / "faults").exists()
