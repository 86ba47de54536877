"""A sweep records its data and its code; the report compares them with the sweep before."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nightune.models.data.storage import PROFILE
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.reporting.data_record import record_data
from nightune.tasks.reporting.night.accounts import read_accounts
from nightune.tasks.reporting.night.data_part import data_numbers
from nightune.tasks.reporting.night.page import Context, draw_page
from nightune.tasks.reporting.night.read_night import read_night
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.profiles import NO_DRIFT, NO_EARLIER, read_profile
from nightune.tasks.tracking.sweeps.sweeps import Sweep, finish_sweep, open_sweep
from tests.tasks.conftest import SmallStudy
from tests.tasks.nights import HOSTILE, Page, log_trial

SPACE = SimpleNamespace(options=lambda name: [])


def prepared(data: PreparedData, shares: tuple[float, float], version: str) -> PreparedData:
    """Data whose label `x` has a share of the rows, and whose numbers lie above a value."""
    folder = data.folder.with_name(version)
    folder.mkdir(parents=True)
    share, low = shares
    held = [
        {"name": "kind", "role": "target", "rows": 400, "missing": 0, "counts": {"x": int(400 * share), HOSTILE: 50}},
        {"name": HOSTILE, "role": "input", "rows": 100, "missing": 0, "values": [low + each for each in range(100)]},
    ]
    columns = [{"name": HOSTILE, "read_as": "number", "distinct": 3, "missing": 0, "example": HOSTILE, "done": ""}]
    profile = {"source": "t.csv", "task": "binary", "sizes": {"train": 400}, "split": {"kind": "random"}}
    profile |= {"columns": columns, "classes": {"x": 200}, "distributions": held}
    (folder / PROFILE).write_text(json.dumps(profile))
    return replace(data, folder=folder, version=version)


@pytest.fixture
def asked(tmp_path: Path) -> Any:
    objective = SimpleNamespace(key="objective.metric", named=("val_loss",))
    return SimpleNamespace(path=tmp_path / "a.toml", space=SPACE, objective=objective)


def test_the_next_night_says_what_drifted_and_the_page_compares_both(
    store: Store, sweep: Sweep, study: SmallStudy, data: PreparedData, asked: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "nightune")
    record_data(store, asked, sweep, prepared(data, (0.5, 0.0), "one"))
    log_trial(store, sweep, data, 0, [0.5, 0.3])
    finish_sweep(store, sweep, "", [])
    assert client(store).get_run(sweep.run_id).data.tags[names.DRIFT] == NO_EARLIER
    later = open_sweep(store, study, "data-2", fresh=True, planned_trials=3)  # type: ignore[arg-type]
    record_data(store, asked, later, prepared(data, (0.5, 90.0), "two"))
    log_trial(store, later, data, 0, [0.4, 0.2])
    assert client(store).get_run(later.run_id).data.tags[names.DRIFT] == HOSTILE
    assert any("drift since flowers-0" in record.message for record in caplog.records)
    subject = read_night(store, "flowers", later)
    numbers = data_numbers(subject)
    assert numbers is not None
    assert {each["name"]: each["is_drift"] for each in numbers["columns"]} == {HOSTILE: True, "kind": False}
    page = Page(draw_page(subject, Context("a.toml", "sqlite:///a.db")))
    text = page.text.partition("The data")[2]
    assert "drifted since flowers-0" in text
    assert "changed since flowers-0: data version" in text
    assert "data-1" in text
    assert "cannot be compared" in text
    assert "img" not in page.elements


def test_equal_data_drifts_nowhere_and_edited_code_is_a_change(
    store: Store, sweep: Sweep, study: SmallStudy, data: PreparedData, asked: Any, tmp_path: Path
) -> None:
    code = tmp_path / "net.py"
    asked.space = SimpleNamespace(options=lambda name: ["net.py:build"] if name == "model.architecture" else [])
    code.write_text("def build():\n    return 1\n")
    held = prepared(data, (0.5, 0.0), "one")
    record_data(store, asked, sweep, held)
    begun = client(store).get_run(sweep.run_id).data.tags[names.CODE]
    code.write_text("def build():\n    return 3\n")
    record_data(store, asked, sweep, held)
    assert client(store).get_run(sweep.run_id).data.tags[names.CODE] != begun  # of the code that it ends with
    finish_sweep(store, sweep, "", [])
    code.write_text("def build():\n    return 2\n")
    later = open_sweep(store, study, "data-1", fresh=True, planned_trials=3)  # type: ignore[arg-type]
    record_data(store, asked, later, held)
    tags = client(store).get_run(later.run_id).data.tags
    assert tags[names.DRIFT] == NO_DRIFT
    assert tags[names.CODE] != client(store).get_run(sweep.run_id).data.tags[names.CODE]
    since = read_accounts(store, "flowers", later).since
    assert since is not None
    assert [each.name for each in since.changes] == ["code of the study"]


def test_an_earlier_version_recorded_nothing_and_a_damaged_file_is_left_out(
    store: Store, sweep: Sweep, data: PreparedData, asked: Any
) -> None:
    assert read_profile(store, sweep) is None
    text = Page(draw_page(read_night(store, "flowers", sweep), Context("a.toml", "sqlite:///a.db"))).text
    assert "is not recorded" in text
    record_data(store, asked, sweep, prepared(data, (0.5, 0.0), "one"))
    client(store).log_text(sweep.run_id, "{}", names.DATA_PROFILE)
    assert read_profile(store, sweep) is None
