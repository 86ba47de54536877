"""Commands that only read say that a folder has no store, and create nothing."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.flows.conftest import Command

READING = [
    ("show", "STUDY"),
    ("compare", "STUDY"),
    ("prune", "STUDY", "--keep", "1", "--dry-run"),
    ("models",),
    ("doctor",),
    ("rollback", "flowers", "--because", "it was wrong"),
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


def test_a_command_without_a_store_prints_one_line(nightune: Command, tmp_path: Path) -> None:
    done = nightune("models", NIGHTUNE_STORE=str(tmp_path / "nowhere" / "mlruns"))
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert not (tmp_path / "nowhere").exists()
