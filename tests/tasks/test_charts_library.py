"""The charts' library is bundled once for a store, and again if its file is damaged or of another version."""

from pathlib import Path

import pytest

from nightune.tasks.reporting.night import charts_library as charts
from nightune.tasks.reporting.night.charts_library import charts_library

SCRIPT = "/* Vega … */ draw();"


@pytest.fixture
def bundles(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count the scripts that are bundled."""
    made: list[str] = []

    def bundle() -> str:
        made.append(SCRIPT)
        return SCRIPT

    monkeypatch.setattr(charts, "_bundle", bundle)
    return made


def kept(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_a_later_process_reads_the_file(tmp_path: Path, bundles: list[str]) -> None:
    folder = tmp_path / "compiled"
    assert [charts_library(folder), charts_library(folder)] == [SCRIPT, SCRIPT]
    assert len(bundles) == 1
    assert len(kept(folder)) == 1


@pytest.mark.parametrize(("begin", "end"), [(0, 0), (0, -3), (1, None)])
def test_a_damaged_file_is_replaced(begin: int, end: int | None, tmp_path: Path, bundles: list[str]) -> None:
    charts_library(tmp_path)
    (file,) = kept(tmp_path)
    file.write_bytes(file.read_bytes()[begin:end])
    assert charts_library(tmp_path) == SCRIPT
    assert charts_library(tmp_path) == SCRIPT
    assert len(bundles) == 2
    assert kept(tmp_path) == [file]


def test_only_the_file_of_the_installed_version_is_kept(
    tmp_path: Path, bundles: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program-cache"
    program.touch()
    for version in ("1.0", "1.1"):
        monkeypatch.setattr(charts, "_version", lambda version=version: version)
        charts_library(tmp_path)
    assert [file.name for file in kept(tmp_path)] == [f"charts-1.1-{charts.VEGA_LITE}.js", program.name]
    assert len(bundles) == 2


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path: Path, bundles: list[str]) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    assert [charts_library(blocked), charts_library(blocked)] == [SCRIPT, SCRIPT]
    assert len(bundles) == 2
