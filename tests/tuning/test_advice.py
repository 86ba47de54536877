"""What a refusal advises does what it promises."""

import numpy as np
import pytest

from nightune.tuning.analysis.advice import REMEDIES, next_steps, rows_needed
from nightune.tuning.analysis.paired_gain import Gain, compare
from nightune.tuning.analysis.promotion_gate import Guard, Rules

RULES = Rules(minimum_gain=0.0, challenger_margin=0.0, metric="val_auc")
BETTER = Gain(0.4, 0.3, 0.5, 0.95, 0.1, 0.5, 8, 1, 100, 0.0)
NO_CHAMPION, CHAMPION = False, True


def losses(rows: int, models: int = 1, gain: float = 0.1, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Losses whose paired differences have exactly this mean, and the deviation 1."""
    generator = np.random.default_rng(0)
    differences = generator.normal(0, 1, rows)
    differences = (differences - differences.mean()) / differences.std() + gain
    shifts = generator.normal(0, 1, (2, models, 1))
    shifts = shift * (shifts - shifts.mean(axis=1, keepdims=True)) / (shifts.std() or 1.0)
    champion = np.zeros((models, rows)) + 5 + differences + shifts[1]
    return np.zeros((models, rows)) + 5 + (shifts[0] if models > 1 else 0.0), champion


def steps_for(gain: Gain, rules: Rules = RULES) -> str:
    return "\n".join(next_steps(gain, BETTER, [], rules, CHAMPION))


def test_as_many_rows_as_advised_make_the_gain_significant() -> None:
    gain = compare(*losses(100), 0.95, seed=0)
    assert not gain.is_above(0.0)
    rows = rows_needed(gain, 0.0)
    assert rows is not None
    assert 300 < rows < 500  # (1.96 deviations / 0.1) squared
    assert f"about {rows} instead of 100" in steps_for(gain)
    assert "data.split.test" in steps_for(gain)
    assert compare(*losses(round(1.15 * rows)), 0.95, seed=0).is_above(0.0)
    assert not compare(*losses(round(0.85 * rows)), 0.95, seed=0).is_above(0.0)


def test_the_advised_confidence_accepts_the_same_gain() -> None:
    one, other = losses(200)
    gain = compare(one, other, 0.95, seed=0)
    assert "promotion.confidence = 0.8 " in steps_for(gain)
    assert compare(one, other, 0.8, seed=0).is_above(0.0)
    assert not compare(one, other, 0.9, seed=0).is_above(0.0)


def test_the_advised_minimum_accepts_the_same_gain() -> None:
    gain = compare(*losses(900), 0.95, seed=0)
    rules = Rules(0.08, 0.0, "val_auc")
    assert f"promotion.minimum_gain below {gain.low:.4g}" in steps_for(gain, rules)
    assert gain.is_above(0.99 * gain.low)


def test_as_many_models_of_the_winner_as_advised_make_the_gain_significant() -> None:
    gain = compare(*losses(700, models=4, shift=0.04), 0.95, seed=0)
    assert not gain.is_above(0.0)
    step = next(step for step in next_steps(gain, BETTER, [], RULES, CHAMPION) if "replicates" in step)
    assert "instead of 4" in step
    models = int(step.split("promotion.replicates = ")[1].split(" ")[0])
    assert 4 < models < 40
    winner, champion = losses(700, models=models, shift=0.04)[0], losses(700, models=4, shift=0.04)[1]
    assert compare(winner, champion, 0.95, seed=0).is_above(0.0)


def test_where_seeds_move_the_metric_by_more_than_the_gain_neither_rows_nor_models_are_advised() -> None:
    gain = compare(*losses(10_000, models=4, shift=0.1), 0.95, seed=0)
    assert not gain.is_above(0.0)
    assert rows_needed(gain, 0.0) is None
    text = steps_for(gain)
    assert "instead of" not in text
    assert "neither more test rows" in text


def test_a_gain_below_the_minimum_needs_a_better_model() -> None:
    worse = compare(*losses(100, gain=-0.1), 0.95, seed=0)
    (step,) = next_steps(worse, BETTER, [], RULES, CHAMPION)
    assert "larger gain" in step
    assert "-0.1 val_auc" in step


def test_groups_are_counted_beside_rows() -> None:
    gain = Gain(0.1, -0.1, 0.3, 0.95, 0.4, 0.5, 1, 1, 100, 0.0, groups=25)
    assert "about 400 in about 100 groups instead of 100" in steps_for(gain)


def test_the_baseline_comes_first_and_a_promotion_needs_no_advice() -> None:
    weak = Gain(0.01, -0.01, 0.03, 0.95, 0.4, 0.41, 8, 1, 100, 0.0)
    assert all("champion" not in step for step in next_steps(weak, weak, [], RULES, CHAMPION))
    assert any("the baseline" in step for step in next_steps(None, weak, [], RULES, NO_CHAMPION))
    assert next_steps(BETTER, BETTER, [Guard("size", True, "1 MB")], RULES, CHAMPION) == ()
    assert next_steps(None, BETTER, [], RULES, NO_CHAMPION) == ()


@pytest.mark.parametrize(
    ("name", "key"),
    [("size", "promotion.size_limit_mb"), ("latency", "promotion.latency_limit_ms"), ("metric", "objective.metric")],
)
def test_a_failed_guard_is_named_with_the_key_that_sets_it(name: str, key: str) -> None:
    (step,) = next_steps(BETTER, BETTER, [Guard(name, False, "too much"), Guard("schema", True, "")], RULES, CHAMPION)
    assert step.startswith(f"{name}: ")
    assert key in step


def test_force_is_advised_only_where_it_is_possible() -> None:
    """Guards that can be vital do not name force; one that is not known here does unless it is vital."""
    assert all("--force" not in REMEDIES[name] for name in ("data version", "raw rows", "finite outputs"))
    for is_vital in (True, False):
        (step,) = next_steps(BETTER, BETTER, [Guard("new", False, "it is red", is_vital)], RULES, CHAMPION)
        assert "it is red" in step
        assert ("--force" in step) is not is_vital
