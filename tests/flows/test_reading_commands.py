"""Commands that only read say that a folder has no store, and create nothing."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.flows.conftest import Command

READING = [
    ("show", "STUDY"),
    ("report", "STUDY"),
    ("compare", "STUDY"),
    ("simulate", "STUDY"),
    ("prune", "STUDY", "--keep", "1", "--dry-run"),
    ("models",),
    ("list",),
    ("doctor",),
    ("rollback", "flowers", "--because", "it was wrong"),
    ("ui",),
    ("promote", "STUDY"),
]


@pytest.mark.parametrize("words", READING, ids=lambda words: words[0])
def test_a_folder_without_a_store_is_named_and_stays_empty(
    words: tuple[str, ...], small_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightune.flows.commands.main import app

    root = tmp_path / "elsewhere" / "mlruns"
    monkeypatch.setenv("NIGHTUNE_STORE", str(root))
    done = CliRunner().invoke(app, [str(small_study) if word == "STUDY" else word for word in words])
    assert done.exit_code == 3, done.output
    assert f"{root}: no store" in done.output
    assert "NIGHTUNE_STORE" in done.output
    assert not root.parent.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--output", "page.pdf"), "--output: unknown format '.pdf' (known: .html)"),
        (("--output", "gone/page.html"), "no folder"),
        (("--write", "next.txt"), "end in .toml"),
        (("--train-ablation", "--output", "page"), "--output: unknown format 'page'"),
    ],
)
def test_a_file_that_no_report_is_written_to_is_refused_before_the_store_is_opened(
    words: tuple[str, ...], said: str, small_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightune.flows.commands.main import app

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NIGHTUNE_STORE", str(tmp_path / "elsewhere"))
    done = CliRunner().invoke(app, ["report", str(small_study), *words])
    assert (done.exit_code, said in " ".join(done.output.split())) == (2, True), done.output


@pytest.mark.parametrize("words", [("check", "STUDY", "--no-build"), ("pause", "STUDY"), ("resume", "STUDY")])
def test_commands_that_need_no_store_create_none(
    words: tuple[str, ...], small_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightune.flows.commands.main import app

    root = tmp_path / "elsewhere" / "mlruns"
    monkeypatch.setenv("NIGHTUNE_STORE", str(root))
    done = CliRunner().invoke(app, [str(small_study) if word == "STUDY" else word for word in words])
    assert done.exit_code == (0 if words[0] == "check" else 3), done.output
    assert words[0] == "check" or f"the store {root}" in done.output
    assert not root.parent.exists()


def test_a_command_that_reads_from_a_server_creates_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nightune.flows.commands.main import app

    monkeypatch.setenv("NIGHTUNE_STORE", str(tmp_path / "mlruns"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/other.db")
    assert CliRunner().invoke(app, ["models"]).exit_code == 0
    assert not (tmp_path / "mlruns").exists()


def test_a_command_without_a_store_prints_one_line(nightune: Command, tmp_path: Path) -> None:
    done = nightune("models", NIGHTUNE_STORE=str(tmp_path / "nowhere" / "mlruns"))
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert not (tmp_path / "nowhere").exists()
