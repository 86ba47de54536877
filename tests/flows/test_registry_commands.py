"""`nightune promote`, `rollback` and `models` as a user runs them."""

import io
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from tests.flows.conftest import Command, last_json

pytestmark = pytest.mark.usefixtures("store_root")


def run(*arguments: str) -> Result:
    from nightune.flows.commands.main import app

    return CliRunner().invoke(app, list(arguments))


def test_force_needs_a_reason(small_study: Path) -> None:
    done = run("promote", str(small_study), "--force")
    assert done.exit_code == 2
    assert "--because" in done.output
    assert run("rollback", "flowers").exit_code == 2
    assert run("rollback", "flowers", "--because", " ").exit_code == 2


def test_an_unknown_model_is_reported() -> None:
    done = run("rollback", "flowers", "--because", "it was wrong")
    assert done.exit_code == 3
    assert "flowers: no such registered model" in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize("model", ["flowers", "studies/flowers.toml"])
def test_a_list_of_an_unknown_model_names_it(model: str) -> None:
    done = run("models", model)
    assert done.exit_code == 3
    assert f"{model}: no such registered model" in done.output
    assert "nightune promote STUDY" in done.output


def test_an_empty_registry_says_which_command_fills_it() -> None:
    done = run("models")
    assert done.exit_code == 0
    assert "nightune promote" in done.output


def test_an_empty_registry_is_an_empty_list() -> None:
    done = run("models", "--json")
    assert done.exit_code == 0
    assert last_json(done.stdout) == {"versions": []}


@pytest.mark.nights
def test_a_refused_winner_ends_with_code_4_and_the_reason(
    nightune: Command, prefect_server: str, small_study: Path
) -> None:
    text = small_study.read_text().replace("trials = 4", "trials = 1").replace("epochs = 2", "epochs = 1")
    section = "\n[confirmation]\nfinalists = 1\n[promotion]\nreplicates = 2\nsize_limit_mb = 1e-6\n"
    small_study.write_text(text + section)
    tuned = nightune("tune", small_study, "--engine", "fit", PREFECT_API_URL=prefect_server)
    assert tuned.returncode == 0, tuned.stderr
    assert "confirmed" in tuned.stdout
    done = nightune("promote", small_study, "--json", PREFECT_API_URL=prefect_server)
    assert done.returncode == 4, done.stderr
    verdict = last_json(done.stdout)["verdict"]
    assert verdict["decision"] == "refused"
    assert "limit 1e-06 MB" in verdict["reason"]
    assert any(line.split()[:2] == ["FAILED", "size:"] for line in done.stderr.splitlines())
    forced = nightune("promote", small_study, "--force", "--because", "a trial", PREFECT_API_URL=prefect_server)
    assert forced.returncode == 0, forced.stderr
    assert "models:/flowers@champion" in forced.stdout
    listed = last_json(nightune("models", "flowers", "--json").stdout)["versions"]
    assert [(version["number"], version["aliases"]) for version in listed] == [(1, ["champion"])]
    assert listed[0]["tags"]["nightune.because"] == "a trial"


def test_each_version_is_a_line_of_eighty_columns_and_its_reason_a_line_below() -> None:
    from nightune.flows.commands.tables import print_versions
    from nightune.tasks.tracking.registry.registry import Version

    tags = {"nightune.verdict": "promoted", "nightune.sweep": "flowers-12", "nightune.reason": "better: " + "why " * 40}
    back = tags | {"nightune.rolled_back_because": "it was wrong"}
    versions = [Version("flowers", 1, "run-1", back), Version("flowers", 2, "run-2", tags, ("champion", "canary"))]
    console = Console(record=True, width=80, file=io.StringIO())
    print_versions(console, versions)
    lines = console.export_text().splitlines()
    assert [line.split()[:3] for line in lines[2:4]] == [["flowers", "2", "champion,"], ["flowers", "1", "–"]]
    assert all(len(line.rstrip()) <= 80 for line in lines[:4])
    assert lines[4].startswith("flowers version 2: better")
    assert lines[-1] == "flowers version 1: rolled back: it was wrong"
