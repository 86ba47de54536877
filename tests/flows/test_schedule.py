"""Cron expressions and time zones are checked before anything starts; nights at a change of clocks get a warning."""

from datetime import datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nightune.flows.commands.main import app
from nightune.flows.runtime.cron import ScheduleError, check_schedule, clock_change

NOW = datetime(2026, 1, 10, 12, 30)


def test_a_nightly_cron_line_is_accepted() -> None:
    check_schedule("0 2 * * *", "Europe/Paris")


@pytest.mark.parametrize("cron", ["", "0 2 * *", "61 2 * * *", "at two", "0 25 * * *", "0 0 2 * * *"])
def test_a_broken_cron_line_is_reported(cron: str) -> None:
    with pytest.raises(ScheduleError, match=r"--cron: .*five fields"):
        check_schedule(cron, "UTC")


@pytest.mark.parametrize("timezone", ["Europe/Pariss", "", "../etc/passwd"])
def test_an_unknown_time_zone_is_reported(timezone: str) -> None:
    with pytest.raises(ScheduleError, match="--timezone: unknown"):
        check_schedule("0 2 * * *", timezone)


@pytest.mark.parametrize(
    ("cron", "timezone", "expected"),
    [
        ("0 2 * * *", "Europe/Paris", datetime(2026, 3, 29, 2)),
        ("30 1,2 * * *", "America/New_York", datetime(2026, 3, 8, 2)),
        ("30 1 * * *", "America/New_York", datetime(2026, 11, 1, 1)),
        ("0 0-6/2 * * *", "Europe/Paris", datetime(2026, 3, 29, 2)),
        ("0 4 * * *", "Europe/Paris", None),
        ("0 * * * *", "Europe/Paris", None),
        ("0 2 * * *", "UTC", None),
    ],
)
def test_the_next_change_of_clocks_at_a_night_is_found(cron: str, timezone: str, expected: datetime | None) -> None:
    assert clock_change(cron, timezone, NOW) == expected


def test_the_command_refuses_a_broken_cron_line_before_it_starts_anything(small_study: Path, store_root: Path) -> None:
    result = CliRunner().invoke(app, ["serve", str(small_study), "--cron", "99 2 * * *"])
    assert result.exit_code == 2
    assert "99 2" in result.output
    assert not (store_root / "prefect" / "server.log").exists()


@pytest.mark.parametrize("command", [("serve", "--cron", "0 2 * * *"), ("check", "--no-build")], ids=["serve", "check"])
def test_commands_refuse_a_method_whose_package_is_missing(
    small_study: Path, store_root: Path, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    small_study.write_text(small_study.read_text().replace('"random"', '"tpe"'))
    monkeypatch.setattr("nightune.tasks.load_study.find_spec", lambda name: None)
    result = CliRunner().invoke(app, [command[0], str(small_study), *command[1:]])
    assert (result.exit_code, "nightune[tpe]" in result.output) == (2, True)
    assert not (store_root / "prefect" / "server.log").exists()


@pytest.mark.parametrize(
    ("crashed", "missed", "line"),
    [
        (0, 0, "digits · served"),
        (1, 0, "digits · served · 1 crashed nights cleared"),
        (0, 2, "digits · served · 2 missed (skip)"),
        (1, 2, "digits · served · 1 crashed nights cleared, 2 missed (skip)"),
    ],
)
def test_the_first_line_of_a_served_study_names_only_what_happened(crashed: int, missed: int, line: str) -> None:
    from nightune.flows.deployments import served_line

    assert served_line("digits", crashed, missed, "skip") == line
