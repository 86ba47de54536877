"""Answers to held-out rows: planted truths are found, and what chance makes is no finding."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nightune.tuning.analysis.held_out import calibration
from nightune.tuning.analysis.held_out.answers import Answers
from nightune.tuning.analysis.held_out.slices import HeldColumn, worst_slices
from nightune.tuning.analysis.held_out.summarize import summarize

ROWS = 300
ONES = np.ones(ROWS)


def classes(seed: int = 0, models: int = 2, **changes: Any) -> Answers:
    """Three classes, of which the last is confused with the second."""
    generator = np.random.default_rng(seed)
    truths = generator.integers(0, 3, ROWS)
    predicted = np.where((truths == 2) & (generator.random((models, ROWS)) < 0.5), 1, truths)
    losses = (predicted != truths).mean(axis=0) + 0.01 * generator.random(ROWS)
    known = {"names": ("ant", "bee", "cat"), "truths": truths, "predicted": predicted, "losses": losses}
    return Answers(kind="classes", weights=ONES, measure="log loss", **(known | changes))


def columns(generator: np.random.Generator) -> list[HeldColumn]:
    sizes = np.where(generator.random(ROWS) < 0.1, np.nan, generator.normal(size=ROWS))
    return [
        HeldColumn("region", "label", generator.choice(["north", "south", "east"], ROWS)),
        HeldColumn("size", "number", sizes),
        HeldColumn("day", "date", generator.integers(0, 10**8, ROWS).astype(float)),
    ]


def test_the_confusion_matrix_is_that_of_scikit_learn_over_the_models() -> None:
    from sklearn.metrics import accuracy_score, confusion_matrix

    weights = np.random.default_rng(1).integers(0, 3, ROWS).astype(float)
    answers = replace(classes(), weights=weights)
    summary = summarize(answers, [])
    given = [(answers.truths, each) for each in answers.predicted]
    matrices = [confusion_matrix(*each, sample_weight=weights) for each in given]
    assert np.array(summary.matrix) == pytest.approx(np.mean(matrices, axis=0))
    scores = [accuracy_score(*each, sample_weight=weights) for each in given]
    assert summary.scores["accuracy"] == pytest.approx(np.mean(scores))
    assert (summary.confused[0].truth, summary.confused[0].predicted) == ("cat", "bee")
    worst = summary.groups[0]
    assert (worst.name, worst.is_worse) == ("cat", True)
    assert worst.low < worst.recall < worst.high
    assert not any(each.is_worse for each in summary.groups[1:])


def test_classes_that_are_equally_hard_are_rarely_called_worse() -> None:
    def found(seed: int) -> bool:
        generator = np.random.default_rng(seed)
        answers = replace(classes(seed), losses=generator.exponential(size=ROWS) ** 2)
        return any(each.is_worse for each in summarize(answers, []).groups)

    assert sum(map(found, range(100))) <= 10


def test_many_classes_have_no_matrix_but_the_pairs_that_are_confused() -> None:
    truths = np.arange(ROWS) % 40
    answers = classes(names=tuple(f"class {n}" for n in range(40)), truths=truths, predicted=(truths + 1)[None] % 40)
    summary = summarize(answers, [])
    assert summary.matrix == ()
    assert len(summary.confused) == len(summary.groups) == 12


def test_the_rows_with_the_largest_loss_have_their_numbers_in_the_source() -> None:
    weights = ONES.copy()
    weights[5] = 0.0
    losses = np.zeros(ROWS)
    losses[[5, 9, 17]] = (9.0, 3.0, 7.0)
    answers = classes(losses=losses, numbers=np.arange(ROWS) + 1000, truth_shares=np.full((2, ROWS), 0.4))
    worst = summarize(replace(answers, weights=weights), []).worst
    assert [(each.row, each.loss) for each in worst[:2]] == [(1017, 7.0), (1009, 3.0)]
    assert len(worst) == 10
    assert all(each.row != 1005 for each in worst)
    assert worst[0].share == pytest.approx(0.4)
    assert worst[0].truth == answers.names[answers.truths[17]]


@pytest.mark.parametrize(
    ("column", "value", "rows"),
    [
        ("region", "north", lambda held: held[0].values == "north"),
        ("size", "missing", lambda held: np.isnan(held[1].values)),
        ("day", "1970-01-", lambda held: held[2].values <= np.quantile(held[2].values, 0.25)),
    ],
)
def test_a_slice_with_a_higher_loss_is_found(column: str, value: str, rows: Any) -> None:
    generator = np.random.default_rng(3)
    held = columns(generator)
    losses = generator.exponential(size=ROWS) + 1.5 * rows(held)
    found, examined = worst_slices(held, losses, seed=0)
    assert found[0].column == column
    assert found[0].value.startswith(value)
    assert found[0].loss > found[0].other_loss
    assert examined == 3 + 5 + 4


def test_rows_without_weight_are_in_no_number() -> None:
    generator = np.random.default_rng(3)
    held, shares = columns(generator), generator.dirichlet(np.ones(3), (2, ROWS))
    losses = generator.exponential(size=ROWS) + 1.5 * (held[0].values == "north")
    weighs = (held[0].values != "north") | (generator.random(ROWS) < 0.5)
    plain = replace(classes(losses=losses, numbers=np.arange(ROWS)), weights=weighs * 2.0)
    answers = plain.with_probabilities(shares)
    rows = {name: getattr(answers, name)[weighs] for name in ("truths", "losses", "weights", "numbers")}
    alone = replace(plain, **rows, predicted=answers.predicted[:, weighs]).with_probabilities(shares[:, weighs])
    found = summarize(answers, held)
    assert found == summarize(alone, [replace(each, values=each.values[weighs]) for each in held])
    assert (found.slices[0].value, found.slices[0].rows) == ("north", ((held[0].values == "north") & weighs).sum())


def test_no_slice_is_worse_where_losses_do_not_depend_on_columns() -> None:
    def found(seed: int) -> bool:
        generator = np.random.default_rng(seed)
        return bool(worst_slices(columns(generator), generator.exponential(size=ROWS) ** 2, seed)[0])

    assert sum(map(found, range(100))) <= 10  # 5 expected; more than 10 have a chance of 1 in 100


def test_equal_losses_and_few_rows_have_no_slice() -> None:
    held = columns(np.random.default_rng(0))
    assert worst_slices(held, np.ones(ROWS), 0)[0] == ()
    few = [HeldColumn("a", "label", np.array(["x", "y"] * 6))]
    assert worst_slices(few, np.arange(12.0), 0) == ((), 0)


def test_the_calibration_error_is_that_of_its_definition() -> None:
    shares = np.array([[0.05, 0.05, 0.95, 0.95]])
    hits = np.array([[True, False, True, True]])
    found = calibration.of_probabilities(shares, hits, np.ones(4), seed=0)
    assert found.name == "expected calibration error"
    assert found.error == pytest.approx((2 * abs(0.5 - 0.05) + 2 * abs(1.0 - 0.95)) / 4)
    assert [each[2:] for each in found.bins] == [(2.0, pytest.approx(0.05), 0.5), (2.0, pytest.approx(0.95), 1.0)]


def test_probabilities_that_hold_are_rarely_called_off_and_those_of_overconfidence_are() -> None:
    def found(seed: int, power: float) -> bool:
        generator = np.random.default_rng(seed)
        shares = generator.random((1, ROWS)) ** 0.5
        hits = generator.random((1, ROWS)) < shares**power
        return calibration.of_probabilities(shares, hits, ONES, seed).is_off

    assert sum(found(seed, 1.0) for seed in range(100)) <= 10
    assert all(found(seed, 2.0) for seed in range(20))


def test_quantiles_are_compared_with_the_share_of_rows_below_them() -> None:
    def found(seed: int, shift: float) -> calibration.Calibration:
        generator = np.random.default_rng(seed)
        truths = generator.random(ROWS)
        predicted = np.broadcast_to(np.array([0.1, 0.5, 0.9]) + shift, (2, ROWS, 3))
        return calibration.of_quantiles(predicted, truths, (0.1, 0.5, 0.9), ONES, seed)

    assert sum(found(seed, 0.0).is_off for seed in range(100)) <= 10
    shifted = found(0, 0.1)
    assert shifted.is_off
    assert shifted.error == pytest.approx(0.1, abs=0.04)
    assert shifted.name == "quantile coverage error"


def test_errors_of_quantities_are_in_units_with_their_bias() -> None:
    generator = np.random.default_rng(0)
    truths = generator.normal(100.0, 20.0, (ROWS, 1))
    bent = 0.02 * (truths - 100.0) ** 2  # too high at both ends
    predicted = truths + bent + generator.normal(0.0, 2.0, (2, ROWS, 1))
    answers = Answers("quantities", ("price",), truths, predicted, np.ones(ROWS), ONES, "squared error")
    summary = summarize(answers, [])
    errors, found = predicted - truths, summary.residuals[0]
    assert found.bias == pytest.approx(errors.mean())
    assert summary.scores == pytest.approx(
        {"mae": np.abs(errors).mean(), "rmse": np.mean([np.sqrt((each**2).mean()) for each in errors])}
    )
    assert found.quantiles[2] == pytest.approx(np.median(errors))
    assert sum(found.counts) == pytest.approx(ROWS)
    assert len(found.sample) <= 240
    assert found.calibration is not None
    assert found.calibration.is_off
    assert sum(each[2] for each in found.calibration.bins) == pytest.approx(ROWS)
    unbiased = replace(answers, predicted=truths + generator.normal(0.0, 2.0, (2, ROWS, 1)))
    even = summarize(unbiased, []).residuals[0].calibration
    assert even is not None
    assert not even.is_off


def test_labels_have_their_recall_and_one_calibration_of_all_cells() -> None:
    generator = np.random.default_rng(0)
    shares = generator.random((2, ROWS, 2))
    truths = (generator.random((ROWS, 2)) < shares[0]).astype(int)
    predicted = (shares > 0.5).astype(int)
    answers = Answers("labels", ("wet", "cold"), truths, predicted, np.ones(ROWS), ONES, "log loss", shares=shares)
    summary = summarize(answers, [])
    wet = next(each for each in summary.groups if each.name == "wet")
    assert wet.recall == pytest.approx(np.mean(predicted[:, truths[:, 0] == 1, 0]))
    assert summary.scores["accuracy"] == pytest.approx(np.mean((predicted == truths).all(axis=2)))
    assert summary.calibration is not None
    assert sum(each[2] for each in summary.calibration.bins) == pytest.approx(2 * ROWS)
    assert {each.truth for each in summary.worst} <= {"wet", "cold", "wet, cold", "none"}
