"""The part of the report on several objectives, and the leaderboard's columns of them."""

import io
import json
import math
from dataclasses import replace
from typing import Any

from rich.console import Console

from nightune.tasks.reporting.night.front_part import front_part, front_specs
from nightune.tasks.reporting.night.page import Context, draw_page
from nightune.tasks.reporting.sweep_report import SweepReport
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials.results import record_front
from nightune.tuning.analysis.metric_values import known_metric, search_unit
from nightune.tuning.trial import TrialResult
from tests.tasks.nights import ACCURACY, HOSTILE, Page, night, result

SWEEP = replace(ACCURACY, further=(("latency_ms", "minimize"), (f"val_{HOSTILE}", "maximize")))
VALUES = ((0.9, 3.0), (0.8, 1.0), (0.7, 2.0), (0.85, 2.5))


def ended(number: int, accuracy: float, latency: float) -> TrialResult:
    return replace(result(number, accuracy), further={"latency_ms": latency, f"val_{HOSTILE}": -latency})


RESULTS = [ended(number, *values) for number, values in enumerate(VALUES)]


def page_of(**changes: Any) -> Page:
    page = Page(draw_page(night(RESULTS, **({"sweep": SWEEP} | changes)), Context("a.toml", "sqlite:///a.db")))
    assert "img" not in page.elements
    return page


def test_the_front_is_drawn_and_listed() -> None:
    page = page_of()
    text = page.text.rpartition("Several objectives")[2].partition("Every trial")[0]
    assert "3 trials of 4 on the front" in text
    specs = page.json["specs"]
    rows = specs["front-0"]["layer"][1]["data"]["values"]
    assert {row["trial"] for row in rows if row["kind"] == "front"} == {"0", "1", "3"}
    assert [row["other"] for row in specs["front-0"]["layer"][0]["data"]["values"]] == [3.0, 2.5, 1.0]
    shares = [row["share"] for row in specs["volume"]["layer"][0]["data"]["values"]]
    assert shares == sorted(shares)


def test_one_objective_has_no_front() -> None:
    page = page_of(sweep=ACCURACY)
    assert "front-0" not in page.json["specs"]
    assert "Several objectives" not in page.text


def test_rows_and_terminal_mark_the_front() -> None:
    from nightune.flows.commands.leaderboard_table import print_leaderboard

    sweep = replace(SWEEP, further=SWEEP.further[:1])
    ordered = tuple(sorted(RESULTS, key=lambda each: -each.objective))
    report = SweepReport("flowers", sweep, ordered)
    assert report.front == [0, 3, 1]
    rows = {row["trial"]: row for row in report.rows()}
    assert (rows[1]["latency_ms"], rows[1]["is_on_front"], rows[2]["is_on_front"]) == (1.0, True, False)
    assert report.summary()["front"] == [0, 3, 1]
    console = Console(record=True, width=80, file=io.StringIO())
    print_leaderboard(console, report)
    lines = console.export_text().splitlines()
    assert any("latency" in line for line in lines)
    assert sum(" + " in f"{line} " for line in lines if "done" in line) == 3


def test_a_share_that_takes_too_long_is_said_and_not_drawn() -> None:
    from nightune.flows.commands.leaderboard_table import print_leaderboard

    names = [f"o{place}" for place in range(8)]
    results = [replace(each, further=dict.fromkeys(names, each.objective)) for each in RESULTS]
    sweep = replace(ACCURACY, further=tuple((name, "minimize") for name in names))
    page = Page(draw_page(night(results, sweep), Context("a.toml", "sqlite:///a.db")))
    assert "not computed" in page.text
    assert "volume" not in page.json["specs"]
    report = SweepReport("flowers", sweep, tuple(results))
    assert report.summary()["hypervolume"] is None
    console = Console(record=True, width=200, file=io.StringIO())
    print_leaderboard(console, report)
    assert "not computed" in console.export_text()


def test_a_function_of_the_user_is_no_metric_of_its_ending_in_any_place() -> None:
    data = {"scale_target": True}
    for objective in ({"metrics": ["val_r2", "m.py:business_mae"]}, {"metric": "m.py:business_mae"}):
        assert known_metric("val_business_mae", {"objective": objective, "data": data}) == "val_business_mae"
        assert search_unit("val_business_mae", {"objective": objective, "data": data}) == ""
    of_head = {"metrics": ["val_loss", "m.py:auc"], "head": "ink"}
    assert known_metric("val_ink_auc", {"objective": of_head}) == "val_ink_auc"
    assert known_metric("val_paper_auc", {"objective": of_head}) == "val_auc"
    assert known_metric("val_ink_mae", {"objective": {"metrics": ["m.py:mae", "val_r2"]}}) == "val_mae"


def test_objectives_of_several_heads_are_named_by_their_head() -> None:
    names = ("val_ink_mae", "val_paper_mae")
    results = [
        replace(each, further={"val_ink_mae": 1 + number, "val_paper_mae": 4 - number})
        for number, each in enumerate(RESULTS)
    ]
    sweep = replace(ACCURACY, further=tuple((name, "minimize") for name in names))
    part = front_part(night(results, sweep))
    assert part is not None
    assert [each.rpartition(" of ")[2] for each in part["names"][1:]] == ["ink", "paper"]


def test_values_that_are_not_finite_change_neither_figure_nor_scale() -> None:
    whole = front_specs(night(RESULTS, SWEEP))
    further = {"latency_ms": math.inf, f"val_{HOSTILE}": math.nan}
    with_more = front_specs(night([*RESULTS, replace(result(4, 0.6), further=further)], SWEEP))
    assert json.loads(json.dumps(with_more["front-0"], allow_nan=False)) == whole["front-0"]
    assert json.loads(json.dumps(with_more["front-1"], allow_nan=False)) == whole["front-1"]


def test_the_front_is_recorded_where_its_share_is_not_computed(store: Store, sweep: Sweep) -> None:
    record_front(store, sweep, 7, None)
    metrics = client(store).get_run(sweep.run_id).data.metrics
    assert metrics["front_trials"] == 7
    assert "hypervolume" not in metrics
