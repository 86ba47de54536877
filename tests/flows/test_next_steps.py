"""The next steps after a sweep and a promotion are true for the sweep's method and for what became of its winner."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from nightune.flows.commands.next_steps import print_after_promotion, print_next_steps, print_use
from nightune.tasks.promote_model import Promotion
from nightune.tasks.reporting.sweep_report import Standing, SweepReport
from nightune.tasks.tracking.store.pages import Pages
from nightune.tasks.tracking.sweeps.sweeps import Sweep, SweepStatus
from nightune.tuning.analysis.promotion_gate import Candidate, Decision, Guard, Verdict
from nightune.tuning.trial import Parent, Status, Trial, TrialResult

SWEEP = Sweep("flowers-0", 0, "run", "1", SweepStatus.COMPLETE, "digest", "data", "val_loss", "minimize", 4)
BEST = TrialResult(Trial(0, {}, 1, "key"), Status.COMPLETED, 0.5, 1, 2, 6, 180, 1.0, run_id="a1")
ADDRESS = "sqlite:////data/my store/mlruns/mlflow.db"


def steps(sweep: Sweep = SWEEP, **fields: Any) -> str:
    console = Console(record=True, width=80, file=io.StringIO())
    report = SweepReport("flowers", sweep, **({"results": (BEST,)} | fields))
    print_next_steps(console, report, Path("my study.toml"), ADDRESS)
    return console.export_text()


def test_a_search_that_ended_before_its_first_trial_needs_more_room() -> None:
    text = steps(replace(SWEEP, ended_by="hours = 0.001", planned_trials=0), results=())
    assert "search.hours = 0.001" in text
    assert "nightune tune 'my study.toml'" in text
    assert "--retry-failed" not in text
    assert "--retry-failed" in steps(results=())


def test_a_random_search_is_continued_with_new_points() -> None:
    text = steps()
    assert "nightune tune 'my study.toml' --fresh" in text
    assert "search with new points" in text
    assert "every point" not in text


def test_the_portfolio_begins_the_next_sweep_as_well() -> None:
    begun = replace(BEST, trial=replace(BEST.trial, proposed_by="portfolio"))
    assert "the portfolio, then new points" in steps(results=(BEST, begun))
    assert "portfolio" not in steps()


@pytest.mark.parametrize("known", [{"method": "grid"}, {"method": "random", "points": 4}])
def test_a_sweep_of_all_points_has_no_new_ones(known: dict[str, Any]) -> None:
    text = steps(replace(SWEEP, **known))
    assert "new points" not in text
    assert "new seeds" in text
    assert "widen a range" in text
    assert "--fresh" not in steps(replace(SWEEP, **known, is_reusing=True))
    assert "new points" in steps(replace(SWEEP, method="random", points=5))


def test_the_schedule_of_a_population_is_written_to_a_new_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    changes: Any = {"training.changes": {"3": {"learning_rate.peak": 0.1}}}
    parent = Parent(trial=2, epoch=2, replaces=1)
    changed = replace(BEST, trial=replace(BEST.trial, params=changes, parent=parent))
    alone = replace(changed, trial=replace(changed.trial, parent=None))
    found = replace(SWEEP, method="pbt")
    monkeypatch.chdir(tmp_path)
    assert "--write 'my study_schedule.toml'" in steps(found, results=(changed,))
    Path("my study_schedule.toml").touch()
    assert "--write 'my study_schedule_2.toml'" in steps(found, results=(changed,))
    assert "--write" not in steps(found)
    assert "--write" not in steps(replace(SWEEP, method="random"), results=(alone,))  # as the schedule's own study


def test_after_a_promotion_the_champion_is_loaded_and_served() -> None:
    text = steps(standing=Standing.CHAMPION)
    assert "nightune promote" not in text
    assert "nightune models flowers" in text
    for line in used("flowers").splitlines():
        assert line in text


def test_with_folds_no_trial_has_the_best_model() -> None:
    assert "checkpoint/model.keras of run a1" in steps()
    text = steps(replace(SWEEP, has_folds=True))
    assert "run a1" not in text
    assert "last fold" in text


def test_after_a_refusal_promote_says_why() -> None:
    text = steps(standing=Standing.REFUSED)
    assert "why the winner was refused" in text
    assert "@champion" not in text
    assert "promote the best model" in steps()


@pytest.mark.parametrize(
    ("pages", "said"),
    [
        (Pages("http://127.0.0.1:5000"), "While `nightune ui` runs, this leaderboard"),
        (Pages("http://127.0.0.1:5001", is_running=True), "  `nightune ui` runs: this leaderboard"),
        (Pages("https://mlflow.example", is_running=True, is_local=False), "  This leaderboard"),
    ],
)
def test_the_link_is_that_of_the_pages(pages: Pages, said: str) -> None:
    text = steps(pages=pages)
    assert said in text
    assert f"    {pages.address}/#/experiments/1/runs" in text


def used(model: str) -> str:
    console = Console(record=True, width=80, file=io.StringIO())
    print_use(console, model, ADDRESS)
    return console.export_text()


def test_the_commands_of_a_champion_take_a_path_with_blanks() -> None:
    text = used("flowers")
    assert "nightune predict flowers rows.csv" in text
    assert f'mlflow.set_tracking_uri("{ADDRESS}")' in text
    assert f"MLFLOW_TRACKING_URI='{ADDRESS}' mlflow models serve -m models:/flowers@champion" in text


@pytest.mark.parametrize(
    ("shape", "file", "rows"),
    [
        ([4], "rows.csv", "raw_dataframe"),
        ([28, 28, 1], "rows.npz", "raw_array"),
        ({"a": [3], "b": []}, "rows.npz", "raw_dictionary"),
        ([[3], [2]], "rows.npz", "raw_list"),
    ],
)
def test_a_champion_is_used_with_rows_in_the_form_of_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: Any, file: str, rows: str
) -> None:
    monkeypatch.setattr("nightune.flows.commands.next_steps.store_root", lambda: tmp_path)
    (tmp_path / "data/data").mkdir(parents=True)
    (tmp_path / "data/data/description.json").write_text(json.dumps({"input_shape": shape}))
    for text in (steps(standing=Standing.CHAMPION), after(Decision.PROMOTED, version=2, alias="champion")):
        assert f"nightune predict flowers {file} --output" in text
        assert f".predict({rows})" in text


def after(decision: Decision, **fields: Any) -> str:
    candidate = Candidate("flowers", "flowers-0", "data", 1, "key", "run", 0.9, None)
    guards = (Guard("size", False, "too large", is_vital=fields.pop("is_vital", False)),)
    known: dict[str, Any] = {"measure": "", "minimum_gain": 0.0, "against": 1, "gain": None, "baseline": None}
    verdict = Verdict(candidate, decision, "why", guards=guards, is_close=False, **known)
    console = Console(record=True, width=80, file=io.StringIO())
    print_after_promotion(console, Promotion(verdict, **fields), Path("my study.toml"), ADDRESS)
    return console.export_text()


def test_after_a_verdict_the_next_step_fits_it() -> None:
    promoted = after(Decision.PROMOTED, version=2, alias="champion")
    assert "models:/flowers@champion" in promoted
    assert "nightune report 'my study.toml' --sweep flowers-0" in promoted
    assert "--force" not in promoted
    dry = after(Decision.PROMOTED, is_dry=True)
    assert "nightune promote 'my study.toml' --sweep flowers-0" in dry
    assert "@champion" not in dry
    refused = after(Decision.REFUSED)
    assert "nightune tune 'my study.toml' --fresh" in refused
    assert "--force --because" in refused
    assert "--force" not in after(Decision.REFUSED, is_vital=True)
