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


@pytest.mark.parametrize(("command", "words"), [("tune", "nightune[dask]"), ("predict", "as in [data]")])
def test_help_shows_words_in_brackets(command: str, words: str) -> None:
    assert words in " ".join(invoke(command, "--help").split())


def test_the_readme_names_the_options_that_a_command_has() -> None:
    from nightune.flows.commands.main import app

    rows = re.findall(r"^\| `nightune (\w+)(.*)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    found = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, row in rows:
        options = {each for param in found[name].params for each in param.opts if each.startswith("--")}
        assert set(re.findall(r"--[a-z][a-z-]*", row.partition(" | ")[0])) == options, name


def test_the_pages_name_options_that_commands_have() -> None:
    from nightune.flows.commands.main import app

    found = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
    for page in pages:
        for name, words in re.findall(r"nightune (\w+)([^`\n|&]*)", page.read_text(encoding="utf-8")):
            known = {each for param in found[name].params for each in param.opts} if name in found else set()
            named = re.findall(r"(?<!\S)\[?(--[a-z][a-z-]*)", words)
            assert {*named} <= {*known, "--help", "--version", "--install-completion"}, (page.name, name)


def test_a_shell_can_be_given_completion() -> None:
    assert "--install-completion" in invoke("--help")
