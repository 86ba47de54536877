"""`import nightune` in notebooks: studies from dictionaries, data in memory, and the command in a child process."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nightune
from nightune.flows.notebooks import tuning
from nightune.flows.notebooks.child_command import run_command
from nightune.flows.notebooks.written_study import write_study
from nightune.models.data.contents import Arrays
from nightune.models.data.sources import read_source
from nightune.models.errors import InputError
from nightune.tasks.load_study import load_study
from nightune.tasks.tracking.store.errors import SweepNotFoundError
from nightune.tuning.errors import StudyError

PAGE = Path("docs/notebooks.md")
STUDY: dict[str, Any] = {
    "name": "small",
    "question": "Which rate is best?",
    "data": {"split": {"validation": np.float64(0.25)}},
    "model": {"architecture": "mlp", "units": [(8,), [16]]},
    "space": {"optimizer": ("adam", "sgd"), "learning_rate.peak": {"low": 1e-3, "high": 0.1}, "batch_size.size": 8},
    "search": {"method": "random", "trials": np.int64(3), "epochs": 2},
    "objective": {"metric": "val_loss"},
}
ROWS = np.arange(12.0).reshape(6, 2)


def test_a_dictionary_is_the_study_that_a_file_would_be(tmp_path: Path) -> None:
    file = write_study({**STUDY, "data": {"source": "iris"}}, None, tmp_path)
    study = load_study(file)
    assert (study.name, study.search.trials, study.path) == ("small", 3, file)
    assert study.space.options("optimizer") == ["adam", "sgd"]
    again = write_study({**STUDY, "data": {"source": "wine"}}, None, tmp_path)
    assert load_study(again).data.source == "wine"


@pytest.mark.parametrize(
    "data",
    [
        (ROWS, np.arange(6)),
        [ROWS.tolist(), np.arange(6), np.ones(6)],
        {"x": ROWS, "y": np.arange(6), "group": list("aabbcc")},
    ],
)
def test_arrays_are_read_as_they_were_given(tmp_path: Path, data: Any) -> None:
    study = load_study(write_study(STUDY, data, tmp_path))
    held = read_source(study.data.source, tmp_path)
    assert isinstance(held, Arrays)
    np.testing.assert_array_equal(held.inputs, ROWS)
    np.testing.assert_array_equal(held.targets, np.arange(6))


def test_a_table_keeps_the_kinds_of_its_columns(tmp_path: Path) -> None:
    table = pd.DataFrame({"code": ["01", "1"], "when": pd.to_datetime(["2026-01-02", "2026-01-03"]), "y": [1, 2]})
    study = load_study(write_study({**STUDY, "data": {"target": "y"}}, table, tmp_path))
    held: Any = read_source(study.data.source, tmp_path)
    assert list(held.frame["code"]) == ["01", "1"]
    assert held.frame["when"].dtype.kind == "M"


@pytest.mark.parametrize(
    ("changes", "data", "words"),
    [
        ({"name": None}, None, "study.name"),
        ({"name": "a/b"}, None, "study.name"),
        ({"data": {"source": "iris"}}, (ROWS, ROWS[:, 0]), "study.data.source"),
        ({"model": {"architecture": len}}, None, "models.py:build"),
        ({"space": {"a": {"b": 1}, "a.b": 2}}, None, "given twice"),
        ({}, {"x": {"one": ROWS}, "y": ROWS[:, 0]}, "data.py:load"),
        ({}, {"x": ROWS}, "weight"),
        ({}, pd.DataFrame({"mixed": [1, "a", 2.5]}), "one kind"),
    ],
)
def test_what_cannot_be_written_is_refused_and_nothing_is_written(
    tmp_path: Path, changes: dict[str, Any], data: Any, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        write_study({**STUDY, **changes}, data, tmp_path)
    assert not (tmp_path / "small.toml").exists()


def test_a_study_of_the_user_and_a_good_one_are_not_replaced(tmp_path: Path) -> None:
    good = write_study({**STUDY, "data": {"source": "iris"}}, None, tmp_path)
    before = good.read_text()
    with pytest.raises(StudyError, match="optimiser"):
        write_study({**STUDY, "space": {"optimiser": "adam"}}, None, tmp_path)
    assert good.read_text() == before
    good.write_text("question = 'mine'\n")
    with pytest.raises(InputError, match="study of yours"):
        write_study(STUDY, None, tmp_path)
    with pytest.raises(InputError, match="beside a study file"):
        nightune.tune(good, data=ROWS)


@pytest.mark.parametrize("has_study", [False, True])
def test_data_of_the_user_is_not_replaced(tmp_path: Path, has_study: bool) -> None:
    own = tmp_path / "small.npz"
    np.savez(own, x=ROWS, y=ROWS[:, 0])
    if has_study:
        write_study({**STUDY, "data": {"source": own.name}}, None, tmp_path)
    before = own.read_bytes()
    with pytest.raises(InputError, match="data of yours"):
        write_study(STUDY, (2 * ROWS, np.arange(6)), tmp_path)
    assert own.read_bytes() == before
    own.unlink()
    for factor in (2, 3):  # its own data is replaced
        write_study(STUDY, (factor * ROWS, np.arange(6)), tmp_path)
        np.testing.assert_array_equal(np.load(own)["x"], factor * ROWS)


def test_a_sweep_is_opened_by_the_name_of_its_study_or_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(_store: object, study: str, sweep_id: str | None = None) -> tuple[str, str | None]:
        if study not in ("exp-1", "digits"):
            raise SweepNotFoundError(study)
        return study, sweep_id

    monkeypatch.setattr(tuning, "read_sweep", read)
    monkeypatch.setattr(tuning, "open_existing_store", lambda *_: None)
    opened: Any = [tuning.open_sweep(name) for name in ("exp-1", "exp-1-0", "digits", "digits-2")]
    assert opened == [("exp-1", None), ("exp-1", "exp-1-0"), ("digits", None), ("digits", "digits-2")]
    for name in ("wine", "wine-1", "-1"):
        with pytest.raises(SweepNotFoundError):
            tuning.open_sweep(name)


def test_a_command_that_fails_raises_its_message_and_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NIGHTUNE_STORE", str(tmp_path / "none"))
    with pytest.raises(nightune.CommandError, match="no such") as caught:
        run_command(["tune", str(tmp_path / "no such.toml")])
    assert caught.value.exit_code == 2
    assert "no such.toml" in capfd.readouterr().err


@pytest.mark.slow
def test_the_page_runs_as_printed(
    prefect_server: str,
    store_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """In this process, which has Keras; the command trains in a process of its own."""
    first, dictionary, reading = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    known = first.replace('"study.toml", trials=4', '"flowers.toml"')  # complete by then
    assert known != first
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"nightune": nightune}
    exec(dictionary, names)
    said = json.dumps({"study": "flowers", "sweep_id": "flowers-0"})  # as the command says of a complete sweep
    with monkeypatch.context() as patch:
        patch.setattr(tuning, "run_command", lambda words: said if "flowers.toml" in words else "")
        exec(known, names)
    exec(reading, names)
    assert len(names["trials"]) == 4
    assert len(names["curves"]) == names["trials"].epochs.sum()
    assert names["model"].count_params() > 0
    shown = capfd.readouterr()
    assert "'trial'" in shown.out
    assert "<svg" in (tmp_path / "history.svg").read_text()
    assert "flowers-0" in (tmp_path / "report.html").read_text()
    assert "TensorFlow binary" not in shown.err
