"""Faults of the machine end a command with one paragraph and exit code 3; bugs show their traceback."""

import errno

import pytest
import typer

from nightune.flows.commands.options import report_errors
from nightune.flows.runtime.exit_codes import BAD_STORE
from nightune.tasks.tracking.store.errors import StoreLostError


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


@pytest.mark.parametrize("error", [ValueError("ours"), FileNotFoundError(errno.ENOENT, "No such file"), KeyError(3)])
def test_a_bug_shows_its_traceback(error: Exception, store_root: object) -> None:
    with pytest.raises(type(error)), report_errors():
        raise error
