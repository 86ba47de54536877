"""How the page of the report writes, names and draws each metric that can be an objective, and a user's metric."""

import math
from dataclasses import replace
from typing import Any

import pytest

from nightune.tasks.reporting.night.answer import answer, headline
from nightune.tasks.reporting.night.measure import NAMES, measure_of
from nightune.tasks.reporting.night.page import Context, draw_page
from nightune.tasks.reporting.night.tables import facts, load_trials, metric_rows
from nightune.tuning.analysis.metric_values import MetricValues
from nightune.tuning.analysis.paired_gain import Gain
from nightune.tuning.analysis.promotion_gate import Decision, as_markdown
from nightune.vocabulary import METRIC_LIMITS, NAMED_METRICS, OBJECTIVES, VALIDATION_PREFIX, listed_metrics
from tests.tasks.nights import ACCURACY, Page, confirmation, night, result, verdict

PROFIT = replace(ACCURACY, metric="val_net_profit")
MILLIONS = (1_234_567.8, 1_150_000.0, 1_180_000.0)

# metric → its name, 0.875 and a difference of 0.125 as the page writes them, and whether more is better
WRITTEN = {
    "auc": ("area under the curve", "87.5 %", "12.5 points", True),
    "pr_auc": ("average precision", "87.5 %", "12.5 points", True),
    "mcc": ("Matthews correlation", "0.875", "0.125", True),
    "top_3": ("top-3 accuracy", "87.5 %", "12.5 points", True),
    "top_5": ("top-5 accuracy", "87.5 %", "12.5 points", True),
    "brier": ("Brier score", "0.875", "0.125", False),
    "log_loss": ("log loss", "0.875", "0.125", False),
    "mean_iou": ("mean intersection over union", "87.5 %", "12.5 points", True),
    "mape": ("mean absolute percentage error", "87.5 %", "12.5 points", False),
    "spearman": ("rank correlation", "0.875", "0.125", True),
    "mae_original": ("mean absolute error in units of the target", "0.875", "0.125", False),
    "rmse_original": ("root mean squared error in units of the target", "0.875", "0.125", False),
    "pinball_0.9": ("pinball loss of the 0.9 quantile in units of the target", "0.875", "0.125", False),
}


def plain(text: str) -> str:
    return text.replace("\u00a0", " ").replace("\u202f", " ").replace("\u2212", "-")


def test_the_page_knows_only_metrics_that_exist() -> None:
    """A function of the user cannot have the name of one of them, and so not its words or its percent."""
    assert set(WRITTEN) == {name for names in NAMED_METRICS.values() for name in listed_metrics(names)}
    assert {f"{VALIDATION_PREFIX}{name}" for name in (*NAMES, *METRIC_LIMITS)} <= set(OBJECTIVES)


@pytest.mark.parametrize("metric", WRITTEN)
def test_a_named_metric_has_its_words_its_unit_and_its_direction(metric: str) -> None:
    name, text, points, is_maximized = WRITTEN[metric]
    full = f"{VALIDATION_PREFIX}{metric}"
    measure = measure_of(full, OBJECTIVES[full], (0.875, 0.75, 0.8), rows=100, is_target_scaled=True)
    assert (measure.full_name, plain(measure.text(0.875)), plain(measure.points(0.125))) == (name, text, points)
    assert measure.is_maximized is is_maximized
    assert measure.note == ""
    worse, better = (measure.drawn(score) for score in sorted((0.875, 0.75), reverse=not is_maximized))
    ends = measure.ends((0.875, 0.75, 0.8))
    assert abs(ends[0] - worse) < abs(ends[0] - better)
    assert ("%" in measure.axis(ends)["labelExpr"]) is text.endswith("%")


def test_relative_errors_are_percentages_on_every_axis_and_have_no_upper_end() -> None:
    for scores, kind in (((0.1, 0.12), "linear"), ((0.1, 1.2), "log")):
        measure = measure_of("val_mape", "minimize", scores, rows=100)
        assert measure.kind == kind
        assert measure.drawn(scores[0]) == pytest.approx(10.0)
    assert measure.within_limits(-0.1, 1.4) == (0.0, 1.4)
    assert plain(measure.text(1.2)) == "120.0 %"


def test_correlations_end_at_1() -> None:
    subject = night([result(0, 0.99), result(1, 0.98)], replace(ACCURACY, metric="val_mcc"))
    held = confirmation(0.999, 0.95)
    assert held.finalists[0].high > 1
    page = Page(draw_page(replace(subject, confirmation=held), Context("flowers.toml", "sqlite:///a.db")))
    assert "to 1 at 95 %" in plain(page.text)
    drawn = next(layer["data"]["values"] for layer in page.json["specs"]["finalists"]["layer"])
    assert max(row["high"] for row in drawn) == 1
    changed = measure_of("val_mcc", "maximize", (3.0,), rows=None)
    assert changed.within_limits(2.0, 4.0) == (2.0, 4.0)


@pytest.mark.parametrize("metric", ["val_top_3", "val_top_5"])
def test_the_rows_alone_leave_a_top_accuracy_uncertain(metric: str) -> None:
    subject = night([result(0, 0.9)], replace(ACCURACY, metric=metric), row_counts={"validation": 100})
    assert "100 held-out rows alone" in answer(subject, "s.toml")[1]
    other = replace(subject, sweep=replace(ACCURACY, metric="val_pr_auc"))
    assert "rows alone" not in answer(other, "s.toml")[1]


def profit_night(direction: str, **changes: Any) -> Any:
    results = [result(number, score) for number, score in enumerate(MILLIONS)]
    return night(results, replace(PROFIT, direction=direction), **changes)


@pytest.mark.parametrize(("direction", "best", "said"), [("maximize", 0, "Higher"), ("minimize", 1, "Lower")])
def test_a_metric_of_the_user_is_written_out_and_labelled_by_its_name(direction: str, best: int, said: str) -> None:
    subject = profit_night(direction)
    page = Page(draw_page(subject, Context("shop.toml", "sqlite:///a.db")))
    text = plain(page.text)
    assert f"Trial {best} leads with {('1 234 568', '1 150 000')[best]} net profit" in plain(headline(subject))
    assert f"{said} is better." in text
    assert "Held-out net profit." in text
    assert "Net profit" in text  # the heading of the column
    assert "e+" not in text
    curves = page.json["specs"]["curves-0"]["vconcat"][0]
    assert curves["title"]["text"] == "held-out net profit"
    layers = [layer["encoding"] for layer in page.json["specs"]["history"]["layer"]]
    assert layers[0]["y"]["axis"]["labelExpr"] == "format(datum.value, '~s')"
    told = {"field": "told", "title": "net profit", "type": "nominal"}
    assert any(told in encoding.get("tooltip", []) for encoding in layers)
    assert {repr(score) for score in MILLIONS} <= set(page.sort_values)
    assert ("DESC" if best == 0 else "ASC") in load_trials(subject, "sqlite:///a.db")


def test_the_sealed_value_of_a_metric_of_the_user_is_in_its_own_unit() -> None:
    values = MetricValues("val_net_profit", "maximize", 12_345.6, -250.5, None)
    gain = Gain(12_596.1, 11_000.0, 13_000.0, 0.95, 1 - 12_345.6, 251.5, 3, 1, 88, 0.1)
    judged = verdict(Decision.PROMOTED, against=None, values=values, baseline=gain)
    subject = profit_night("maximize", verdict=judged, version=1, serving=1)
    assert "12 346 net profit on 88 sealed rows" in plain(headline(subject))
    assert "a guess that ignores the inputs has -250.5: a gain between 11 000 and 13 000" in plain(
        answer(subject, "shop.toml")[-1]
    )
    assert ("12 346", "net profit on sealed rows") in {(plain(each.value), each.name) for each in facts(subject)}


def test_numbers_keep_their_digits_at_every_size() -> None:
    measure = measure_of("val_profit", "maximize", (1.0, 2.0), rows=None)
    written = {9999.4: "9999", 9999.6: "10 000", -123456.0: "-123 456", 0.00123: "0.00123", 2e12: "2e+12", 0.0: "0"}
    assert {score: plain(measure.text(score)) for score in written} == written
    assert plain(measure.points(1234.0, is_signed=True)) == "+1 234"
    assert measure.text(math.nan) == "nan"


@pytest.mark.parametrize("name", ["val__", "val__profit", "val_été"])
def test_every_name_of_a_function_is_a_name_on_the_page(name: str) -> None:
    page = Page(
        draw_page(night([result(0, 5.0)], replace(PROFIT, metric=name)), Context("shop.toml", "sqlite:///a.db"))
    )
    assert name.removeprefix(VALIDATION_PREFIX).strip("_").lower() in page.text.lower()


def test_the_page_has_every_metric_of_the_winner_on_validation_and_sealed_rows() -> None:
    metrics = {"accuracy": 0.875, "pr_auc": 0.75, "auc": math.nan}
    judged = verdict(Decision.PROMOTED, test_metrics=metrics)
    subject = night([result(0, 0.9)], verdict=judged, reported={"val_pr_auc": 0.5, "val_mcc": 0.25})
    rows = {row["name"]: (plain(row["validation"]), plain(row["test"])) for row in metric_rows(subject)}
    assert rows == {
        "accuracy": ("–", "87.50 %"),
        "average precision": ("50.00 %", "75.00 %"),
        "area under the curve": ("–", "not defined"),
        "Matthews correlation": ("0.25", "–"),
    }
    text = plain(Page(draw_page(subject, Context("s.toml", "sqlite:///a.db"))).text)
    assert "The winner in every metric" in text
    assert "75.00 %" in text
    assert "every metric" not in Page(draw_page(night([result(0, 0.9)]), Context("s.toml", "sqlite:///a.db"))).text
    assert "| auc | not defined |" in as_markdown(judged)
    assert "| pr_auc | 0.75 |" in as_markdown(judged)
