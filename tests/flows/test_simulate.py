"""`nightune simulate`: search methods replayed on the trials of sweeps that a store has."""

import io
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tests.flows.conftest import SMALL_STUDY, Tuned, last_json, tuned_in

TRIALS = SMALL_STUDY.replace("trials = 4", "trials = 6").replace("epochs = 2", "epochs = 6")


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Tuned:
    return tuned_in(tmp_path_factory.mktemp("recorded"), empty_store, TRIALS, engine="fit")


@pytest.fixture(autouse=True)
def its_store(tuned: Tuned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTUNE_STORE", str(tuned.store))


def run(*words: object) -> "tuple[int, str, str]":
    from nightune.flows.commands.main import app

    done = CliRunner().invoke(app, ["simulate", *map(str, words)])
    return done.exit_code, done.stdout, done.output


def test_methods_are_replayed_on_the_trials_of_a_study_or_a_sweep(tuned: Tuned) -> None:
    code, printed, _ = run(tuned.study, "--seeds", 3, "--epochs", "12,36", "--json")
    assert code == 0
    (replay,) = last_json(printed)["replays"]
    assert (replay["sweeps"], replay["trials"], replay["seeds"]) == ([tuned.report.sweep.id], 6, 3)
    best = min(each.objective for each in tuned.report.results)
    assert replay["best"] == pytest.approx(best)
    assert list(replay["methods"]) == ["random", "successive_halving", "gp", "gp_rungs", "auto"]
    assert any("auto begins" in limit and "portfolio" in limit and "scores" in limit for limit in replay["limits"])
    for name in ("random", "gp"):
        first, whole = replay["methods"][name]
        assert (first["epochs"], whole["epochs"]) == (12, 36)
        assert first["regret"] >= whole["regret"] == 0.0
        assert whole["seconds"] == pytest.approx(sum(each.seconds for each in tuned.report.results))
    code, _, said = run(tuned.report.sweep.id, "--methods", "random, gp", "--seeds", 2)
    assert code == 0
    assert "6 recorded points" in said
    assert "fewer than 32" in said


def test_the_table_of_many_methods_and_epochs_fits_into_80_columns() -> None:
    from nightune.flows.commands.simulate import print_replay
    from nightune.tasks.simulate_search import Replay
    from nightune.tuning.recorded_search import Mark

    marks = [Mark(epochs, 0.00123456, 0.00102345, 0.00154321, 12345.6, 0.5) for epochs in (200, 400, 800, 1600, 3200)]
    methods = dict.fromkeys(("random", "successive_halving", "auto"), marks)
    console = Console(record=True, width=80, file=io.StringIO())
    print_replay(console, Replay(("flowers-0",), 60, "val_loss", 0.1, 10, (), methods))
    rows = [line for line in console.export_text().splitlines() if "[0.00102, 0.00154]" in line]
    assert len(rows) == 3 * 5
    assert max(map(len, rows)) <= 80


def test_unknown_methods_sweeps_and_numbers_are_refused(tuned: Tuned, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, said = run(tuned.study, "--methods", "random,bohb")
    assert (code, "'bohb'" in said, "gp_rungs" in said) == (2, True, True)
    with monkeypatch.context() as patch:
        patch.setattr("nightune.tasks.load_study.find_spec", lambda name: None)
        code, _, said = run(tuned.study, "--methods", "random,tpe")
    assert (code, "nightune[tpe]" in said) == (2, True)
    code, _, said = run("flowers-7")
    assert (code, "flowers-7" in said) == (3, True)
    code, _, said = run("flowers")
    assert (code, tuned.report.sweep.id in said) == (3, True)  # what is known is listed
    code, _, said = run(tuned.study, "--epochs", "12,x")
    assert (code, "--epochs" in said) == (2, True)


def test_a_sweep_of_too_few_trials_is_refused_by_name(tuned: Tuned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightune.tasks.simulate_search.FEWEST_TRIALS", 7)
    code, _, said = run(tuned.report.sweep.id)
    assert (code, tuned.report.sweep.id in said, "too few" in said) == (2, True, True)
