"""Answers to held-out rows equal the metrics of training; rows and columns are those of the source."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROWS = 120


@pytest.fixture(scope="module")
def table() -> Any:
    import pandas as pd

    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "size": generator.uniform(20.0, 200.0, ROWS).round(1),
            "region": generator.choice(["north", "south", "east"], ROWS),
            "sunny": generator.choice([True, False], ROWS),
            "day": [f"2025-{1 + n % 12:02d}-{1 + n % 28:02d}" for n in range(ROWS)],
            "price": generator.normal(100.0, 10.0, ROWS).round(2),
        }
    )
    frame.loc[::7, "size"] = None
    frame.loc[[0, 3, 50], "price"] = None  # left out, so that places are not the numbers of rows
    return frame


@pytest.fixture(scope="module")
def prepared(table: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from nightune.models.data.loading import load_dataset
    from nightune.models.data.settings import DataSettings

    folder = tmp_path_factory.mktemp("flats")
    table.to_csv(folder / "flats.csv", index=False)
    return load_dataset(DataSettings("flats.csv", target="price", scale_target=True), folder)


def test_rows_have_their_numbers_in_the_source(prepared: Any, table: Any, tmp_path: Path) -> None:
    from nightune.models.data.numbers_of_studies import keep_numbers, numbers_for
    from nightune.models.serving.predictor import in_units

    keep_numbers(prepared, tmp_path, "a")
    kept = numbers_for(tmp_path, "a")
    numbers = kept["validation"]
    prices = in_units(prepared.validation.targets.reshape(-1, 1), prepared.description)[:, 0]
    assert prices == pytest.approx(table["price"].to_numpy()[numbers], rel=1e-5)
    assert set(kept) == {"validation"}  # none of the sealed rows


def test_numbers_of_another_source_with_equal_rows_replace_the_stored_ones(prepared: Any, tmp_path: Path) -> None:
    from dataclasses import replace

    from nightune.models.data.numbers_of_studies import keep_numbers, numbers_for

    keep_numbers(replace(prepared, row_numbers={}), tmp_path, "a")
    assert numbers_for(tmp_path, "a") == {}
    moved = {"validation": prepared.row_numbers["validation"] + 9}
    for numbers in (prepared.row_numbers, moved):
        keep_numbers(replace(prepared, row_numbers=numbers), tmp_path, "a")
        assert numbers_for(tmp_path, "a")["validation"].tolist() == numbers["validation"].tolist()


def test_rows_of_several_files_are_numbered_within_theirs(table: Any, tmp_path: Path) -> None:
    from nightune.models.data.loading import load_dataset
    from nightune.models.data.settings import DataSettings
    from nightune.models.data.splits import Split

    table[:80].to_csv(tmp_path / "train.csv", index=False)
    table[80:].to_csv(tmp_path / "late.csv", index=False)
    split = Split(kind="fixed", validation="late.csv")
    held = load_dataset(DataSettings("train.csv", target="price", split=split), tmp_path)
    numbers = held.row_numbers["validation"]
    assert held.validation.targets == pytest.approx(table["price"].to_numpy()[80:][numbers], rel=1e-6)


def test_columns_are_read_back_in_their_units(prepared: Any, table: Any) -> None:
    from nightune.models.data.held_columns import column_values

    found = {each.name: each for each in column_values(prepared.preprocessing, prepared.validation.inputs)}
    held = table.iloc[prepared.row_numbers["validation"]]
    assert found["size"].values == pytest.approx(held["size"].to_numpy(), rel=1e-4, nan_ok=True)
    assert found["region"].values.tolist() == held["region"].tolist()
    assert found["sunny"].values.tolist() == [str(value).lower() for value in held["sunny"]]
    assert found["day"].kind == "date"
    days = np.array(held["day"].tolist(), "datetime64[s]").astype(float)
    assert found["day"].values == pytest.approx(days, abs=60.0)


@pytest.mark.parametrize("size", [1, 3])
def test_classes_and_losses_are_those_of_training(size: int) -> None:
    from nightune.models.data.dataset import Dataset, Examples, SealedExamples
    from nightune.models.networks.heads import Head
    from nightune.models.networks.held_out_answers import held_out_answers

    generator = np.random.default_rng(size)
    count = max(size, 2)
    rows = Examples(np.zeros((50, 2), np.float32), generator.integers(0, count, 50).astype(np.int32))
    task = "binary" if size == 1 else "multiclass"
    description = {"task": task, "classes": list(range(count)), "output_size": size}
    sealed = SealedExamples(1, lambda: rows)  # type: ignore[arg-type, return-value]
    dataset = Dataset(rows, rows, sealed, task, tuple(range(count)), "1", (), None, description)
    head = Head("two classes" if size == 1 else "classes", is_logits=True)
    outputs = [generator.normal(size=(50, size)).astype(np.float32) for _ in range(2)]
    found = held_out_answers(outputs, dataset, head, rows, 0.5)
    expected = [head.metrics(task, each, rows.targets) for each in outputs]
    assert found.losses.mean(axis=1) == pytest.approx([each["loss"] for each in expected])
    assert (found.predicted == rows.targets).mean(axis=1) == pytest.approx([each["accuracy"] for each in expected])
    assert found.probabilities is not None
    assert found.probabilities.sum(axis=2) == pytest.approx(np.ones((2, 50)))
    if size == 1:
        assert held_out_answers(outputs, dataset, head, rows, 0.999).predicted.sum() < found.predicted.sum()


@pytest.mark.parametrize("kind", ["classes", "two classes", "labels", "quantities", "positions"])
def test_losses_of_rows_have_the_validation_loss_as_their_mean(kind: str) -> None:
    from nightune.models.data.dataset import Examples
    from nightune.models.networks.heads import Head
    from nightune.models.networks.rows_as_trained import losses_as_trained, standard_error_of_mean

    generator = np.random.default_rng(0)
    size = {"two classes": 1, "positions": 5 * 3}.get(kind, 3)
    targets = {
        "positions": generator.integers(-1, 3, (40, 5)).astype(np.int32),
        "classes": generator.integers(0, 3, 40).astype(np.int32),
        "two classes": generator.integers(0, 2, 40).astype(np.int32),
        "labels": generator.integers(0, 2, (40, 3)).astype(np.int32),
        "quantities": generator.normal(size=(40, 3)).astype(np.float32),
    }[kind]
    task = {"classes": "multiclass", "two classes": "binary", "labels": "multilabel", "positions": kind}.get(
        kind, "regression"
    )
    outputs, weights = generator.normal(size=(40, size)).astype(np.float32), generator.integers(1, 3, 40) / 2
    rows = Examples(np.zeros((40, 1), np.float32), targets, weights=weights.astype(np.float32))
    head = Head(kind, is_logits=True)
    losses = losses_as_trained(head, outputs, rows)
    assert losses.mean() == pytest.approx(head.metrics(task, outputs, targets)["loss"], rel=1e-5)
    assert standard_error_of_mean(losses, None) == pytest.approx(losses.std(ddof=1) / math.sqrt(40))
    draws = [generator.choice(40, 40) for _ in range(2000)]
    means = [np.average(losses[drawn], weights=weights[drawn]) for drawn in draws]
    assert standard_error_of_mean(losses, rows.weights) == pytest.approx(np.std(means), rel=0.1)
    assert math.isnan(standard_error_of_mean(losses[:1], None))
