"""The report at the end of a command: where it is, and that it cannot change how the command ended."""

import io
import logging
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from nightune.flows.commands import report as command
from nightune.flows.commands.next_steps import print_next_steps
from nightune.flows.runtime.morning_page import morning_page
from nightune.tasks.draw_report import DrawnReport
from tests.flows.conftest import small_study
from tests.flows.test_next_steps import ADDRESS, BEST, SWEEP, SweepReport

__all__ = ["small_study"]
DRAWN = DrawnReport(Path("/store/report/index.html"), "http://127.0.0.1:5000/run", "Trial 0 leads", 1_000_000)


@pytest.mark.parametrize("error", [ValueError("a fault"), OSError("no space left")])
def test_a_report_that_cannot_be_drawn_is_a_warning(
    error: Exception, store_root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> DrawnReport:
        raise error

    monkeypatch.setattr("nightune.tasks.draw_report.draw_report", fail)
    with caplog.at_level(logging.WARNING, "nightune"):
        assert morning_page(Path("flowers.toml"), "flowers", "flowers-0") is None
    assert str(error) in caplog.text
    assert "nightune report" in caplog.text


@pytest.mark.parametrize("results", [(BEST,), ()])
def test_the_page_is_named_among_the_next_steps(results: Any) -> None:
    console = Console(record=True, width=200, file=io.StringIO())
    print_next_steps(console, SweepReport("flowers", SWEEP, results), Path("flowers.toml"), ADDRESS, DRAWN)
    assert str(DRAWN.file) in console.export_text()


def test_open_starts_a_browser_or_says_why_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: bool(opened.append(address)) or True)
    command._open(DRAWN)
    assert opened == ["file:///store/report/index.html"]
    monkeypatch.setattr("webbrowser.open", lambda _: False)
    command._open(DRAWN)
    assert "/store/report/index.html" in capsys.readouterr().err
    command._open(DrawnReport(None, DRAWN.address, "", 1))
    assert "--output" in capsys.readouterr().err


@pytest.mark.usefixtures("store_root")
def test_results_are_printed_before_the_report_is_drawn(
    small_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from nightune.flows.commands import main

    shown: list[str] = []
    store = SimpleNamespace(compiled=tmp_path)

    def page(*_: Any) -> DrawnReport:
        shown.append(capsys.readouterr().out)
        return DRAWN

    monkeypatch.setattr(main, "supervised", lambda _: None)
    monkeypatch.setattr(main, "prefect_server", lambda: nullcontext(lambda: None))
    monkeypatch.setattr(main, "morning_page", page)
    monkeypatch.setattr("nightune.flows.runtime.charts_ahead.charts_bundled_beside", lambda _: nullcontext())
    monkeypatch.setattr("nightune.flows.runtime.flow_runs.owned_flow_runs", nullcontext)
    monkeypatch.setattr("nightune.flows.runtime.flow_runs.ClosingBeside", lambda _: None)
    monkeypatch.setattr("nightune.flows.runtime.while_prefect_starts.open_store_and_keras", lambda *_: store)
    monkeypatch.setattr("nightune.flows.tune.tune", lambda *_, **__: SweepReport("flowers", SWEEP, (BEST,)))
    main.tune(small_study)
    (before,), after = shown, capsys.readouterr().out
    assert SWEEP.id in before
    assert str(DRAWN.file) not in before
    assert str(DRAWN.file) in after
