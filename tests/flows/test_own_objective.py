"""A study with a user's metric, folds, and weights of rows and classes, from file to verdict, report and comparison."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nightune.models.kept_code import code_kept
from nightune.tasks.compare_sweeps import compare_sweeps
from nightune.tasks.draw_report import Asked, draw_report
from nightune.tasks.load_study import load_study
from nightune.tasks.prepare_data import prepare_data
from nightune.tasks.reporting.night.read_night import read_night
from nightune.tasks.start_sweep import start_sweep
from nightune.tasks.tracking.store.store import Store, client, open_store
from nightune.tasks.tracking.sweeps.find_sweeps import find_sweep
from nightune.tasks.tracking.sweeps.metric_code import read_metric_code
from nightune.tasks.tracking.sweeps.sweeps import Sweep, finish_sweep

pytestmark = pytest.mark.usefixtures("plain_flows", "store_root", "opened_here")

METRIC = """
def profit(y_true, y_pred, weights):
    return float((weights * (y_pred > 0.3) * (y_true * 12_000.0 - 2_000.0)).sum())
"""
STUDY = """
question = "Which rate earns most?"
[data]
source = "shop.csv"
target = "buys"
weight = "times"
split = { test = 0.4, folds = 2 }
[model]
architecture = "mlp"
units = [[4]]
[space]
optimizer = "adam"
learning_rate.peak = { low = 1e-2, high = 1e-1, scale = "log" }
batch_size.size = 20
[training]
class_weight = "balanced"
[search]
trials = 2
epochs = 3
[objective]
metric = "own.py:profit"
direction = "maximize"
report = ["val_mcc"]
[confirmation]
finalists = 1
replicates = 2
[promotion]
replicates = 3
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    values = generator.normal(size=(200, 2))
    buys = np.where(values[:, 0] + generator.normal(0, 0.4, 200) > 0.8, "yes", "no")
    table = pd.DataFrame({"a": values[:, 0], "b": values[:, 1], "times": generator.integers(1, 4, 200), "buys": buys})
    table.to_csv(tmp_path / "shop.csv", index=False)
    (tmp_path / "own.py").write_text(METRIC)
    (tmp_path / "shop.toml").write_text(STUDY)
    return tmp_path / "shop.toml"


def test_a_metric_of_the_user_ranks_confirms_judges_and_is_reported(study: Path, store_root: Path) -> None:
    from nightune.flows.promote import promote
    from nightune.flows.tune import tune

    tune(study, engine="fit")
    promotion = promote(study)
    store = open_store(store_root)
    sweep = find_sweep(store, "shop", None)
    night = read_night(store, "shop", sweep)
    assert (sweep.metric, sweep.direction, night.measure.name) == ("val_profit", "maximize", "profit")
    assert night.ranked[0].objective == max(each.result.objective for each in night.trials)
    assert len(night.replicates) == 3  # the last one is trained by `promote`
    for each in (*night.trials, *night.replicates):
        metrics = client(store).get_run(each.result.run_id).data.metrics
        assert {"val_profit", "fold_2/val_profit", "val_mcc", "fold_1/val_mcc"} <= set(metrics)
    values = promotion.verdict.values
    assert values is not None
    assert values.metric == "val_profit"
    assert night.sealed == values
    assert promotion.verdict.test_metrics["profit"] > 2_000
    assert 0 < promotion.verdict.test_metrics["mcc"] <= 1  # of [objective] report
    assert 0 < night.reported["val_mcc"] <= 1
    drawn = draw_report(store, "shop", study, Asked(output=study.parent / "page.html"))
    shown = f"{values.challenger:,.0f}".replace(",", "\u202f")
    assert f"with {shown} profit on 80 weighted sealed rows" in drawn.headline
    assert "Higher is better." in (study.parent / "page.html").read_text()


def start(store: Store, study: Path, fresh: bool) -> Sweep:
    with code_kept():
        read = load_study(study)
        return start_sweep.fn(store, read, prepare_data.fn(read, store.root), "fit", fresh).sweep


def test_sweeps_of_two_versions_of_a_metric_are_not_compared_by_score(study: Path, store_root: Path) -> None:
    store, codes, sweeps = open_store(store_root), list[str](), list[Sweep]()
    for factor, fresh in (("12_000", False), ("12_000", True), ("13_000", True)):
        (study.parent / "own.py").write_text(METRIC.replace("12_000", factor))
        sweeps.append(start(store, study, fresh))
        codes.append(read_metric_code(store, sweeps[-1]))
        finish_sweep(store, sweeps[-1], "", [])
    assert codes[0] == codes[1] != codes[2]
    assert "" not in codes
    ids = [each.id for each in sweeps]
    assert compare_sweeps(store, "shop", ids[:2]).is_comparable
    difference = compare_sweeps(store, "shop", ids[1:])
    assert not difference.is_comparable
    assert [(each.before, each.after) for each in difference.changes if each.name == "metric code"] == [(*codes[1:],)]


def test_an_unfinished_sweep_has_the_code_of_its_last_start_and_a_built_in_metric_none(
    study: Path, store_root: Path
) -> None:
    store = open_store(store_root)
    first = start(store, study, False)
    before = read_metric_code(store, first)
    (study.parent / "own.py").write_text(METRIC.replace("0.3", "0.4"))
    assert start(store, study, False).id == first.id
    assert read_metric_code(store, first) != before
    study.write_text(STUDY.replace('"own.py:profit"', '"val_pr_auc"'))
    assert read_metric_code(store, start(store, study, False)) == ""
