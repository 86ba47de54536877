"""A training that another process goes on with is the unbroken one, to the last bit, in every engine (X4)."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from models.recipe import Recipe
from models.training.engine import COMPILED_ENGINES, Engine, make_engine
from models.training.loop import Outcome, train
from models.training.snapshots import EngineSnapshot, Snapshot, SnapshotError, read_snapshot, write_snapshot
from tests.models.test_engine_equality import small_dataset

EPOCHS = 4
PLAIN: dict[str, Any] = {"batch_size.size": 8, "model.units": [4]}
FOR_ALL: dict[str, dict[str, Any]] = {
    "momentum on plateaus": {
        "optimizer": "sgd",
        "one_minus_momentum": 0.1,
        "learning_rate.peak": 3.0,
        "learning_rate.schedule": "plateau",
        "learning_rate.plateau_patience": 1,
    },
    "adam with dropout": {"optimizer": "adam", "learning_rate.peak": 0.01, "model.dropout": 0.3},
    "normalized, decaying": {
        "optimizer": "adamw",
        "model.batch_normalization": True,
        "weight_decay.profile": "fixed",
        "penalty.kind": "l1",
    },
    "growing batches": {"optimizer": "rmsprop", "batch_size.policy": "geometric", "batch_size.maximum": 16},
}
FOR_FIT: dict[str, dict[str, Any]] = {
    "noise": {"optimizer": "sgd", "batch_size.policy": "gns", "batch_size.minimum": 4, "batch_size.maximum": 16},
    "micro-batches": {"optimizer": "adam", "batch_size.micro_size": 3},
    "prodigy": {"optimizer": "prodigy"},
    "schedule-free": {"optimizer": "schedule_free"},
    "averaged": {"optimizer": "sgd", "weight_average.kind": "exponential"},
    "hypergradient": {"optimizer": "sgd", "learning_rate.hypergradient_strength": 0.01},
    "adapting penalty": {"optimizer": "adam", "penalty.kind": "l2", "penalty.adaptation": "gap_control"},
}


@dataclass
class Kept:
    """Keeps the snapshot after each epoch in a file of a folder, or gives back that of one epoch."""

    folder: Path
    back_to: int = 0
    refusals: list[str] = field(default_factory=list)

    def read(self) -> Snapshot | None:
        return read_snapshot(self.folder / f"{self.back_to}.npz") if self.back_to else None

    def refuse(self, reason: str) -> None:
        self.refusals.append(reason)

    def is_due(self, is_last: bool) -> bool:
        return True

    def write(self, snapshot: Snapshot) -> None:
        write_snapshot(self.folder / f"{len(snapshot.history)}.npz", snapshot)


def make(name: str) -> Engine:
    return make_engine(name, small_dataset(), Path())


def run(engine: Engine, params: dict[str, Any], keeper: Kept, seen: list[Any] | None = None) -> Outcome:
    return train(
        engine,
        Recipe.from_params({**PLAIN, **params}),
        small_dataset(),
        epochs=EPOCHS,
        seed=5,
        monitor="val_loss",
        direction="minimize",
        keeper=keeper,
        on_epoch=None if seen is None else lambda epoch, values: seen.append((epoch, values["val_loss"])),
    )


def is_equal(one: Outcome, other: Outcome) -> bool:
    def told(outcome: Outcome) -> Any:
        curves = {name: values for name, values in outcome.curves.items() if name != "seconds"}
        return json.dumps([outcome.status, outcome.message, outcome.best_epoch, outcome.objective, curves])

    weights = zip(one.weights, other.weights, strict=True)
    return told(one) == told(other) and all(np.array_equal(ours, theirs) for ours, theirs in weights)


def broken_anywhere_is_unbroken(name: str, params: dict[str, Any], folder: Path) -> bool:
    whole, other = run(make(name), params, Kept(folder)), make(name)
    return all(is_equal(run(other, params, Kept(folder, epoch)), whole) for epoch in range(1, EPOCHS))


def compiled_rows(folder: str) -> dict[str, bool]:
    engine = COMPILED_ENGINES[keras.backend.backend()]
    return {name: broken_anywhere_is_unbroken(engine, params, Path(folder)) for name, params in FOR_ALL.items()}


@pytest.mark.parametrize("name", [*FOR_ALL, *FOR_FIT])
def test_x4_fit_goes_on_as_if_unbroken(name: str, tmp_path: Path) -> None:
    assert broken_anywhere_is_unbroken("fit", {**FOR_ALL, **FOR_FIT}[name], tmp_path)


def test_x4_the_compiled_engine_goes_on_as_if_unbroken(tmp_path: Path) -> None:
    assert all(compiled_rows(str(tmp_path)).values())


def test_x4_jax_goes_on_as_if_unbroken(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    code = "from tests.models.test_snapshots import *; print(json.dumps(compiled_rows(sys.argv[1])))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert set(json.loads(done.stdout.splitlines()[-1]).values()) == {True}


def test_epochs_before_the_break_are_told_once_more(tmp_path: Path) -> None:
    params, seen = FOR_ALL["adam with dropout"], list[Any]()
    run(make("fit"), params, Kept(tmp_path))
    outcome = run(make("fit"), params, Kept(tmp_path, 2), seen)
    assert seen == list(enumerate(outcome.curves["val_loss"], start=1))


@pytest.mark.parametrize(
    ("engine", "params", "reason"),
    [
        ("tensorflow", FOR_ALL["adam with dropout"], "engine fit"),
        ("fit", {"optimizer": "adam", "learning_rate.peak": 0.02, "model.dropout": 0.3}, "another training"),
        ("fit", {"optimizer": "sgd", "learning_rate.peak": 0.01, "model.dropout": 0.3}, "other weights or slots"),
    ],
)
def test_what_belongs_to_another_training_is_refused_and_it_begins_anew(
    engine: str, params: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    run(make("fit"), FOR_ALL["adam with dropout"], Kept(tmp_path))
    keeper, tried = Kept(tmp_path, 2), make(engine)
    (tmp_path / "anew").mkdir()
    assert is_equal(run(tried, params, keeper), run(tried, params, Kept(tmp_path / "anew")))
    assert [reason in refusal for refusal in keeper.refusals] == [True]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    state = EngineSnapshot([np.arange(3, dtype=np.uint32), np.eye(2, dtype=np.float32)], {"cap": 0})
    snapshot = Snapshot("fit", state, {"epoch": 1}, [np.ones(2)], [{"loss": float("nan"), "val_loss": 0.1}], 1.5)
    write_snapshot(tmp_path / "written.npz", snapshot)
    return tmp_path / "written.npz"


def test_a_file_gives_back_what_was_put_in(written: Path) -> None:
    snapshot = read_snapshot(written)
    assert [array.dtype for array in snapshot.state.arrays] == [np.uint32, np.float32]
    assert np.isnan(snapshot.history[0]["loss"])
    assert snapshot.history[0]["val_loss"] == 0.1
    assert snapshot.seconds == 1.5


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flip(content: bytes) -> bytes:
    place = len(content) // 3
    return content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]


@pytest.mark.parametrize("damage", [_cut, _flip, lambda content: b"", lambda content: b"no archive"])
def test_a_damaged_file_is_refused(written: Path, damage: Callable[[bytes], bytes]) -> None:
    written.write_bytes(damage(written.read_bytes()))
    with pytest.raises(SnapshotError, match="cannot be read"):
        read_snapshot(written)
