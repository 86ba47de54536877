"""Tables are as wide as COLUMNS says and never cut; the help lists flags without a type."""

import errno
import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest
from rich.table import Table
from typer.testing import CliRunner

from nightune.flows.runtime.console import (
    PIPED_COLUMNS,
    ignore_unusable_width,
    output,
    print_json,
    print_table,
    progress_shown,
    say,
)
from nightune.flows.runtime.text_streams import outlive_reader

PARAMETERS = "learning_rate.peak 0.123 · optimizer adamw · model.units [1234, 123] · batch_size.size 32"


def printed(capsys: pytest.CaptureFixture[str], words: str = PARAMETERS) -> list[str]:
    table = Table(title="a leaderboard", title_justify="left")
    for name in ("trial", "val_accuracy", "epoch"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("parameters")
    table.add_row("12", "0.1234", "100/100", words)
    print_table(output(), table)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("columns", ["70", "100", "300"])
def test_tables_are_as_wide_as_columns_says(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert output().width == int(columns)
    lines = printed(capsys)
    assert max(map(len, lines)) <= int(columns)
    assert set(PARAMETERS.split()) <= set("\n".join(lines).split())


@pytest.mark.parametrize("columns", [None, "", "0", "1", "wide", "-3", "9999999999"])
def test_without_usable_columns_piped_output_has_160(columns: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    assert output().width == PIPED_COLUMNS
    ignore_unusable_width()
    assert output(is_json=True).width == PIPED_COLUMNS


def test_a_table_is_wider_than_columns_rather_than_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    text = "\n".join(printed(capsys))
    for word in ("val_accuracy", "0.1234", "100/100", "learning_rate.peak"):
        assert word in text
    assert "…" not in text


def test_a_very_long_word_is_folded_and_none_of_it_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "x" * 500)
    assert "".join(lines).count("x") == 500
    assert max(map(len, lines)) <= PIPED_COLUMNS


@pytest.mark.parametrize("words", [["--help"], ["tune", "--help"], ["promote", "--help"]])
def test_the_help_shows_no_type_for_flags(words: list[str]) -> None:
    from nightune.flows.commands.main import app

    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0
    assert "--help" in done.output
    assert "bool" not in done.output


class Closed(io.StringIO):
    """The stream of a terminal that was closed, or of a pipe whose reader has ended."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def write(self, _: str) -> int:
        raise self.error


@pytest.mark.parametrize("error", [BrokenPipeError(errno.EPIPE, "Broken pipe"), OSError(errno.EIO, "I/O error")])
def test_a_closed_terminal_ends_the_messages_and_nothing_else(
    error: OSError, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", Closed(error))
    with progress_shown():
        for number in range(2):
            logging.getLogger("nightune").warning("trial %d", number)
    say("The process died in a trial. Restarting")
    print_json({"best": 3})
    assert capsys.readouterr().out == '{"best": 3}\n'


@pytest.fixture
def unread() -> Iterator[int]:
    """A pipe whose reader has ended, as `head` does."""
    read, write = os.pipe()
    os.close(read)
    yield write
    os.close(write)


def test_results_outlive_the_reader_of_their_pipe(unread: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", open(unread, "w", encoding="ascii", closefd=False))  # noqa: SIM115 - as Python's
    before, table = sys.stdout, Table("trial")
    with outlive_reader():
        assert sys.stdout.encoding == "ascii"
        print_table(output(), table)
        print_json({"rows": "x" * 100_000})
    assert sys.stdout is before


def test_a_full_disk_is_no_reader_that_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("only Linux has a file that is always full")
    with open("/dev/full", "w", encoding="utf-8") as full, pytest.raises(OSError, match="No space left"):  # noqa: PTH123
        print_into(full, monkeypatch)


def print_into(stream: TextIO, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        with outlive_reader():
            print_json({"best": 3})


@pytest.mark.parametrize(("words", "code"), [(["show", "--help"], 0), ([], 2)])
def test_a_command_whose_reader_has_ended_has_its_own_exit_code(words: list[str], code: int, unread: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from nightune.flows.commands.main import main; main()", *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=unread,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert "Broken pipe" not in done.stderr
    assert "Traceback" not in done.stderr
