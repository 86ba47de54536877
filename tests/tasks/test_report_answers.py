"""What the report says: the answer, the headline, how sure it is, and the commands that follow."""

import math
from dataclasses import replace
from typing import Any

import pytest

from nightune.tasks.reporting.night.answer import answer, headline
from nightune.tasks.reporting.night.page import Context, draw_page
from nightune.tasks.reporting.night.phrases import sentence_parts
from nightune.tasks.reporting.night.record import Champion
from nightune.tasks.reporting.night.tables import commands
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.engines import record_engine
from nightune.tasks.tracking.sweeps.origins import Origin, read_origin
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials.recorded import RecordedTrial
from nightune.tuning.analysis.metric_values import MetricValues
from nightune.tuning.analysis.paired_gain import Gain
from nightune.tuning.analysis.promotion_gate import Decision
from tests.tasks.nights import (
    ACCURACY,
    SCORES,
    confirmation,
    night,
    result,
    verdict,
)


def test_the_doubt_of_folds_is_pooled_as_in_the_terminal() -> None:
    subject = night([result(n, score) for n, score in enumerate((0.9, 0.89, 0.5, 0.4))])
    errors = (0.0, 0.02, 0.5, None)  # of the winner, three folds agree by chance
    trials = [replace(each, standard_error=error) for each, error in zip(subject.trials, errors, strict=True)]
    content = {"data": {"split": {"folds": 3}}}
    said = " ".join(answer(replace(subject, trials=tuple(trials), origin=Origin(90.0, content=content)), "a.toml"))
    reach = 100 * math.sqrt((0.0**2 + 0.02**2) / 2) * 4.3027  # Student's t of two degrees
    assert f"±{reach:.1f}\u00a0points" in said


@pytest.mark.parametrize(
    ("changes", "start"),
    [
        ({"verdict": verdict(Decision.PROMOTED), "version": 2, "serving": 2}, "Trial 0 became the champion"),
        ({"verdict": verdict(Decision.FORCED, because="demo")}, "Trial 0 was made champion by hand"),
        ({"verdict": verdict(Decision.REFUSED)}, "The champion stays: trial 0"),
        (
            {"verdict": verdict(Decision.REFUSED, against=None)},
            "Trial 0, with 97.0\u00a0% accuracy on 360 sealed rows, is not promoted",
        ),
        ({}, "Trial 0 leads with 98.0\u00a0% accuracy over 3 fresh seeds; not judged yet"),
    ],
)
def test_the_headline_is_the_verdict(changes: dict[str, Any], start: str) -> None:
    results = [result(n, score) for n, score in enumerate(SCORES)]
    assert headline(night(results, confirmation=confirmation(0.98, 0.93), **changes)).startswith(start)


def test_the_answer_says_what_won_by_how_much_and_how_sure() -> None:
    results = [result(n, score) for n, score in enumerate(SCORES)]
    subject = night(
        results,
        confirmation=confirmation(0.98, 0.93),
        champion=Champion(1, 0.975, 0.97, 0.98),
        verdict=verdict(Decision.REFUSED),
    )
    won, sure, judged = (sentence.replace("\u00a0", " ") for sentence in answer(subject, "flowers.toml"))
    assert "98.0 % accuracy on held-out rows over 3 fresh seeds" in won
    assert "2.9 points better than the median of 6 trials" in won  # the median of SCORES is 0.951
    assert "0.5 points better than champion version 1" in won
    assert f"{100 * subject.confirmed.low:.1f} % to" in sure  # type: ignore[union-attr]
    assert "97.0 % accuracy, the champion has 96.0 %" in judged
    assert "between \u22120.2 and 2.2 points" in judged
    assert "champion stays" in judged


def test_a_trial_in_a_sentence_has_the_link_to_its_run() -> None:
    subject = night([result(n, score) for n, score in enumerate(SCORES)])
    parts = sentence_parts(subject, "Trial 3 leads, trial\u00a04 and trial 99 follow: `nightune show trial 3`.")
    links = {part.text: part.link for part in parts if part.link}
    assert links == {"Trial 3": subject.link("run-3"), "trial\u00a04": subject.link("run-4")}
    assert [part.text for part in parts if part.is_code] == ["nightune show trial 3"]


def test_commands_name_the_sweep_and_the_options_that_it_was_trained_with() -> None:
    subject = night([result(0, 0.5)], origin=Origin(started=90.0, overrides=("--trials", "60")))
    assert "nightune tune 'my study.toml' --trials 60 --fresh" in commands(subject, "my study.toml")
    assert "nightune promote 'my study.toml' --sweep flowers-0" in commands(subject, "my study.toml")
    assert "<code>nightune promote flowers.toml --sweep flowers-0</code>" in draw_page(
        subject, Context("flowers.toml", "")
    )


def test_overrides_of_the_command_line_are_read_from_the_store(store: Store, sweep: Sweep) -> None:
    client(store).log_text(sweep.run_id, "[search]\nmethod = 'random'\ntrials = 9\nepochs = 2\n", "study/flowers.toml")
    assert read_origin(store, sweep).overrides == ("--trials", "3", "--seed", "7")
    client(store).log_text(sweep.run_id, "seed = 7\n[search]\ntrials = 3\nepochs = 5\n", "study/flowers.toml")
    assert read_origin(store, sweep).overrides == ("--epochs", "2")


@pytest.mark.parametrize(
    ("engine", "reason", "option"),
    [
        ("fit", "as asked", ("--engine", "fit")),
        ("jax", "as asked; weights match fit's", ("--engine", "compiled")),
        ("jax", "weights match fit's", ()),
        ("fit", "40 programs for 40 trials", ()),
    ],
)
def test_an_engine_that_was_asked_for_is_asked_for_again(
    engine: str, reason: str, option: tuple[str, ...], store: Store, sweep: Sweep
) -> None:
    """`auto` weighs what programs cost, and may choose another one."""
    record_engine(store, sweep, engine, reason)
    assert read_origin(store, sweep).overrides == ("--seed", "7", *option)


def test_a_champion_of_later_is_named() -> None:
    subject = night([result(0, 0.98)], verdict=verdict(Decision.PROMOTED, against=None), version=1, serving=3)
    assert "Since then version 3 has become champion." in answer(subject, "flowers.toml")[-1]


def test_a_scaled_target_is_named_beside_the_sealed_rows_unit() -> None:
    values = MetricValues("val_rmse", "minimize", 56.0, 81.0, None)
    gain = Gain(25.0, 16.0, 35.0, 0.95, 56.0, 81.0, 3, 1, 88, 0.1)
    subject = night(
        [result(n, score) for n, score in enumerate((0.7, 0.8, 0.9))],
        replace(ACCURACY, metric="val_rmse", direction="minimize"),
        origin=Origin(started=90.0, content={"data": {"scale_target": True}}),
        verdict=verdict(Decision.PROMOTED, against=None, values=values, baseline=gain),
    )
    won, *_, judged = answer(subject, "flowers.toml")
    assert "standard deviations of the target" in won
    assert "56 root mean squared error in units of the target" in judged


def test_a_loss_of_sealed_rows_is_told_from_that_of_a_scaled_target() -> None:
    values = MetricValues("val_loss", "minimize", 4.8e8, 4.4e10, None)
    gain = Gain(4e10, 3e10, 5e10, 0.95, 4.8e8, 4.4e10, 3, 1, 88, 0.1)
    subject = night(
        [result(n, score) for n, score in enumerate((0.007, 0.008, 0.009))],
        replace(ACCURACY, metric="val_loss", direction="minimize"),
        origin=Origin(started=90.0, content={"data": {"scale_target": True}}),
        verdict=verdict(Decision.PROMOTED, against=None, values=values, baseline=gain),
    )
    assert "loss of the unscaled target" in answer(subject, "flowers.toml")[-1]
    assert "loss of the unscaled target" in headline(subject)
    plain = replace(subject, origin=Origin(started=90.0, content={"data": {}}))
    assert "unscaled" not in " ".join(answer(plain, "flowers.toml"))


def test_an_interval_of_a_share_ends_at_its_ends() -> None:
    subject = night([result(0, 0.99), result(1, 0.98)], confirmation=confirmation(0.999, 0.95))
    assert "to 100.0\u00a0%" in answer(subject, "flowers.toml")[1]


def test_an_edited_study_is_said_beside_the_command() -> None:
    subject = night([result(0, 0.5)])
    assert "has changed since" in commands(subject, "s.toml", is_edited=True)
    assert "has changed since" not in commands(subject, "s.toml")


def test_seeds_that_had_no_part_in_the_choice_are_told_apart() -> None:
    later = tuple(
        RecordedTrial(replace(result(0, 0.9), trial=replace(result(0, 0.9).trial, replicate=number)), ended=200.0)
        for number in (1, 2, 3, 4, 5)
    )
    subject = night([result(0, 0.98), result(1, 0.9)], confirmation=confirmation(0.98, 0.9), replicates=later)
    assert "2 more seeds" in " ".join(answer(subject, "s.toml"))
