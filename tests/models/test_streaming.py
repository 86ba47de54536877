"""Data that stays on disk trains as data in memory does, to the last bit, and is read ahead."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset, Examples
from nightune.models.recipe.recipe import Recipe
from nightune.models.training.loop import Outcome, train


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global AHEAD, StreamFeed, TensorFlowFeed, make_feed, FitEngine
    from nightune.models.engines.fit.batch_feeds import AHEAD, StreamFeed, TensorFlowFeed, make_feed
    from nightune.models.engines.fit.engine import FitEngine


MakeDataset = Callable[..., Dataset]


def on_disk(examples: Examples, path: Path) -> Examples:
    np.save(path, examples.inputs)
    return Examples(np.load(path, mmap_mode="r"), examples.targets)


def trained(dataset: Dataset, recipe: Recipe) -> tuple[FitEngine, Outcome]:
    engine = FitEngine(dataset, Path())
    outcome = train(engine, recipe, dataset, epochs=3, seed=0, monitor="val_loss", direction="minimize")
    return engine, outcome


@pytest.mark.parametrize(
    "params", [{}, {"batch_size__policy": "random", "batch_size__minimum": 4, "batch_size__maximum": 9}]
)
def test_training_from_disk_is_bit_equal_to_training_from_memory(
    make_dataset: MakeDataset, recipe: Callable[..., Recipe], tmp_path: Path, params: dict[str, Any]
) -> None:
    dataset = make_dataset(examples=70)
    mapped = replace(
        dataset,
        train=on_disk(dataset.train, tmp_path / "train.npy"),
        validation=on_disk(dataset.validation, tmp_path / "validation.npy"),
    )
    one = recipe(model__dropout=0.2, weight_decay__profile="fixed", **params)
    (held_engine, held), (engine, streamed) = trained(dataset, one), trained(mapped, one)
    assert (held_engine.tags["nightune.data"], engine.tags["nightune.data"]) == ("in memory", "on disk")
    for here, there in zip(held.weights, streamed.weights, strict=True):
        np.testing.assert_array_equal(here, there)
    assert held.curves["val_loss"] == streamed.curves["val_loss"]


def test_data_on_disk_is_streamed_and_data_in_memory_is_not(tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "inputs", np.float32, "w+", shape=(4, 2))
    assert isinstance(make_feed(mapped, np.zeros((4, 1))), StreamFeed)
    assert isinstance(make_feed(np.zeros((4, 2)), np.zeros((4, 1))), TensorFlowFeed)


class Recorded:
    """Inputs that record which thread reads which examples."""

    def __init__(self) -> None:
        self.reads: list[tuple[str, list[int]]] = []

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        self.reads.append((threading.current_thread().name, indices.tolist()))
        return indices.astype(np.float32)


def test_the_next_batches_are_read_in_order_by_another_thread() -> None:
    inputs = Recorded()
    feed = StreamFeed(inputs, np.arange(20))  # type: ignore[arg-type]
    batches = feed.arguments(np.arange(20, dtype=np.int32)[::-1], np.full(10, 2, np.int32))["x"]
    assert [batches[index][1].tolist() for index in range(3)] == [[19, 18], [17, 16], [15, 14]]
    feed._reader.submit(lambda: None).result()  # everything requested ahead has been read by now
    assert [indices for _, indices in inputs.reads] == [[19 - 2 * n, 18 - 2 * n] for n in range(3 + AHEAD)]
    assert all(thread.startswith("nightune-reader") for thread, _ in inputs.reads)


def test_a_new_epoch_drops_the_requests_of_the_last_one() -> None:
    feed = StreamFeed(Recorded(), np.arange(6))  # type: ignore[arg-type]
    first = feed.arguments(np.arange(6, dtype=np.int32), np.full(3, 2, np.int32))["x"]
    assert first[0][1].tolist() == [0, 1]
    second = feed.arguments(np.arange(6, dtype=np.int32)[::-1], np.full(2, 3, np.int32))["x"]
    assert not first._coming
    assert second[0][1].tolist() == [5, 4, 3]


def test_a_read_error_is_raised_in_the_training() -> None:
    feed = StreamFeed(np.zeros((2, 1), np.float32), np.zeros(2))
    batches = feed.arguments(np.array([0, 7], np.int32), np.array([1, 1], np.int32))["x"]
    assert len(batches[0][0]) == 1
    with pytest.raises(IndexError):
        batches[1]
