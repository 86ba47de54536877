"""Findings about the data outlive the terminal: on the sweep's run, in its log, in `show` and in the verdict."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.findings import read_findings, write_findings
from nightune.tasks.tracking.sweeps.sweeps import Sweep, finish_sweep
from nightune.tasks.tracking.trials.damages import damaged_runs
from tests.tasks.conftest import SmallStudy

FINDINGS = ("column 'income' is read as numbers: '$' taken off", "column 'größe' looks like an identifier")


def test_findings_are_kept_on_the_sweeps_run(store: Store, sweep: Sweep) -> None:
    assert read_findings(store, sweep) == ()
    write_findings(store, sweep, FINDINGS)
    write_findings(store, sweep, FINDINGS)  # a resumed sweep
    assert read_findings(store, sweep) == FINDINGS
    assert client(store).get_run(sweep.run_id).data.tags["nightune.findings"].splitlines() == list(FINDINGS)


def test_many_findings_are_all_read_back(store: Store, sweep: Sweep) -> None:
    many = tuple(f"column {number}: {'x' * 100}" for number in range(200))
    write_findings(store, sweep, many)
    assert read_findings(store, sweep) == many


@pytest.mark.parametrize("text", ["{", "[]", '{"data": 3}', "null"])
def test_a_damaged_file_of_findings_is_left_out_by_name_and_found_by_doctor(
    store: Store, sweep: Sweep, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_findings(store, sweep, FINDINGS)
    finish_sweep(store, sweep, "", [])  # doctor reads the files of complete sweeps
    client(store).log_text(sweep.run_id, text, "findings.json")
    assert read_findings(store, sweep) == ()
    assert "findings.json" in caplog.text
    assert any("findings.json" in damage for damage in damaged_runs(store, sweep.experiment_id))


def test_a_sweeps_log_begins_with_the_findings(
    store: Store, sweep: Sweep, study: SmallStudy, data: PreparedData
) -> None:
    from nightune.tasks.reporting.sweep_log import log_path, sweep_log

    setting = Setting(store, sweep, study, replace(data, findings=FINDINGS))  # type: ignore[arg-type]
    with sweep_log(setting):
        pass
    lines = log_path(store.root, sweep.id).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["message"] for line in lines[1:-1]] == [f"data · {finding}" for finding in FINDINGS]


def test_show_prints_the_findings(store: Store, sweep: Sweep) -> None:
    from nightune.flows.commands.leaderboard_table import print_leaderboard
    from nightune.tasks.reporting.read_report import read_report

    write_findings(store, sweep, FINDINGS)
    report = read_report(store, "flowers", sweep)
    console = Console(record=True, width=120)
    print_leaderboard(console, report)
    printed = console.export_text()
    assert [finding for finding in FINDINGS if f"data: {finding}" not in printed] == []
    assert report.summary()["findings"] == list(FINDINGS)


@pytest.mark.usefixtures("opened_here")
def test_a_sweep_that_starts_keeps_the_findings_and_its_verdict_notes_them(store: Store, tmp_path: Path) -> None:
    from tests.tasks.promotions import STUDY, promoted, trained

    rows = "".join(f"{row % 30},${row % 40}.00,{'xy'[row % 30 > 14]}\n" for row in range(240))
    (tmp_path / "table.csv").write_text(f"a,price,label\n{rows}")
    setting = trained(store, tmp_path, STUDY.replace('"iris"', '"table.csv"\ntarget = "label"'))
    kept = read_findings(store, setting.sweep)
    assert any("'price' is read as numbers" in finding for finding in kept)
    verdict = promoted(setting, is_dry=True).verdict
    assert [note for note in verdict.notes if note.startswith("data: ")] == [f"data: {finding}" for finding in kept]
    assert next(guard for guard in verdict.guards if guard.name == "raw rows").passed
