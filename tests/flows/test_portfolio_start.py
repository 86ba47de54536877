"""A sweep that begins with the portfolio: its tags, a stop before its end, history before it, and what `check` says."""

from pathlib import Path
from typing import Any

import pytest

from nightune.tasks.reporting.sweep_report import SweepReport
from nightune.tasks.tracking.store.store import client, open_store
from nightune.tasks.tracking.sweeps.sweeps import all_sweeps
from nightune.tasks.tracking.trials.trials import finished_trials
from nightune.tuning.errors import StudyError
from tests.flows.test_model_rounds import interrupt_after_trainings

pytestmark = pytest.mark.usefixtures("plain_flows", "store_root", "portfolio")


@pytest.fixture
def started(small_study: Path) -> Path:
    text = small_study.read_text().replace("trials = 4\nepochs = 2", 'trials = 10\nepochs = 1\nstart = "portfolio"')
    small_study.write_text(text)
    return small_study


def tune(study: Path, **options: Any) -> SweepReport:
    from nightune.flows.tune import tune as flow

    report = flow(study, engine="fit", **options)
    assert isinstance(report, SweepReport)
    return report


def by_number(report: SweepReport) -> list[tuple[str, float]]:
    trials = sorted((each.trial for each in report.results), key=lambda trial: trial.number)
    return [(trial.key, float(str(trial.params["learning_rate.peak"]))) for trial in trials]


def expected(report: SweepReport) -> list[float]:
    return [each.trial.expected.value for each in report.results if each.trial.expected is not None]


def test_a_sweep_begins_with_the_portfolio_also_after_a_stop(
    started: Path, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_after_trainings(3, patch)
        with pytest.raises(KeyboardInterrupt):
            tune(started)
    with monkeypatch.context() as patch:  # another version ships another portfolio
        text = Path(__file__).parent.with_name("portfolio.json").read_text().replace("0.003", "0.004")
        (started.parent / "other.json").write_text(text)
        patch.setattr("nightune.tuning.search.portfolio.FILE", started.parent / "other.json")
        report = tune(started)
    found = by_number(report)
    assert len(found) == len({key for key, _ in found}) == 10
    assert [peak for _, peak in found[:2]] == [0.003, 0.1]
    runs = {each.trial.number: each.run_id for each in report.results}
    tags = [client(open_store(store_root)).get_run(runs[number]).data.tags for number in range(10)]
    by = [each["nightune.proposed_by"] for each in tags]
    assert by == ["portfolio"] * by.count("portfolio") + ["random"] * by.count("random")
    assert by.count("portfolio") >= 6
    monkeypatch.setenv("NIGHTUNE_STORE", str(store_root.parent / "whole"))
    assert by_number(tune(started)) == found


def test_a_sweep_that_began_with_draws_keeps_them(started: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = (
        started.read_text().replace('start = "portfolio"\n', "").replace('"random"\ntrials = 10', '"auto"\ntrials = 8')
    )
    started.write_text(draws)
    with monkeypatch.context() as patch:  # as a version that ships none
        patch.setattr("nightune.tuning.search.portfolio.FILE", started.parent / "none.json")
        interrupt_after_trainings(3, patch)
        with pytest.raises(KeyboardInterrupt):
            tune(started)
    report = tune(started)
    assert len(report.results) == 8
    assert {each.trial.proposed_by for each in report.results} == {"random"}


def test_a_model_begins_from_the_recorded_scores_and_what_it_proposed_stays_without_them(
    started: Path, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nightune.tuning.study.budgets.ROUND", 4)
    started.write_text(started.read_text().replace('"random"\ntrials = 10', '"auto"\ntrials = 8'))
    with monkeypatch.context() as patch:
        interrupt_after_trainings(6, patch)  # in the second round
        with pytest.raises(KeyboardInterrupt):
            tune(started)
    with monkeypatch.context() as patch:  # another version ships none
        patch.setattr("nightune.tuning.search.recorded_scores.FILE", started.parent / "none.json")
        resumed = tune(started)
        monkeypatch.setenv("NIGHTUNE_STORE", str(store_root.parent / "without"))
        without = tune(started)
    monkeypatch.setenv("NIGHTUNE_STORE", str(store_root.parent / "whole"))
    whole = tune(started)
    assert by_number(whole) == by_number(resumed)
    assert by_number(whole)[:4] == by_number(without)[:4]
    assert not set(by_number(whole)[4:]) & set(by_number(without)[4:])
    assert expected(whole) == expected(resumed)
    assert not set(expected(whole)) & set(expected(without))
    assert whole.beliefs != resumed.beliefs  # which are of the end, after a resumption without scores


@pytest.mark.parametrize("name", ["portfolio", "recorded_scores"])
def test_damaged_files_of_the_package_are_refused_before_the_first_trial(
    name: str, started: Path, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started.write_text(started.read_text().replace('"random"\ntrials = 10', '"auto"\ntrials = 24'))
    (started.parent / "damaged.json").write_text("{")
    monkeypatch.setattr(f"nightune.tuning.search.{name}.FILE", started.parent / "damaged.json")
    with pytest.raises(StudyError, match=rf"{name}.json is damaged; reinstall"):
        tune(started)
    (sweep,) = all_sweeps(open_store(store_root), "flowers")
    assert not finished_trials(open_store(store_root), sweep)


@pytest.mark.nights
def test_history_comes_before_the_portfolio(started: Path, store_root: Path) -> None:
    first = tune(started, fresh=True, is_night=True)
    second = tune(started, fresh=True, is_night=True)
    store = open_store(store_root)
    tags = [
        client(store).get_run(each.run_id).data.tags["nightune.proposed_by"]
        for each in sorted(second.results, key=lambda each: each.trial.number)
    ]
    assert tags[:5] == ["history"] * 5
    assert set(tags[5:]) <= {"portfolio", "random"}
    best = [each.trial.params["learning_rate.peak"] for each in first.results[:5]]
    assert [peak for _, peak in by_number(second)[:5]] == best
    assert len({str(each.trial.params) for each in second.results}) == 10  # no point of history is begun again


def test_check_says_how_many_configurations_fit_and_what_was_changed(started: Path) -> None:
    from rich.console import Console

    from nightune.flows.commands.check_tables import print_check
    from nightune.tasks.check_study import check_study
    from nightune.tasks.load_study import load_study

    check = check_study(load_study(started))
    assert check.start is not None
    assert (check.start["by"], check.start["configurations"]) == ("portfolio", 8)
    fixed, drawn = check.start["fixed"], check.start["drawn"]
    assert isinstance(fixed, dict)
    assert isinstance(drawn, dict)
    assert fixed["model.units"] >= 4
    assert drawn["optimizer"] == 2  # adamw is not among the options
    assert drawn["learning_rate.peak"] == 2
    console = Console(record=True, width=160)
    print_check(console, check)
    printed = console.export_text()
    assert "configurations of the portfolio" in printed
    assert "model.units (in " in printed
    own = started.read_text().replace('architecture = "mlp"\nunits = [[4]]', 'architecture = "net.py:make"')
    started.with_name("net.py").write_text(
        "from keras import Input, Sequential, layers\n\n"
        "def make(input_shape, output_size):\n"
        "    return Sequential([Input(input_shape), layers.Dense(output_size)])\n"
    )
    started.write_text(own)
    assert check_study(load_study(started)).as_json()["start"]["without_family"] == ["net.py:make"]  # type: ignore[index]
    started.write_text(own.replace('start = "portfolio"\n', "").replace('"random"\ntrials = 10', '"auto"\ntrials = 8'))
    console = Console(record=True, width=160)
    print_check(console, check_study(load_study(started)))
    printed = console.export_text()
    (line,) = (each for each in printed.splitlines() if each.startswith("start"))
    assert "configurations of the portfolio" in line
    assert "net.py:make: no family of the portfolio" in printed


def test_check_says_how_many_recorded_configurations_the_model_begins_from(started: Path) -> None:
    from rich.console import Console

    from nightune.flows.commands.check_tables import print_check
    from nightune.tasks.check_study import check_study
    from nightune.tasks.load_study import load_study

    assert check_study(load_study(started)).start["expected_from"] == 0  # type: ignore[index]  # draws: no model
    started.write_text(started.read_text().replace('"random"\ntrials = 10', '"auto"\ntrials = 24'))
    check = check_study(load_study(started))
    assert check.start is not None
    assert int(str(check.start["expected_from"])) >= 24
    console = Console(record=True, width=160)
    print_check(console, check)
    assert f"scores of {check.start['expected_from']} recorded configurations" in console.export_text()
