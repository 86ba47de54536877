"""The part of the report on what the winner owes to its settings: from the default and from the champion."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from nightune.tasks import train_ablation
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.reporting.night.ablation_section import FROM_CHAMPION, ablations
from nightune.tasks.reporting.night.measure import duration
from nightune.tasks.reporting.night.page import Context, draw_page
from nightune.tasks.reporting.night.phrases import machine_time
from nightune.tasks.reporting.night.record import Champion
from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials.recorded import RecordedTrial, read_params
from nightune.tuning.errors import StudyError
from nightune.tuning.trial import Trial
from tests.tasks.nights import HOSTILE, Page, expressions, log_trial
from tests.tasks.test_effects_figures import swept


def drawn(subject: object) -> Page:
    return Page(draw_page(subject, Context("flowers.toml", "sqlite:///mlruns/mlflow.db")))  # type: ignore[arg-type]


def test_the_path_is_drawn_from_the_default_and_from_a_champion_of_the_space() -> None:
    subject = swept(trials=40)
    page = drawn(subject)
    part = page.text.partition("What the winner owes to its settings")[2].partition("Every trial")[0]
    assert "From the study's default" in part
    assert "gains most" in part
    assert "out of bag" in part
    assert "From the champion" not in part
    rows = page.json["specs"]["ablation-default"]["layer"][0]["data"]["values"]
    assert rows[0]["text"].startswith("start")
    assert rows[-1]["is_last"]
    assert all(row["low"] <= row["middle"] <= row["high"] for row in rows)
    assert "img" not in page.elements
    assert not any(HOSTILE[:8] in each for each in expressions(page.json["specs"]))
    other = subject.ranked[-1].trial.params
    both = drawn(replace(subject, champion=Champion(1), champion_params=other))
    assert "From the champion" in both.text
    outside = drawn(replace(subject, champion=Champion(1), champion_params={**other, "model.dropout": 9.0}))
    assert "From the champion" not in outside.text


def test_trained_configurations_are_rings_and_count_in_the_time() -> None:
    subject = swept(trials=40)
    path = ablations(subject)[0].path
    found = [
        RecordedTrial(
            replace(
                subject.full[0], objective=objective, seconds=100.0, trial=Trial(0, {**path.start, "x": 1}, n, "k")
            ),
            1.0,
        )
        for n, objective in enumerate((0.5, 0.7))
    ]
    trained = replace(subject, ablation=tuple(found))
    assert machine_time(trained) == duration(40 * 1.0 + 200.0)
    page = drawn(trained)
    rings = page.json["specs"]["ablation-default"]["layer"][3]["data"]["values"]
    assert [(row["place"], row["trained"]) for row in rings] == [(0, pytest.approx(60.0))]
    assert "of 2 seeds" in page.text
    assert "not trained" in page.text
    assert page.text.count("Every trial") == drawn(subject).text.count("Every trial")
    assert len(trained.ranked) == 40


def test_the_params_of_a_run_are_read_or_unknown(store: Store, sweep: Sweep, data: PreparedData) -> None:
    run = log_trial(store, sweep, data, 0, [0.5, 0.3])
    assert read_params(store, run)["learning_rate.peak"] == 0.1
    assert read_params(store, "0" * 32) == {}
    client(store).set_tag(run, "nightune.params", "[")
    assert read_params(store, run) == {}


def test_a_seed_that_was_trained_twice_counts_once_by_its_last_training() -> None:
    subject = swept(trials=40)
    path = ablations(subject)[0].path
    trial = Trial(0, dict(path.start), 1, "k")
    found = [replace(subject.full[0], objective=score, trial=trial) for score in (0.7, 0.5)]
    times = (2.0, 1.0)
    trained = replace(subject, ablation=tuple(map(RecordedTrial, found, times)))
    rings = drawn(trained).json["specs"]["ablation-default"]["layer"][3]["data"]["values"]
    assert [row["trained"] for row in rings] == [pytest.approx(70.0)]


def test_the_path_from_the_champion_is_not_trained_for_that_from_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = swept(trials=40)
    setting: Any = SimpleNamespace(store=None, sweep=subject.sweep, study=SimpleNamespace(name="flowers"))
    (found,) = ablations(subject)
    assert found.path.is_trusted
    monkeypatch.setattr(train_ablation, "read_night", lambda *_: subject)
    monkeypatch.setattr(train_ablation, "ablations", lambda _: [replace(found, id=FROM_CHAMPION)])
    with pytest.raises(StoreError, match="no ablation path"):
        train_ablation.missing_ablation.fn(setting)


def test_a_path_to_a_winner_of_other_code_is_not_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = swept(trials=40)
    setting: Any = SimpleNamespace(
        store=None, sweep=subject.sweep, study=SimpleNamespace(name="flowers", path="flowers.toml"), data=None
    )
    monkeypatch.setattr(train_ablation, "read_night", lambda *_: subject)
    with pytest.raises(StudyError, match="other code") as found:
        train_ablation.missing_ablation.fn(setting)
    assert "--train-ablation" in str(found.value)
