"""The script of the charts is bundled beside a store's first sweep, by a process that ends with the command."""

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from nightune.flows.runtime import charts_ahead
from nightune.flows.runtime.charts_ahead import charts_bundled_beside
from nightune.tasks.reporting.night import charts_library
from nightune.tasks.reporting.night.charts_library import is_kept


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The processes that are started."""
    found: list[Any] = []
    popen = subprocess.Popen

    def counted(*given: Any, **more: Any) -> Any:
        found.append(popen(*given, **more))
        return found[-1]

    monkeypatch.setattr(charts_ahead.subprocess, "Popen", counted)
    return found


def test_the_script_is_there_when_the_report_is_drawn_and_bundled_once(tmp_path: Path, started: list[Any]) -> None:
    with charts_bundled_beside(tmp_path / "compiled"):
        give_up_at = time.monotonic() + 300
        while started[0].poll() is None and time.monotonic() < give_up_at:
            time.sleep(0.05)
    assert started[0].returncode == 0
    assert is_kept(tmp_path / "compiled")
    with charts_bundled_beside(tmp_path / "compiled"):
        assert len(started) == 1


def test_a_short_block_ends_the_process(tmp_path: Path, started: list[Any]) -> None:
    with charts_bundled_beside(tmp_path):
        pass
    assert started[0].returncode is not None


def test_without_the_package_no_process_is_started(
    tmp_path: Path, started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charts_library, "PACKAGE", "no-such-package")
    with charts_bundled_beside(tmp_path):
        assert started == []
