"""The choice of a portfolio from recorded losses, and how a leader is judged."""

import numpy as np
import pytest

from nightune.tuning.search.greedy_portfolio import WORST, choose, leader_regret, leader_regrets, regrets_of

NAN = float("nan")
# Three data sets, five configurations: 0 is good on the first two, 1 on the last, 2 is second everywhere.
LOSSES = np.array([[0.0, 9.0, 2.0, 9.0, 9.0], [0.0, 9.0, 2.0, 9.0, 9.0], [9.0, 0.0, 2.0, 9.0, 9.0]])[:, :, None]


def test_the_first_choice_is_good_on_average_and_the_next_where_it_is_bad() -> None:
    assert choose(LOSSES, 1) == [2]
    assert choose(LOSSES, 3) == [2, 0, 1]


def test_a_choice_is_prefix_of_a_larger_one_and_repeats_nothing() -> None:
    losses = np.random.default_rng(0).random((6, 30, 2))
    chosen = choose(losses, 12)
    assert len(set(chosen)) == 12
    assert choose(losses, 5) == chosen[:5]


def test_a_greedy_choice_is_better_than_most_random_ones_on_its_own_data_sets() -> None:
    losses = np.random.default_rng(1).random((6, 30, 2))
    regrets, generator = regrets_of(losses), np.random.default_rng(2)

    def mean(places: list[int]) -> float:
        return float(regrets[:, places].min(axis=1).mean())

    drawn = [mean(generator.permutation(30)[:4].tolist()) for _ in range(200)]
    assert mean(choose(losses, 4)) <= min(drawn)


def test_more_than_there_are_cannot_be_chosen() -> None:
    with pytest.raises(ValueError, match="6"):
        choose(LOSSES, 6)


def test_regrets_are_0_for_the_best_1_for_the_median_and_end_at_the_worst_for_failures() -> None:
    losses = np.array([[[1.0, 1.0], [2.0, 4.0], [5.0, NAN], [99.0, 99.0], [2.0, 2.0], [4.0, 4.0]]])
    assert regrets_of(losses).tolist() == [[0.0, 1.0, WORST, WORST, 0.5, 1.5]]


def test_a_data_set_on_which_most_fail_or_all_are_equal_has_finite_regrets() -> None:
    losses = np.array([[[1.0], [NAN], [NAN]], [[3.0], [3.0], [3.0]], [[NAN], [NAN], [NAN]]])
    assert regrets_of(losses).tolist() == [[0.0, WORST, WORST], [0.0, 0.0, 0.0], [WORST, WORST, WORST]]


def test_the_luck_of_one_seed_does_not_count_for_the_leader() -> None:
    losses = np.array([[0.0, 4.0], [1.0, 1.0], [4.0, 4.0], [6.0, 6.0], [5.0, 5.0]])  # best mean 1, median 4
    assert (
        leader_regret(losses, range(5)) == (1.0 + 0.0) / 2
    )  # the first leads with one seed, the second with the other
    assert leader_regret(losses, [1]) == 0.0
    assert leader_regret(losses, [2, 3]) == 1.0


def test_a_leader_that_fails_again_and_trials_that_all_failed_are_the_worst() -> None:
    losses = np.array([[0.0, NAN], [NAN, NAN], [1.0, 1.0], [2.0, 2.0]])
    assert leader_regret(losses, [0]) == WORST
    assert leader_regret(losses, [1]) == WORST
    assert leader_regret(losses, [0, 2]) == (WORST + 0.0) / 2


def test_the_regrets_of_leaders_are_those_after_each_of_the_trials() -> None:
    losses = np.array([[NAN, NAN], [4.0, 4.0], [0.0, 4.0], [1.0, 1.0], [6.0, 6.0], [5.0, 5.0]])  # best 1, median 4
    order = [0, 5, 2, 3]
    after = [leader_regret(losses, order[:count]) for count in range(1, 5)]
    assert leader_regrets(losses, order).tolist() == after == [WORST, 4 / 3, (1.0 - 1 / 3) / 2, (1.0 + 0.0) / 2]


def test_configurations_that_improve_nothing_are_still_chosen_once_and_the_good_ones_first() -> None:
    losses = np.array([[0.0, 9.0, 2.0, 1.0, 3.0], [0.0, 8.0, 1.0, 1.0, 7.0]])[:, :, None]
    assert choose(losses, 4)[0] == 0
    assert choose(losses, 4)[1:] == [3, 2, 4]
