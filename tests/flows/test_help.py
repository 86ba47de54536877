"""What the command line says of itself: version, exit codes, completion, and the documented commands."""

import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from nightune import __version__
from nightune.flows.commands.exit_code_help import CODES

ROOT = Path(__file__).parents[2]


def invoke(*words: str) -> str:
    from nightune.flows.commands.main import app

    done = CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    return done.output


def commands() -> list[str]:
    from nightune.flows.commands.main import app

    return sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def test_the_version_names_nightune_and_the_libraries() -> None:
    first, second = invoke("--version").splitlines()
    assert first == f"nightune {__version__}"
    for name in ("python", "keras", "tensorflow", "mlflow", "prefect"):
        assert re.search(rf"{name} \d", second)


def test_every_command_has_exit_codes_in_its_help_and_a_row_in_the_docs() -> None:
    assert commands() == sorted(CODES)
    page, readme = ((ROOT / name).read_text(encoding="utf-8") for name in ("docs/exit-codes.md", "README.md"))
    for command, codes in CODES.items():
        row = next(line for line in page.splitlines() if re.match(rf"\| [^|]*`{command}`", line))
        cells = [cell.strip() for cell in row.split("|")[2:5]]
        assert cells[0], command
        assert bool(cells[1]) is (1 in codes), command
        said = set(map(int, re.findall(r"(?<![\w.])(?:2|3|4|130)(?![\w.])", cells[2]))) | {2}
        assert said >= set(codes) - {0, 1}, command
        assert f"nightune {command}" in readme, command


@pytest.mark.parametrize("command", ["list", "promote"])
def test_the_help_of_a_command_has_its_exit_codes(command: str) -> None:
    text = " ".join(invoke(command, "--help").split())
    assert "Exit codes: 0" in text
    assert all(f"{code} {said}" in text for code, said in CODES[command].items())


def test_a_shell_can_be_given_completion() -> None:
    assert "--install-completion" in invoke("--help")
