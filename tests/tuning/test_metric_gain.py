"""The comparison in a metric that is no mean over rows: exact where a closed form exists, and its error rates."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pytest

from nightune.models.networks.weighted_metrics import metric_loss
from nightune.tuning.analysis.metric_gain import Side, UndefinedMetricError, compare_metrics, compare_sides
from nightune.tuning.analysis.paired_gain import Gain, compare
from nightune.tuning.analysis.resampling import TestRows

SEED_SHIFT, SEED_NOISE = 0.1, 0.3  # as in test_paired_gain.py
Answers = list[np.ndarray]


class World(NamedTuple):
    """Nights with two configurations of equal truth, of which one may be better; they are right about other rows."""

    metric: str
    rows: int
    classes: int = 2
    rare: float = 0.5  # the share of the second of two classes; of more classes, the first has 0.6
    models: int = 4
    other_rows: float = 0.5
    better_by: float = 0.0
    tails: float = 30.0  # degrees of freedom of the targets


def night(world: World, number: int) -> tuple[TestRows, np.ndarray, Answers, Answers]:
    """Return the test rows, their targets, and the answers of the champion's and the challenger's models."""
    generator = np.random.default_rng([number, 7])
    if world.metric in ("rmse", "r2"):
        return _night_of_quantities(world, generator)
    others = world.classes - 1
    shares = [1 - world.rare, world.rare] if others == 1 else [0.6] + others * [0.4 / others]
    targets = np.repeat(np.arange(world.classes), np.maximum(1, np.round(np.array(shares) * world.rows)).astype(int))
    base = generator.normal(0, 1, (len(targets), world.classes))

    def answers(better_by: float) -> Answers:
        config = base + world.other_rows * generator.normal(0, 1, base.shape)
        made = []
        for _ in range(world.models):
            margins = config + generator.normal(0, SEED_NOISE, base.shape)
            margins[np.arange(len(targets)), targets] += 1.5 + better_by + generator.normal(0, SEED_SHIFT)
            made.append(margins[:, 1] - margins[:, 0] if world.metric == "auc" else margins.argmax(axis=1))
        return made

    return TestRows(len(targets), classes=targets), targets, answers(0.0), answers(world.better_by)


def _night_of_quantities(world: World, generator: np.random.Generator) -> tuple[TestRows, np.ndarray, Answers, Answers]:
    targets = generator.standard_t(world.tails, (world.rows, 1))
    errors = generator.normal(0, 0.5, targets.shape)

    def answers(better_by: float) -> Answers:
        config = errors * (1 - better_by) + 0.3 * world.other_rows * generator.normal(0, 1, targets.shape)
        noise = [generator.normal(0, 0.1, targets.shape) + generator.normal(0, 0.03) for _ in range(world.models)]
        return [targets + config + each for each in noise]

    return TestRows(world.rows), targets, answers(0.0), answers(world.better_by)


def gain_of(world: World, number: int) -> Gain:
    rows, targets, champion, challenger = night(world, number)
    sides = [[metric_loss(world.metric, each, targets) for each in side] for side in (challenger, champion)]
    return compare_metrics(sides[0], sides[1], rows, 0.95, seed=number)


def promoted(world: World, nights: int) -> float:
    """Return the share of nights in which the challenger is significantly better than the champion."""
    return sum(gain_of(world, number).is_above(0.0) for number in range(nights)) / nights


SMALL = [
    World("auc", 60, rare=0.1),
    World("auc", 60, rare=0.3),
    World("balanced_accuracy", 60, rare=0.1),
    World("balanced_accuracy", 60, classes=8),
    World("f1_macro", 60, rare=0.1),
    World("f1_macro", 60, classes=20),
    World("rmse", 60, tails=3),
    World("r2", 60, tails=3),
]


@pytest.mark.slow
@pytest.mark.parametrize("world", [SMALL[0], SMALL[3], SMALL[5], SMALL[7]], ids=str)
def test_an_equal_challenger_is_refused_in_95_of_100_nights_of_60_rows(world: World) -> None:
    assert promoted(world, 40) <= 0.05


@pytest.mark.nights
@pytest.mark.parametrize("models", [1, 8])
@pytest.mark.parametrize(
    "world", [*SMALL, *(world._replace(rows=300) for world in SMALL), World("auc", 60, rare=0.05)], ids=str
)
def test_an_equal_challenger_is_refused_in_95_of_100_nights(
    world: World, models: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One model per side shows nothing of the seeds, so they do not shift it."""
    if models == 1:
        monkeypatch.setattr(f"{__name__}.SEED_SHIFT", 0.0)
    assert promoted(world._replace(models=models), 400) <= 0.05 + 0.02  # two standard errors of a share of 5% of nights


@pytest.mark.slow
@pytest.mark.parametrize(
    "world",
    [
        World("auc", 300, rare=0.1, better_by=1.5),
        World("f1_macro", 300, classes=5, better_by=0.7),
        World("r2", 300, better_by=0.3),
    ],
    ids=str,
)
def test_a_planted_gain_is_found(world: World) -> None:
    assert promoted(world, 12) >= 0.9
    assert promoted(world._replace(better_by=-0.3), 6) == 0.0


def mean_of(losses: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    return lambda weights: weights @ losses / weights.sum(axis=1)


def sides(generator: np.random.Generator, models: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    base = generator.exponential(1.0, rows)
    return tuple(base + generator.normal(0, 0.4, (models, rows)) for _ in range(2))  # type: ignore[return-value]


def test_a_row_mean_as_a_metric_has_the_interval_of_the_row_means() -> None:
    challenger, champion = sides(np.random.default_rng(2), 3, 900)
    one = compare(challenger, champion, 0.95, seed=0)
    other = compare_metrics(list(map(mean_of, challenger)), list(map(mean_of, champion)), TestRows(900), 0.95, seed=0)
    assert other.gain == pytest.approx(one.gain)
    assert other.challenger_loss == pytest.approx(one.challenger_loss)
    assert other.seed_deviation == pytest.approx(one.seed_deviation)
    reach = one.gain - one.low
    assert (other.low, other.high) == (
        pytest.approx(one.low, abs=0.1 * reach),
        pytest.approx(one.high, abs=0.1 * reach),
    )


def test_independent_rows_and_row_means_are_compared_as_before() -> None:
    challenger, champion = sides(np.random.default_rng(3), 2, 50)
    rows = TestRows(50)
    assert compare_sides(Side(challenger), Side(champion), rows, 0.9, seed=1) == compare(
        challenger, champion, 0.9, seed=1
    )


def test_copies_of_rows_in_one_group_show_no_more_than_one_row() -> None:
    challenger, champion = sides(np.random.default_rng(4), 1, 150)
    single = compare(challenger, champion, 0.95, seed=0)
    copied = Side(np.repeat(challenger, 5, axis=1)), Side(np.repeat(champion, 5, axis=1))
    groups = np.repeat(np.arange(150), 5)
    grouped = compare_sides(*copied, TestRows(750, groups), 0.95, seed=0)
    naive = compare_sides(*copied, TestRows(750), 0.95, seed=0)
    assert (grouped.groups, grouped.rows, naive.groups) == (150, 750, None)
    assert grouped.high - grouped.low == pytest.approx(single.high - single.low, rel=0.12)
    assert naive.high - naive.low < 0.6 * (grouped.high - grouped.low)


def night_of_groups(number: int, count: int) -> tuple[np.ndarray, Side, Side]:
    """Return groups, challenger and champion of equal truth: by chance, one is better on all rows of a group."""
    generator = np.random.default_rng([number, 5])
    groups = np.repeat(np.arange(count), generator.integers(2, 20, count))
    margins = generator.normal(1.2, 1.0, len(groups))

    def side() -> Side:
        config = margins + generator.normal(0, 0.5, count)[groups]
        return Side(np.logaddexp(0.0, -(config + generator.normal(0, 0.3, (1, len(groups))))))

    return groups, side(), side()


def test_an_equal_challenger_is_refused_in_95_of_100_nights_of_groups() -> None:
    """And rows of groups as if they were independent would promote it in many."""
    by_groups = by_rows = 0
    for number in range(60):
        groups, challenger, champion = night_of_groups(number, 12)
        for is_grouped in (True, False):
            rows = TestRows(len(groups), groups if is_grouped else None)
            is_promoted = compare_sides(challenger, champion, rows, 0.95, seed=number).is_above(0.0)
            by_groups += is_promoted and is_grouped
            by_rows += is_promoted and not is_grouped
    assert by_groups <= 3
    assert by_rows >= 6


def test_a_shift_by_seeds_widens_the_interval_of_a_metric_as_that_of_a_mean() -> None:
    shifts = np.random.default_rng(1).normal(0, 1, 12)
    metrics = [lambda weights, shift=shift: np.full(len(weights), shift) for shift in shifts]
    gain = compare_metrics(metrics[:6], metrics[6:], TestRows(500), 0.95, seed=0)
    pooled = np.sqrt((shifts[:6].var(ddof=1) + shifts[6:].var(ddof=1)) / 2)
    assert gain.seed_deviation == pytest.approx(pooled)
    assert gain.seed_reach == pytest.approx(2.228 * pooled * np.sqrt(2 / 6), rel=1e-3)
    assert (gain.high - gain.low) / 2 == pytest.approx(gain.seed_reach, rel=0.06)


def test_many_rows_have_the_interval_of_the_jackknife(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World("auc", 2000, rare=0.2, models=2, better_by=0.2)
    whole = gain_of(world, 0)
    monkeypatch.setattr("nightune.tuning.analysis.metric_gain.CELLS", 1000)
    short = gain_of(world, 0)
    assert short.gain == whole.gain
    assert short.low == pytest.approx(whole.low, abs=0.15 * (whole.gain - whole.low))


def test_one_lucky_row_of_a_lone_class_does_not_promote() -> None:
    targets = np.array([0] * 30 + [1] * 29 + [2])
    champion = targets.copy()
    champion[-1] = 0
    models = [[metric_loss("balanced_accuracy", each, targets)] for each in (targets, champion)]
    gain = compare_metrics(models[0], models[1], TestRows(60, classes=targets), 0.95, seed=0)
    assert gain.gain == pytest.approx(1 / 3)
    assert gain.low < 0


def test_the_same_arguments_give_the_same_numbers() -> None:
    world = World("f1_macro", 60, classes=3, models=2)
    assert gain_of(world, 1) == gain_of(world, 1)


@pytest.mark.parametrize(
    "rows", [TestRows(20, classes=np.repeat([0, 1], [19, 1])), TestRows(20, np.zeros(20, dtype=np.int64))], ids=str
)
def test_a_metric_without_a_value_or_a_variance_is_refused(rows: TestRows) -> None:
    targets = np.repeat([0, 1], [19, 1])
    models = [metric_loss("auc", np.arange(20.0), targets)]
    with pytest.raises(UndefinedMetricError, match="20 test rows"):
        compare_metrics(models, models, rows, 0.95, seed=0)


def weights_of(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(list(parts))


def test_a_resample_holds_as_many_rows_of_each_class() -> None:
    classes = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [40, 3, 1]))
    rows = TestRows(44, classes=classes)
    weights = weights_of(list(rows.bootstrap(np.random.default_rng(1), 300)))
    assert weights.shape == (300, 44)
    for one, count in ((0, 40), (1, 3), (2, 1)):
        assert (weights[:, classes == one].sum(axis=1) == count).all()


def test_a_resample_holds_whole_groups_and_every_class() -> None:
    groups = np.repeat(np.arange(12), 4)
    classes = np.zeros(48, dtype=np.int64)
    classes[[0, 5]], classes[[2, 20, 40]] = 1, 2  # class 1 in groups 0 and 1, class 2 in groups 0, 5 and 10
    rows = TestRows(48, groups, classes)
    weights = weights_of(list(rows.bootstrap(np.random.default_rng(1), 200)))
    assert weights.shape == (200, 48)
    assert (weights.reshape(200, 12, 4) == weights.reshape(200, 12, 4)[:, :, :1]).all()
    for one in range(3):
        assert (weights[:, classes == one].sum(axis=1) > 0).all()


@pytest.mark.parametrize("count", [7, 1000])
def test_the_jackknife_leaves_out_every_row_once(count: int) -> None:
    classes = np.arange(count) % 3
    rows = TestRows(count, classes=classes)
    left_out = weights_of(list(rows.jackknife())) == 0
    assert (left_out.sum(axis=0) == 1).all()
    assert len(left_out) == len(rows.blocks) <= max(count, 210)
    assert all(len(np.unique(classes[block])) == 1 for block in left_out)


def test_weights_of_rows_multiply_those_of_resamples() -> None:
    weights = np.arange(12.0)
    plain, weighted = TestRows(12), TestRows(12, weights=weights)
    generators = [np.random.default_rng(0) for _ in range(2)]
    drawn = [
        weights_of(list(rows.bootstrap(each, 50))) for rows, each in zip((plain, weighted), generators, strict=True)
    ]
    np.testing.assert_array_equal(drawn[1], drawn[0] * weights)
    left_out = [weights_of(list(rows.jackknife())) for rows in (plain, weighted)]
    np.testing.assert_array_equal(left_out[1], left_out[0] * weights)


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_the_gate_by_weight_finds_planted_gains_and_no_others(spread: float) -> None:
    """Weights of 0 and 1, or of a long tail."""

    def is_found(number: int, better_by: float) -> bool:
        generator = np.random.default_rng([number, 11])
        drawn = generator.normal(size=100)
        rows = TestRows(100, weights=np.exp(spread * drawn) if spread else (drawn > 0).astype(float))
        base = generator.normal(size=100) ** 2

        def side(gain: float) -> Side:
            config = base + 0.5 * generator.normal(size=100) - gain
            return Side(np.stack([config + 0.3 * generator.normal(size=100) for _ in range(3)]))

        return compare_sides(side(better_by), side(0.0), rows, 0.95, seed=0).low > 0

    assert sum(is_found(number, 0.0) for number in range(40)) <= 4
    assert sum(is_found(number, 0.6) for number in range(10)) >= 9


def test_equal_weights_give_the_mean_loss() -> None:
    losses = np.random.default_rng(0).normal(size=(2, 30))
    sides = [Side(losses[:1]), Side(losses[1:])]
    plain = compare_sides(*sides, TestRows(30), 0.95, seed=0)
    weighted = compare_sides(*sides, TestRows(30, weights=np.full(30, 2.0)), 0.95, seed=0)
    assert weighted.gain == pytest.approx(plain.gain)
    assert weighted.is_weighted
    assert not plain.is_weighted
