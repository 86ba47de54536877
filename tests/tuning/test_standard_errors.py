"""The standard error of a score of one seed: by seeds, folds or rows, and the trials as good as the best."""

import math

import numpy as np
import pytest

from nightune.tuning.analysis.confirmation import Confirmation, Finalist, confirm
from nightune.tuning.analysis.standard_errors import rows_of_share, share_error, standard_errors
from nightune.tuning.trial import Status
from tests.tuning.conftest import result

SCORES = (0.95, 0.94, 0.90)
RESULTS = [*(result(n, score) for n, score in enumerate(SCORES)), result(3, math.nan, Status.DIVERGED)]


def confirmed(*scores: tuple[float, ...]) -> Confirmation:
    finalists = [Finalist(n, str(n), str(n), 0.9, each, 10, 1.0) for n, each in enumerate(scores)]
    return confirm(finalists, "maximize", "parameters", 0.95, seed=0)


def test_the_error_of_a_share_is_that_of_repeated_draws() -> None:
    draws = np.random.default_rng(0).binomial(400, 0.9, 20_000) / 400
    assert share_error(0.9, 400) == pytest.approx(float(np.std(draws)), rel=0.05)
    assert share_error(1.0, 50) > 0.01
    assert share_error(0.0, 50) == pytest.approx(share_error(1.0, 50))


def test_rows_give_each_ranked_trial_an_error() -> None:
    errors = standard_errors(RESULTS, None, {}, 400)
    assert set(errors.by_trial) == {0, 1, 2}
    assert errors.by_trial[0] < errors.by_trial[2]
    assert "400" in errors.source


def test_seeds_come_before_folds_and_folds_before_rows() -> None:
    held = confirmed((0.94, 0.96), (0.93, 0.95))
    assert standard_errors(RESULTS, held, {0: 0.5}, 400).by_trial[2] == pytest.approx(0.02 / math.sqrt(2))
    folds = standard_errors(RESULTS, None, {0: 0.5, 3: 0.1}, 400)
    assert folds.by_trial == {0: 0.5, 1: 0.5, 2: 0.5}
    equal = confirmed((0.95, 0.95), (0.94, 0.94))  # no variance over seeds is known
    assert standard_errors(RESULTS, equal, {}, 400).source == standard_errors(RESULTS, None, {}, 400).source


def test_the_rows_of_the_best_trial_stand_for_all_where_the_objective_is_no_share() -> None:
    errors = standard_errors(RESULTS, None, {}, None, of_best=0.02)
    assert errors.by_trial == dict.fromkeys((0, 1, 2), 0.02)
    assert "best trial" in errors.source
    assert standard_errors(RESULTS, None, {0: 0.5}, None, of_best=0.02).by_trial[1] == 0.5


def test_trials_within_one_error_of_the_best_are_alike_in_both_directions() -> None:
    errors = standard_errors(RESULTS, None, {}, 400)
    assert [errors.is_alike(each, RESULTS[0], "maximize") for each in RESULTS] == [True, True, False, False]
    losses = [result(n, loss) for n, loss in enumerate((0.10, 0.12, 0.2))]
    by_folds = standard_errors(losses, None, {0: 0.0001, 1: 0.04, 2: 9.0}, None)  # three folds may agree by chance
    assert by_folds.by_trial[0] == pytest.approx(0.04 / math.sqrt(2), rel=1e-4)
    assert [by_folds.is_alike(each, losses[0], "minimize") for each in losses] == [True, True, False]
    assert not standard_errors(RESULTS, None, {}, None).is_alike(RESULTS[1], RESULTS[0], "maximize")


@pytest.mark.parametrize(
    ("metric", "rows", "data", "expected"),
    [
        ("val_accuracy", {"train": 9, "validation": 5}, {"source": "iris"}, 5),
        ("val_accuracy", {"validation": 5, "ranking": 3}, {"weight": None}, 3),
        ("val_accuracy", {"validation": 5}, {"weight": "w"}, None),
        ("val_accuracy", {"validation": 5}, None, None),
        ("val_accuracy", {}, {}, None),
        ("val_loss", {"validation": 5}, {}, None),
    ],
)
def test_only_an_unweighted_accuracy_is_a_share_of_rows(
    metric: str, rows: dict[str, int], data: object, expected: int | None
) -> None:
    assert rows_of_share(metric, rows, data) == expected


@pytest.mark.parametrize(("task", "expected"), [("positions", None), ("multiclass", 5), ("", 5)])
def test_an_accuracy_of_positions_is_no_share_of_rows(task: str, expected: int | None) -> None:
    assert rows_of_share("val_accuracy", {"validation": 5}, {"source": "rows.py:load"}, (), task) == expected


@pytest.mark.parametrize(("by_rows", "expected"), [(False, None), (True, 5)])
def test_an_accuracy_weighted_by_an_array_is_no_share_of_rows(by_rows: bool, expected: int | None) -> None:
    from nightune.models.data.weights import RowWeights

    findings = RowWeights(np.array([1.0, 3.0], np.float32), None, by_rows).findings(np.arange(2))
    assert rows_of_share("val_accuracy", {"validation": 5}, {"source": "rows.py:load"}, findings) == expected


def test_an_accuracy_is_no_share_of_rows_beside_a_head_of_positions() -> None:
    from nightune.models.data.head_targets import encode_targets
    from nightune.models.data.raw_data import RawData

    targets = {"kind": np.arange(30) % 2, "mask": np.arange(120).reshape(30, 2, 2) % 3}
    raw = RawData(np.zeros((30, 2)), targets["kind"], heads=targets, tasks={"mask": "classification"})
    rows, data = {"validation": 5}, {"source": "rows.py:load"}
    assert rows_of_share("val_accuracy", rows, data, encode_targets(raw).findings, "heads") is None
