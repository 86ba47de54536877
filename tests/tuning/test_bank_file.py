"""The bank of recorded curves in benchmarks/results, and the portfolio that ships."""

import json
from pathlib import Path

import numpy as np

from nightune.tuning.recorded_curves import read_recorded
from nightune.tuning.search.greedy_portfolio import choose, leader_regret
from nightune.tuning.search.recorded_scores import mean_scores, read_recorded_scores

ROOT = Path(__file__).parents[2]
BANK = ROOT / "benchmarks" / "results" / "bank.npz"


def test_the_bank_holds_finite_curves_of_all_points_on_at_least_14_real_data_sets() -> None:
    bank = read_recorded(BANK)
    assert "mlp" in bank
    real, tasks = set(), set()
    for family in bank.values():
        shape = (len(family.data_sets), len(family.points), 2)
        assert family.seconds.shape == shape
        assert family.curves.shape == (*shape, 2, 50)
        assert len({json.dumps(point, sort_keys=True) for point in family.points}) == len(family.points)
        assert np.isfinite(family.losses(list(family.data_sets), "val_loss")).mean() > 0.9
        assert all(each["licence"] for each in family.data_sets.values())
        real |= {name for name, each in family.data_sets.items() if not each["is_made_up"]}
        tasks |= {each["task"] for each in family.data_sets.values()}
    assert len(real) >= 14
    assert tasks == {"classification", "regression"}


def test_the_shipped_portfolio_holds_eight_different_recorded_configurations_of_each_family_and_task() -> None:
    bank = read_recorded(BANK)
    shipped = json.loads((ROOT / "tuning" / "search" / "portfolio.json").read_text())
    assert "mlp" in shipped["families"]
    for family, by_task in shipped["families"].items():
        recorded = [_numbers_cut(dict(point)) for point in bank[family].points]
        for task, chosen in by_task.items():
            assert len(chosen) == 8, (family, task)
            assert len({json.dumps(each, sort_keys=True) for each in chosen}) == 8
            for each in chosen:
                assert any(each.items() <= point.items() for point in recorded), each


def test_the_shipped_scores_are_those_of_the_recorded_configurations_in_their_order() -> None:
    bank = read_recorded(BANK)
    for name, family in read_recorded_scores().families.items():
        recorded = [_numbers_cut(dict(point)) for point in bank[name].points]
        assert len(recorded) == len(family.configurations)
        for point, each in zip(recorded, family.configurations, strict=True):
            assert each.items() <= point.items(), each
        for task, scores in family.scores.items():
            sets = [one for one, each in bank[name].data_sets.items() if each["task"] == task]
            losses = bank[name].losses(sets if len(sets) > 2 else list(bank[name].data_sets), "val_loss")
            assert np.corrcoef(scores, mean_scores(losses))[0, 1] > 0.9, (name, task)


def test_a_portfolio_is_better_than_as_many_at_random_on_most_data_sets_that_took_no_part_in_its_choice() -> None:
    mlp = read_recorded(BANK)["mlp"]
    names = [name for name, each in mlp.data_sets.items() if each["task"] == "classification"]
    wins = 0
    for name in names:
        chosen = choose(mlp.losses([other for other in names if other != name], "val_loss"), 8)
        losses = mlp.losses([name], "val_loss")[0]
        orders = (np.random.default_rng([draw, 8]).permutation(len(losses))[:8].tolist() for draw in range(30))
        wins += leader_regret(losses, chosen) < np.mean([leader_regret(losses, order) for order in orders])
    assert wins >= 0.8 * len(names)


def _numbers_cut(point: dict[str, object]) -> dict[str, object]:
    return {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in point.items()}
