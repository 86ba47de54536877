import numpy as np
import pytest

from nightune.models.data.inputs import Inputs
from nightune.models.data.leakage import (
    MOST_COLUMNS,
    duplicate_findings,
    identifier_problem,
    leakage_findings,
    predictor_findings,
)
from nightune.models.data.splits import Rows, Split, random_rows
from nightune.models.data.targets import Targets
from nightune.models.serving.preprocessing import TablePreprocessing

ROWS = random_rows(400, Split())
random = np.random.default_rng(3)
NOISE = random.normal(size=400)
CLASSES = (np.arange(400) % 3).astype(np.int32)
QUANTITIES = random.normal(size=400).astype(np.float32)


def predictors(column, targets, task):
    return found_in({"noise": NOISE, "leak": column}, targets, task)


def found_in(columns, targets, task):
    return predictor_findings(Inputs(np.empty((400, 0)), columns), Targets(targets, task), ROWS)


def test_repeated_rows_across_splits_are_counted():
    inputs = np.arange(10, dtype=np.float32).reshape(-1, 1)
    inputs[[6, 8, 9]] = inputs[[0, 0, 7]]
    rows = Rows(np.arange(6), np.array([6, 7]), np.array([8, 9]))
    validation, test = duplicate_findings(inputs, rows)
    assert validation.startswith("1 of 2 validation rows (50.0%)")
    assert test.startswith("2 of 2 test rows (100.0%)")
    assert "training or validation" in test
    assert "group split" in test


def test_repeated_rows_within_a_split_are_not_a_finding():
    inputs = np.array([[1.0], [1.0], [2.0], [3.0]])
    assert duplicate_findings(inputs, Rows(np.array([0, 1]), np.array([2]), np.array([3]))) == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.arange(100.0), "100 different values in 100 rows, counting up"),
        (np.arange(100.0)[::-1] * 7, "100 different values in 100 rows, counting down"),
        (np.random.default_rng(0).permutation(100).astype(float), "100 different values in 100 rows"),
        (np.array([f"P-{index}" for index in range(100)], dtype=object), "100 different values in 100 rows"),
        (np.array([np.nan, *range(99)]), "99 different values in 99 rows, counting up"),
    ],
)
def test_names_of_rows_look_like_identifiers(values, words):
    assert identifier_problem(values) == words


@pytest.mark.parametrize(
    "values",
    [
        NOISE,
        np.arange(100.0) // 2,
        np.array(["a", "b"] * 50, dtype=object),
        np.arange(5.0),
        np.concatenate([np.arange(1000.0), np.arange(1000.0)]),
    ],
    ids=["floats", "pairs", "categories", "too few", "repeated later"],
)
def test_ordinary_columns_are_not_identifiers(values):
    assert identifier_problem(values) is None


def test_column_that_reveals_the_class_is_found():
    (finding,) = predictors(np.array([0.5, -3.0, 7.0])[CLASSES], CLASSES, "multiclass")
    assert "'leak' alone predicts" in finding
    assert "80 validation rows with accuracy 1.000" in finding


def test_text_that_reveals_the_class_is_found():
    leak = np.array(["x", "y", "z"], dtype=object)[CLASSES]
    assert "'leak' alone" in predictors(leak, CLASSES, "multiclass")[0]


def test_missing_values_that_reveal_the_class_are_found():
    leak = np.where(CLASSES == 0, np.nan, NOISE)
    assert "'leak' alone" in predictors(leak, (CLASSES == 0).astype(np.int32), "binary")[0]


@pytest.mark.parametrize("leak", [3 * QUANTITIES.astype(float) + 1, np.exp(QUANTITIES.astype(float))])
def test_column_that_reveals_the_quantity_is_found(leak):
    (finding,) = predictors(leak, QUANTITIES, "regression")
    assert "'leak' alone" in finding
    assert "with R2 " in finding


def test_noise_is_not_a_leak():
    assert predictors(NOISE[::-1], CLASSES, "multiclass") == []
    assert predictors(NOISE[::-1], QUANTITIES, "regression") == []


def test_rare_class_makes_no_column_suspect():
    rare = np.zeros(400, dtype=np.int32)
    rare[:8] = 1
    assert predictors(NOISE, rare, "binary") == []


def test_leak_is_found_in_a_wide_array():
    columns = {f"input {index}": random.normal(size=400) for index in range(MOST_COLUMNS + 50)}
    columns["input 340"] = CLASSES.astype(float)
    (finding,) = found_in(columns, CLASSES, "multiclass")
    assert "'input 340'" in finding


def test_all_guards_report_together():
    inputs = np.stack([np.arange(400), CLASSES], axis=1).astype(np.float32)
    columns = {"id": inputs[:, 0].astype(float), "leak": inputs[:, 1].astype(float)}
    findings = leakage_findings(Inputs(inputs, columns), Targets(CLASSES, "multiclass", (0, 1, 2)), ROWS)
    assert [finding.split(" ")[1] for finding in findings] == ["'id'", "'leak'"]


def test_the_remedy_for_a_column_is_that_of_its_source():
    columns = {"a": np.arange(3.0)}
    fitted = TablePreprocessing((), (), {}, {}, (), {})
    assert Inputs(np.empty((3, 0)), columns, fitted).remedy("a").endswith('drop = ["a"] in [data]')
    assert "drop" not in Inputs(np.empty((3, 0)), columns).remedy("a")
