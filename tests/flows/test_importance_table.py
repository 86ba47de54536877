"""The text about importance, and the claim that the best trial is better."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from nightune.flows.commands.leaderboard_table import print_leaderboard
from nightune.flows.commands.tables import claim_text, print_confirmation, print_importance
from nightune.tasks.reporting.sweep_report import SweepReport
from nightune.tasks.tracking.sweeps.sweeps import Sweep, SweepStatus
from nightune.tuning.analysis.confirmation import Claim
from nightune.tuning.analysis.importance import Edge, Importance, WhatMattered
from nightune.tuning.analysis.metric_values import search_unit
from tests.tasks.nights import confirmation

SWEEP = Sweep("flowers-0", 0, "run", "1", SweepStatus.COMPLETE, "digest", "data", "val_loss", "minimize", 24)
EDGE = Edge("learning_rate.peak", "high", 0.01, trials=5, best=6)


@pytest.mark.parametrize(("metric", "shown"), [("val_accuracy", "1.0000]"), ("val_profit", "1.0020]")])
def test_an_interval_ends_where_the_values_of_its_metric_end(metric: str, shown: str) -> None:
    console = Console(record=True, width=160, file=io.StringIO())
    held = confirmation(0.999, 0.99)
    confirmed = replace(
        held, finalists=tuple(replace(each, high=each.finalist.mean + 0.003) for each in held.finalists)
    )
    print_confirmation(console, SweepReport("flowers", replace(SWEEP, metric=metric), (), confirmation=confirmed))
    assert shown in console.export_text()


def test_scores_of_a_scaled_target_have_their_unit() -> None:
    console = Console(record=True, width=160, file=io.StringIO())
    sweep = replace(SWEEP, metric="val_rmse")
    unit = search_unit("val_rmse", {"data": {"scale_target": True}})
    report = SweepReport("flowers", sweep, (), confirmation=confirmation(0.9, 0.8, direction="minimize"), unit=unit)
    print_leaderboard(console, report)
    print_confirmation(console, report)
    assert console.export_text().count("val_rmse in standard deviations") == 2
    for metric, data in (("val_r2", {"scale_target": True}), ("val_rmse", {"scale_target": None}), ("val_rmse", None)):
        assert search_unit(metric, {"data": data}) == ""


def printed(mattered: WhatMattered | None) -> str:
    console = Console(record=True, width=160, file=io.StringIO())
    print_importance(console, SweepReport("flowers", SWEEP, (), mattered=mattered))
    return console.export_text()


def test_shares_are_printed_with_their_reliability_and_the_range_ends_that_were_reached() -> None:
    shares = (Importance("learning_rate.peak", 0.742, 0.59, 24), Importance("momentum", None, None, 4))
    text = printed(WhatMattered(shares, (EDGE,)))
    assert "74%" in text
    assert "too few" in text
    assert "explains 59% of the variance" in text
    warning = next(line for line in text.splitlines() if line.startswith("learning_rate.peak: "))
    for word in ("5 of the best 6", "highest quarter", "raise", "0.01"):
        assert word in warning


@pytest.mark.parametrize(
    ("explained", "words"), [(0.1, "unreliable"), (-0.3, "unreliable"), (None, "at least ten trials")]
)
def test_shares_of_noise_are_reported_as_unreliable(explained: float | None, words: str) -> None:
    share = None if explained is None else 0.5
    assert words in printed(WhatMattered((Importance("optimizer", share, explained, 24),), ()))


def test_too_few_trials_for_any_share_are_a_line() -> None:
    found = tuple(Importance(name, None, None, 6) for name in ("optimizer", "units"))
    assert len(printed(WhatMattered(found, ())).splitlines()) == 1


def test_an_incomplete_sweep_prints_no_importance() -> None:
    assert printed(None) == ""


def test_a_claim_is_made_only_where_chance_is_an_unlikely_cause() -> None:
    shown = claim_text(Claim(gain=0.02, low=0.005, ordinary=0.9, trials=24), confidence=0.95)
    for words in ("median of 24 trials (0.9000)", "by 0.0200", "at least 0.0050 with 95% confidence"):
        assert words in shown
    assert "not significantly better" not in shown
    assert "not significantly better" in claim_text(Claim(0.02, -0.005, 0.9, 24), confidence=0.95)
