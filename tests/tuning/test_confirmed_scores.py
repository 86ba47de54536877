import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from nightune.tuning.analysis.confirmation import (
    Confirmation,
    ConfirmedFinalist,
    Finalist,
    claim_better,
    confirm,
    replicates,
    seed_band,
)
from nightune.tuning.analysis.quantiles import share_interval
from nightune.tuning.trial import Status, Trial, TrialResult


def finalist(trial: int, *scores: float, parameters: int = 100, seconds: float = 1.0, search: float = 0.0) -> Finalist:
    return Finalist(trial, f"{trial:016x}", f"run-{trial}", search, tuple(scores), parameters, seconds)


def winner(*finalists: Finalist, direction: str = "minimize", cost: str = "parameters") -> int | None:
    chosen = confirm(finalists, direction, cost, 0.95, seed=0).winner
    return None if chosen is None else chosen.finalist.trial


def test_the_cheapest_within_one_standard_error_of_the_best_wins() -> None:
    best = finalist(0, 0.10, 0.12, 0.14, parameters=900)
    near = finalist(1, 0.11, 0.13, 0.15, parameters=100)  # 0.01 worse; the standard error is 0.02 / √3
    far = finalist(2, 0.30, 0.32, 0.34, parameters=10)
    assert winner(best, near, far) == 1
    assert [each.is_within for each in confirm((far, near, best), "minimize", "parameters", 0.95, 0).finalists] == [
        True,
        True,
        False,
    ]


def test_cost_may_be_seconds_and_equal_costs_go_to_the_better_mean() -> None:
    best = finalist(0, 0.10, 0.12, 0.14, parameters=900, seconds=2.0)
    near = finalist(1, 0.11, 0.13, 0.15, parameters=100, seconds=3.0)
    assert winner(best, near, cost="seconds") == 0
    assert winner(finalist(0, 0.11, 0.13, 0.15), finalist(1, 0.10, 0.12, 0.14)) == 1


def test_a_maximized_metric_is_compared_in_reverse() -> None:
    assert winner(finalist(0, 0.90, 0.91, 0.92), finalist(1, 0.95, 0.96, 0.97), direction="maximize") == 1
    low = confirm((finalist(0, 0.9, 0.92), finalist(1, 0.5, 0.52)), "maximize", "parameters", 0.95, 0)
    assert [each.finalist.trial for each in low.finalists] == [0, 1]
    assert low.finalists[0].best_probability > 0.99


def test_a_finalist_that_fails_with_one_seed_cannot_win() -> None:
    broken = finalist(0, 0.01, math.nan, 0.01)
    sound = finalist(1, 0.5, 0.6, 0.7)
    result = confirm((broken, sound), "minimize", "parameters", 0.95, 0)
    assert result.winner is not None
    assert result.winner.finalist.trial == 1
    assert result.finalists[-1].finalist.trial == 0
    assert result.finalists[-1].best_probability == 0.0
    assert winner(broken) is None
    assert winner() is None


def test_the_interval_is_students_with_the_pooled_spread() -> None:
    scores = [(0.10, 0.12, 0.17), (0.3, 0.5, 0.4)]
    result = confirm([finalist(n, *each) for n, each in enumerate(scores)], "minimize", "parameters", 0.95, 0)
    pooled = math.sqrt(sum(np.var(each, ddof=1) for each in scores) / 2)
    first = result.finalists[0]
    low, high = stats.t.interval(0.95, 4, loc=0.13, scale=pooled / math.sqrt(3))
    assert first.standard_error == pytest.approx(pooled / math.sqrt(3))
    assert (first.low, first.high) == (pytest.approx(low), pytest.approx(high))


def test_the_search_score_of_the_best_is_optimistic() -> None:
    """The winner's curse: of equal trials, the best in the search is confirmed at the mean of all."""
    generator = np.random.default_rng(3)
    search = generator.normal(1.0, 0.1, 50)
    best = int(search.argmin())
    fresh = generator.normal(1.0, 0.1, 30)
    result = confirm([finalist(best, *fresh, search=float(search[best]))], "minimize", "parameters", 0.95, 0)
    assert result.winner is not None
    assert result.winner.optimism < -0.15
    assert result.winner.low < 1.0 < result.winner.high


def test_the_probability_of_being_best_is_that_of_normal_means() -> None:
    generator = np.random.default_rng(0)
    spread = stats.norm.ppf((np.arange(20) + 0.5) / 20)
    first, second = 1.0 + 0.2 * generator.permutation(spread), 1.05 + 0.2 * generator.permutation(spread)
    result = confirm([finalist(0, *first), finalist(1, *second)], "minimize", "parameters", 0.95, seed=1)
    deviation = np.std([*(first - 1.0), *(second - 1.05)]) * math.sqrt(20 / 19)
    expected = stats.norm.cdf(0.05 / (deviation * math.sqrt(2 / 20)))
    assert result.finalists[0].best_probability == pytest.approx(expected, abs=0.02)
    assert sum(each.best_probability for each in result.finalists) == pytest.approx(1.0)


def nothing_claimed(*finalists: Finalist) -> str:
    """Check that a confirmation claims neither interval nor probability, and return why."""
    result = confirm(finalists, "minimize", "parameters", 0.95, seed=0)
    assert result.winner is not None
    for each in result.finalists:
        assert math.isnan(each.low)
        assert math.isnan(each.high)
        assert math.isnan(each.best_probability)
    assert claim_better(result, [0.4, 0.5, 0.6, 0.7], "minimize") is None
    return result.note


def test_equal_scores_of_all_replicates_claim_no_interval_and_no_probability() -> None:
    assert "equal scores" in nothing_claimed(finalist(0, 0.1, 0.1, 0.1), finalist(1, 0.3, 0.3, 0.3))
    assert "equal scores" in nothing_claimed(finalist(0, 0.1, 0.1 + 1e-8, 0.1 - 1e-8))
    assert "one replicate" in nothing_claimed(finalist(0, 0.1), finalist(1, 0.3))


def test_replicates_with_the_same_initial_weights_claim_no_interval() -> None:
    alike = replace(finalist(1, 0.10, 0.12, 0.14), begins_alike=True)
    assert "trial 1" in nothing_claimed(alike, finalist(0, 0.30, 0.31, 0.32))


def test_replicates_have_fresh_seeds_of_their_own_that_never_change() -> None:
    trials = [Trial(number, {"optimizer": "sgd"}, 5, f"{number:016x}") for number in range(3)]
    results = [TrialResult(trial, Status.COMPLETED, 1.0, 1, 1, 1, 1, 1.0, run_id="r") for trial in trials]
    made = [each for result in results for each in replicates(result, 4, study_seed=7)]
    assert len({each.seed for each in made} | {5}) == 13
    assert len({each.key for each in made}) == 12
    assert [each.replicate for each in made[:4]] == [1, 2, 3, 4]
    assert {each.replicate_of for each in made} == {"r"}
    assert replicates(results[0], 2, study_seed=7) == made[:2]
    assert replicates(results[0], 2, study_seed=8)[0].seed != made[0].seed


@pytest.mark.parametrize(("direction", "cost"), [("up", "parameters"), ("minimize", "money")])
def test_unknown_options_are_refused(direction: str, cost: str) -> None:
    with pytest.raises(ValueError, match="unknown"):
        confirm([], direction, cost, 0.95, 0)


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize(("noise", "naive_share"), [("normal", 0.5), ("heavy", 0.5), ("skewed", 0.05)])
def test_a_null_study_of_40_identical_recipes_rarely_claims_a_better_best(
    direction: str, noise: str, naive_share: float
) -> None:
    generator = np.random.default_rng(11)
    sign = 1.0 if direction == "minimize" else -1.0  # losses are skewed to the bad side
    draw = {
        "normal": generator.normal,
        "heavy": lambda size: generator.standard_t(5, size=size),
        "skewed": lambda size: generator.gamma(3.0, size=size),
    }[noise]
    nights, wrong, naive = 1000, 0, 0
    for _ in range(nights):
        searched = sign * draw(size=40)
        chosen = np.argsort(sign * searched)[:5]
        scores = sign * draw(size=(5, 3))
        found = [finalist(int(n), *own, search=searched[n]) for n, own in zip(chosen, scores, strict=True)]
        claim = claim_better(best_of(found, sign), searched.tolist(), direction)
        assert claim is not None
        wrong += claim.is_shown
        naive += sign * (claim.ordinary - searched[chosen[0]]) > 1.645 * np.std(searched)
    assert wrong / nights <= 0.05
    assert naive / nights > naive_share  # the claim of the search itself


def best_of(finalists: list[Finalist], sign: float) -> Confirmation:
    """Confirm with the best mean as the winner, the boldest possible choice."""
    confirmed = [ConfirmedFinalist(each, math.nan, math.nan, math.nan, math.nan, True) for each in finalists]
    winner = min(confirmed, key=lambda each: sign * each.finalist.mean)
    return Confirmation(tuple(confirmed), winner, 0.95, "parameters")


def test_a_best_trial_that_is_better_is_claimed_as_better() -> None:
    ordinary = [0.5 + 0.01 * place for place in range(-10, 11)]
    found = confirm([finalist(0, 0.30, 0.31, 0.32), finalist(1, 0.33, 0.34, 0.35)], "minimize", "parameters", 0.95, 0)
    claim = claim_better(found, ordinary, "minimize")
    assert claim is not None
    assert claim.is_shown
    error = 0.01 * math.sqrt(1 / 3 + math.pi / 42)
    assert claim.gain == pytest.approx(0.5 - 0.31)
    assert claim.low == pytest.approx(claim.gain - stats.t.ppf(0.975, 4) * error)
    assert claim_better(found, [0.5, math.nan, 0.6], "minimize") is None
    assert claim_better(confirm([], "minimize", "parameters", 0.95, 0), ordinary, "minimize") is None


def test_the_band_of_one_seed_is_that_of_students_t() -> None:
    generator = np.random.default_rng(0)
    deviation, exceeded = 0.3, []
    for _ in range(600):
        seeds = generator.normal(0.0, deviation, size=(2, 2))
        finalists = [finalist(n, *scores) for n, scores in enumerate(seeds)]
        band = seed_band(confirm(finalists, "minimize", "parameters", 0.95, 0))
        one, other = generator.normal(0.0, deviation, size=2)
        exceeded.append(abs(one - other) > band)
    assert np.mean(exceeded) == pytest.approx(0.05, abs=0.03)


def test_the_interval_of_a_share_is_that_of_wilson() -> None:
    low, high = share_interval(1.0, 60, 0.95)
    assert (low, high) == (pytest.approx(0.9398, abs=1e-4), pytest.approx(1.0))
    low, high = share_interval(0.5, 10, 0.95)
    assert (low, high) == (pytest.approx(0.2366, abs=1e-4), pytest.approx(0.7634, abs=1e-4))
