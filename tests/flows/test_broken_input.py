"""Broken study files and data: one screen that names file, key and remedy, exit code 2, no traceback."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from nightune.flows.commands.main import app

WHOLE = {
    "top": 'question = "Which rate?"',
    "data": '[data]\nsource = "iris"',
    "model": '[model]\narchitecture = "mlp"',
    "space": "[space]\nlearning_rate.peak = 0.1",
    "search": '[search]\nmethod = "random"\ntrials = 2\nepochs = 2',
    "objective": '[objective]\nmetric = "val_loss"',
}

BROKEN_STUDIES = {
    "not TOML": ({"top": 'question = "open'}, "line 1"),
    "no question": ({"top": "seed = 1"}, "question: missing"),
    "unknown section": ({"model": '[modle]\narchitecture = "mlp"'}, "did you mean 'model'"),
    "unknown optimizer": ({"space": '[space]\noptimizer = "adamv"'}, "did you mean 'adamw'"),
    "unknown parameter": ({"space": "[space]\nlearning_rate.peek = 0.1"}, "did you mean 'learning_rate.peak'"),
    "number as text": ({"space": '[space]\nlearning_rate.peak = "fast"'}, "learning_rate.peak: 'fast'"),
    "log from zero": ({"space": '[space]\nlearning_rate.peak = { low = 0, high = 1, scale = "log" }'}, "above 0"),
    "upside down": ({"space": "[space]\nlearning_rate.peak = { low = 1, high = 0.1 }"}, "learning_rate.peak"),
    "condition on nothing": (
        {"space": '[space]\noptimizer = "sgd"\npenalty.kind = { options = ["l1"], when = { optimiser = "sgd" } }'},
        "did you mean 'optimizer'",
    ),
    "grid over a range": (
        {
            "space": "[space]\nlearning_rate.peak = { low = 0.1, high = 1 }",
            "search": '[search]\nmethod = "grid"\nepochs = 2',
        },
        "steps",
    ),
    "no effect": ({"space": "[space]\nlearning_rate.final_fraction = 0.1"}, "learning_rate.schedule"),
    "no trials": ({"search": '[search]\nmethod = "random"\nepochs = 2'}, "search.trials"),
    "training metric": ({"objective": '[objective]\nmetric = "accuracy"'}, "did you mean 'val_accuracy'"),
    "metric of another task": ({"objective": '[objective]\nmetric = "val_mae"'}, "multiclass"),
    "unknown model": ({"model": '[model]\narchitecture = "mpl"'}, "did you mean 'mlp'"),
    "unknown model parameter": ({"model": '[model]\narchitecture = "mlp"\nunit = 3'}, "did you mean 'model.units'"),
    "no such file of models": ({"model": '[model]\narchitecture = "nowhere.py:build"'}, "nowhere.py"),
    "unknown data": ({"data": '[data]\nsource = "irsi"'}, "did you mean 'iris'"),
    "no such table": ({"data": '[data]\nsource = "none.csv"\ntarget = "y"'}, "none.csv"),
    "too large a share": ({"data": '[data]\nsource = "iris"\nsplit = { validation = 0.6, test = 0.5 }'}, "data.split"),
    "group without column": ({"data": '[data]\nsource = "iris"\nsplit = { kind = "group" }'}, "data.split.column"),
}

BROKEN_TABLES = {
    "empty file": ("", "y", "t.csv"),
    "header alone": ("a,y\n", "y", "data.source"),
    "no such target": ("a,price\n" + "1,2\n" * 30, "prize", "did you mean 'price'"),
    "one class": ("a,y\n" + "".join(f"{n},yes\n" for n in range(30)), "y", "y"),
    "one row": ("a,y\n1,2\n", "y", "row"),
    "semicolons": ("a;y\n" + "1;2\n" * 30, "y", ";"),
    "nothing to learn from": ("y\n" + "1\n2\n" * 30, "y", "column"),
}


def check(folder: Path, parts: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Result:
    study = folder / "broken.toml"
    study.write_text("\n".join((WHOLE | parts).values()))
    monkeypatch.setenv("NIGHTUNE_STORE", str(folder / "mlruns"))
    return CliRunner().invoke(app, ["check", str(study)])


def refused(result: Result, expected: str) -> None:
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) <= 24
    assert "broken.toml: " in result.stderr
    assert expected in result.stderr


@pytest.mark.parametrize("name", BROKEN_STUDIES)
def test_a_broken_study_is_reported_in_one_screen(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts, expected = BROKEN_STUDIES[name]
    refused(check(tmp_path, parts, monkeypatch), expected)


@pytest.mark.parametrize("name", BROKEN_TABLES)
def test_a_broken_table_is_reported_in_one_screen(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, target, expected = BROKEN_TABLES[name]
    (tmp_path / "t.csv").write_text(text)
    refused(check(tmp_path, {"data": f'[data]\nsource = "t.csv"\ntarget = "{target}"'}, monkeypatch), expected)


def test_a_valid_study_is_not_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = check(tmp_path, {}, monkeypatch)
    assert result.exit_code == 0, result.output


def test_all_problems_of_a_study_are_reported_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {"top": "seed = -1", "space": '[space]\noptimizer = "adamv"\nnesterow = true', "search": "[search]"}
    errors = check(tmp_path, parts, monkeypatch).stderr
    for expected in ("question", "seed", "adamv", "nesterow", "search.epochs"):
        assert expected in errors


@pytest.mark.usefixtures("store_root")
def test_bad_data_ends_a_sweep_without_a_traceback(
    prefect_server: str, small_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    monkeypatch.setattr("nightune.flows.commands.main.supervised", lambda read_study: read_study())  # no child process
    small_study.write_text(small_study.read_text().replace('"iris"', '"irsi"'))
    done = CliRunner().invoke(app, ["tune", str(small_study)])
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1].startswith(f"{small_study}: data.source: unknown 'irsi'; did you mean 'iris'?")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
