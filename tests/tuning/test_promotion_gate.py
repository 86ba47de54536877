import json
import math
from dataclasses import replace

import pytest

from nightune.tasks.tracking.sweeps.verdicts import parse_verdict
from nightune.tuning.analysis.metric_values import MetricValues, values_text
from nightune.tuning.analysis.paired_gain import Gain
from nightune.tuning.analysis.promotion_gate import Candidate, Decision, Guard, Rules, Verdict, as_markdown, decide

RULES = Rules(minimum_gain=0.01, challenger_margin=0.005)
HOLDS = Guard("size", True, "1 MB")


def gain(value: float, reach: float = 0.004) -> Gain:
    return Gain(value, value - reach, value + reach, 0.95, 0.2, 0.2 + value, 8, 8, 400, 0.002)


def verdict(**changes: object) -> Verdict:
    candidate = Candidate("flowers", "flowers-3", "0123456789abcdef", 4, "f" * 16, "run-1", 0.1, 0.12, ("run-2",))
    plain = Verdict(
        candidate,
        Decision.REFUSED,
        "not significantly better",
        "log loss",
        0.01,
        2,
        gain(0.0),
        gain(1.0),
        (HOLDS,),
        False,
    )
    return replace(plain, **changes)


def test_a_significant_gain_above_the_minimum_promotes() -> None:
    assert decide(gain(0.0141), gain(1.0), [HOLDS], RULES, True)[0] is Decision.PROMOTED
    decision, reason, is_close = decide(gain(0.0139), gain(1.0), [HOLDS], RULES, True)
    assert (decision, is_close) == (Decision.REFUSED, True)
    for words in ("not significantly better", "champion", "0.01", "gain 0.0139 [0.0099, 0.0179] at 95 % over 400 rows"):
        assert words in reason


def test_the_reason_names_the_metric_and_the_direction_of_the_gain() -> None:
    rules = Rules(0.01, 0.005, "val_auc")
    assert "gain +0.012 val_auc [0.008, 0.016]" in decide(gain(0.012), gain(1.0), [HOLDS], rules, True)[1]
    assert "gain -0.012 val_auc" in decide(gain(-0.012), gain(1.0), [HOLDS], rules, True)[1]
    grouped = replace(gain(0.5), groups=12)
    assert "over 400 rows in 12 groups" in decide(None, grouped, [HOLDS], rules, False)[1]


def test_values_are_those_of_the_metric_in_its_direction() -> None:
    baseline = replace(gain(0.3), challenger_loss=0.2, opponent_loss=0.5)
    values = MetricValues.of("val_auc", "maximize", replace(gain(0.1), opponent_loss=0.3), baseline)
    assert (values.challenger, values.champion, values.baseline) == pytest.approx((0.8, 0.7, 0.5))
    assert values_text(values) == "val_auc 0.8 (champion 0.7, baseline 0.5)"
    errors = MetricValues.of("val_rmse", "minimize", None, baseline)
    assert (errors.challenger, errors.champion, errors.baseline) == (0.2, None, 0.5)
    assert "no champion" in values_text(errors)


@pytest.mark.parametrize(("value", "is_close"), [(0.0051, True), (0.0049, False), (-1.0, False)])
def test_close_is_within_the_challengers_margin(value: float, is_close: bool) -> None:
    assert decide(gain(value), gain(1.0), [HOLDS], RULES, True)[2] is is_close


def test_a_failed_guard_refuses_whatever_the_gain_and_is_never_close() -> None:
    late = Guard("latency", False, "90 ms a row (limit 20 ms)")
    assert decide(gain(1.0), gain(1.0), [HOLDS, late], RULES, True) == (Decision.REFUSED, late.said, False)


def test_the_first_model_needs_to_beat_the_baseline_alone() -> None:
    assert decide(None, gain(0.0041), [HOLDS], RULES, False)[0] is Decision.PROMOTED
    decision, reason, _ = decide(None, gain(0.0039), [HOLDS], RULES, False)
    assert decision is Decision.REFUSED
    assert "baseline" in reason


def test_without_a_comparison_with_the_champion_there_is_no_promotion() -> None:
    assert decide(None, gain(1.0), [HOLDS], RULES, True) == (
        Decision.REFUSED,
        "the champion could not be compared",
        False,
    )
    assert decide(None, None, [HOLDS], RULES, True)[0] is Decision.REFUSED


def test_a_forced_promotion_keeps_its_reason_and_its_numbers() -> None:
    forced = verdict().forced(" the labels were corrected ")
    assert (forced.decision, forced.because, forced.is_promoted) == (Decision.FORCED, "the labels were corrected", True)
    assert forced.gain == verdict().gain
    promoted = verdict(decision=Decision.PROMOTED)
    assert promoted.forced("x") is promoted
    assert verdict(advice=("more rows",)).forced("x").advice == ()
    with pytest.raises(ValueError, match="needs a reason"):
        verdict().forced(" ")


def test_a_vital_guard_holds_against_force() -> None:
    broken = Guard("finite outputs", False, "outputs are not finite", is_vital=True)
    with pytest.raises(ValueError, match="cannot be forced"):
        verdict(guards=(HOLDS, broken)).forced("now")


def test_a_verdict_is_read_back_as_it_was_written() -> None:
    whole = verdict(notes=("few models",), test_metrics={"accuracy": 0.9}, because="x", test_reads=3)
    assert parse_verdict(whole.as_json()) == whole
    values = MetricValues("val_auc", "maximize", 0.8, 0.5, 0.7)
    valued = verdict(values=values, advice=("more test rows",), gain=replace(gain(0.1), lows=((0.9, 0.05),), groups=4))
    assert parse_verdict(valued.as_json()) == valued
    first = verdict(gain=None, against=None, baseline=None)
    assert parse_verdict(first.as_json()) == first
    unknown = verdict(gain=replace(gain(0.1), seed_deviation=math.nan))
    again = parse_verdict(unknown.as_json()).gain
    assert again is not None
    assert math.isnan(again.seed_deviation)


def test_a_verdict_of_an_earlier_version_is_read_and_says_that_values_are_not_recorded() -> None:
    earlier = json.loads(verdict().as_json())
    for name in ("values", "advice"):
        del earlier[name]
    for name in ("gain", "baseline"):
        earlier[name] = {
            key: value for key, value in earlier[name].items() if key not in {"seed_reach", "lows", "groups"}
        }
    read = parse_verdict(json.dumps(earlier))
    assert read == verdict()
    assert "not recorded" in values_text(read.values)
    assert "not recorded" in as_markdown(read)


def test_the_page_shows_everything_that_the_decision_used() -> None:
    values = MetricValues("val_auc", "maximize", 0.8, 0.5, 0.7)
    page = as_markdown(
        verdict(
            notes=("few models",), test_metrics={"accuracy": 0.9}, test_reads=3, values=values, advice=("more rows",)
        )
    )
    for part in (
        "flowers: refused",
        "champion version 2",
        "8 to 8",
        "size | yes | 1 MB",
        "few models",
        "0.9",
        "its read number 3",
        "val_auc 0.8 (champion 0.7, baseline 0.5)",
        "- more rows",
    ):
        assert part in page
