"""A training that another process resumes is bit-equal to an uninterrupted one, in every engine."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.engines.make import make_engine
from nightune.models.recipe.params import read_recipe
from nightune.models.training.engine import COMPILED_ENGINES, Engine
from nightune.models.training.loop import Outcome, train
from nightune.models.training.snapshots import EngineSnapshot, Snapshot, SnapshotError, read_snapshot, write_snapshot
from tests.models.conftest import BACKEND, FEW_RULES
from tests.models.covering import ALL, covering, params_of
from tests.models.test_engine_equality import ROWS, small_dataset


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, pace
    import keras

    from nightune.models.engines.compiled import pace


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
    "weighted classes": {"optimizer": "adam", "training.class_weight": {"0": 3.0}},
    "growing batches": {"optimizer": "rmsprop", "batch_size.policy": "geometric", "batch_size.maximum": 16},
}
SAMPLE = ("adam with dropout", "normalized, decaying")  # the others are compiled in the nightly tests
AT_NIGHT = ("weighted classes", "growing batches", "micro-batches", "bfloat16")  # their engines keep nothing more
FOR_FIT: dict[str, dict[str, Any]] = {
    "noise": {"optimizer": "sgd", "batch_size.policy": "gns", "batch_size.minimum": 4, "batch_size.maximum": 16},
    "micro-batches": {"optimizer": "adam", "batch_size.micro_size": 3},
    "prodigy": {"optimizer": "prodigy"},
    "schedule-free": {"optimizer": "schedule_free"},
    "averaged": {"optimizer": "sgd", "weight_average.kind": "exponential"},
    "hypergradient": {"optimizer": "sgd", "learning_rate.hypergradient_strength": 0.01},
    "adapting penalty": {"optimizer": "adam", "penalty.kind": "l2", "penalty.adaptation": "gap_control"},
    "bfloat16": {"optimizer": "adam", "precision": "mixed_bfloat16", "model.dropout": 0.3},
    "float16, its loss scaled": {"optimizer": "adam", "precision": "mixed_float16", "learning_rate.peak": 0.01},
}
FOR_ALL = {name: PLAIN | params for name, params in FOR_ALL.items()}
FOR_FIT = {name: PLAIN | params for name, params in FOR_FIT.items()}


@dataclass
class Kept:
    """Writes the snapshot after each epoch to a file of a folder, or returns that of one epoch."""

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


class Resumed(Kept):
    """Only returns snapshots."""

    def is_due(self, is_last: bool) -> bool:
        return False


def make(name: str) -> Engine:
    return make_engine(name, small_dataset(), Path(), rules=FEW_RULES)


def run(engine: Engine, params: dict[str, Any], keeper: Kept | None, seen: list[Any] | None = None) -> Outcome:
    return train(
        engine,
        read_recipe(params),
        small_dataset(),
        epochs=EPOCHS,
        seed=5,
        monitor="val_loss",
        direction="minimize",
        keeper=keeper,
        on_epoch=None if seen is None else lambda epoch, values: seen.append((epoch, values["val_loss"])),
    )


def is_equal(one: Outcome, other: Outcome) -> bool:
    def summary(outcome: Outcome) -> Any:
        curves = {name: values for name, values in outcome.curves.items() if name != "seconds"}
        return json.dumps([outcome.status, outcome.message, outcome.best_epoch, outcome.objective, curves])

    weights = zip(one.weights, other.weights, strict=True)
    return summary(one) == summary(other) and all(np.array_equal(ours, theirs) for ours, theirs in weights)


ANY_EPOCH = range(1, EPOCHS)


def resumes_bit_equal(name: str, params: dict[str, Any], folder: Path) -> bool:
    """Take snapshots of epochs computed one by one; the other trainings compute several at once."""
    whole, slow, other = run(make(name), params, None), make(name), make(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slow, "epochs_at_once", lambda *_: 1, raising=True)
        kept = run(slow, params, Kept(folder))
    return is_equal(kept, whole) and all(
        is_equal(run(other, params, Resumed(folder, epoch)), whole) for epoch in ANY_EPOCH
    )


def compiled_rows(folder: str, names: Sequence[str] = SAMPLE) -> dict[str, bool]:
    engine = COMPILED_ENGINES[keras.backend.backend()]
    rows = {name: resumes_bit_equal(engine, FOR_ALL[name], Path(folder)) for name in names}
    return {**rows, "in several calls": is_equal_in_several_calls(engine, FOR_ALL["adam with dropout"], Path(folder))}


def is_equal_in_several_calls(name: str, params: dict[str, Any], folder: Path) -> bool:
    """A slow or busy device computes an epoch in several calls; here, one for each of the eleven updates."""
    params = {**params, "batch_size.size": 2}
    whole = run(make(name), params, Kept(folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pace, "FIRST_CALL_UPDATES", 1)
        patch.setattr(pace, "CALL_SECONDS", 1e-9)
        return is_equal(run(make(name), params, Kept(folder)), whole)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.nights] if name in AT_NIGHT else [], id=name)
        for name in (*FOR_ALL, *FOR_FIT)
    ],
)
def test_fit_resumes_bit_equal(name: str, tmp_path: Path) -> None:
    params = {**FOR_ALL, **FOR_FIT}[name]
    if name in SAMPLE:
        assert resumes_bit_equal("fit", params, tmp_path)
    else:  # that snapshots change no training is shown by the sample, and by the nightly tests of every kind
        kept = run(make("fit"), params, Kept(tmp_path))
        assert is_equal(run(make("fit"), params, Resumed(tmp_path, 2)), kept)


def test_the_compiled_engine_resumes_bit_equal(tmp_path: Path) -> None:
    assert all(compiled_rows(str(tmp_path)).values())


@pytest.mark.nights
def test_jax_resumes_bit_equal(tmp_path: Path) -> None:
    rows = rows_on_jax("{**compiled_rows(folder), 'stacked': stacked_trials_resume_bit_equal(Path(folder))}", tmp_path)
    assert set(rows.values()) == {True}


@pytest.mark.nights
def test_jax_resumes_bit_equal_with_all_rows(tmp_path: Path) -> None:
    rows = rows_on_jax("compiled_rows(folder, list(FOR_ALL))", tmp_path)
    assert set(rows.values()) == {True}


def rows_on_jax(expression: str, folder: Path) -> dict[str, bool]:
    pytest.importorskip("jax")
    code = f"from tests.models.test_snapshots import *; setup_module(); folder = sys.argv[1]; rows = {expression}"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print(json.dumps(rows))", str(folder)],
        env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def stacked_trials_resume_bit_equal(folder: Path) -> bool:
    """Interrupt two stacked trials of one program at one epoch, or at two: then they are not stacked to the end."""
    from nightune.models.engines.compiled.side_by_side import train_side_by_side
    from nightune.models.engines.compiled.vmap_stacks import Stacks

    engine, rates = make("jax"), (0.01, 0.02)
    folders = [folder / str(rate) for rate in rates]
    for place in folders:
        place.mkdir(exist_ok=True)

    def side_by_side(epochs: tuple[int, int]) -> list[Outcome]:
        rows = [FOR_ALL["adam with dropout"] | {"learning_rate.peak": rate} for rate in rates]
        kept = [Kept(place, epoch) for place, epoch in zip(folders, epochs, strict=True)]
        trainings = [partial(run, params=row, keeper=keeper) for row, keeper in zip(rows, kept, strict=True)]
        return train_side_by_side(engine, trainings, 2, Stacks(2).run_epochs)

    whole = side_by_side((0, 0))
    return all(is_equal(*pair) for pair in zip(side_by_side((2, 2)), whole, strict=True)) and all(
        one.status == other.status and one.epochs == other.epochs
        for one, other in zip(side_by_side((1, 3)), whole, strict=True)
    )


@pytest.mark.nights
@pytest.mark.parametrize("row", covering(1, ALL).rows, ids=lambda row: " · ".join(row.values()))
def test_fit_resumes_with_every_kind_of_every_technique(row: dict[str, str], tmp_path: Path) -> None:
    assert resumes_bit_equal("fit", params_of(row), tmp_path)


@pytest.mark.nights
@pytest.mark.parametrize("name", ROWS)
def test_the_compiled_engine_resumes_with_every_kind_of_every_technique(name: str, tmp_path: Path) -> None:
    engine = COMPILED_ENGINES[keras.backend.backend()]
    assert resumes_bit_equal(engine, ROWS[name], tmp_path)


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the snapshots of a training in `fit`, of Adam with dropout."""
    folder = tmp_path_factory.mktemp("snapshots")
    run(make("fit"), FOR_ALL["adam with dropout"], Kept(folder))
    return folder


def test_epochs_before_the_interruption_are_reported_again(snapshots: Path) -> None:
    seen: list[Any] = []
    outcome = run(make("fit"), FOR_ALL["adam with dropout"], Resumed(snapshots, 2), seen)
    assert seen == list(enumerate(outcome.curves["val_loss"], start=1))


@pytest.mark.parametrize(
    ("engine", "params", "reason"),
    [
        (COMPILED_ENGINES[BACKEND], FOR_ALL["adam with dropout"], "engine fit"),
        ("fit", FOR_ALL["adam with dropout"] | {"learning_rate.peak": 0.02}, "another training"),
        (
            "fit",
            PLAIN | {"optimizer": "sgd", "learning_rate.peak": 0.01, "model.dropout": 0.3},
            "other weights or slots",
        ),
    ],
)
def test_a_snapshot_of_another_training_is_refused_and_the_training_restarts(
    engine: str, params: dict[str, Any], reason: str, snapshots: Path, tmp_path: Path
) -> None:
    keeper, tried = Resumed(snapshots, 2), make(engine)
    assert is_equal(run(tried, params, keeper), run(tried, params, Kept(tmp_path)))
    assert [reason in refusal for refusal in keeper.refusals] == [True]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    state = EngineSnapshot([np.arange(3, dtype=np.uint32), np.eye(2, dtype=np.float32)], {"cap": 0})
    snapshot = Snapshot("fit", state, {"epoch": 1}, [np.ones(2)], [{"loss": float("nan"), "val_loss": 0.1}], 1.5)
    write_snapshot(tmp_path / "written.npz", snapshot)
    return tmp_path / "written.npz"


def test_a_file_returns_the_snapshot_that_was_written(written: Path) -> None:
    snapshot = read_snapshot(written)
    assert [array.dtype for array in snapshot.state.arrays] == [np.uint32, np.float32]
    assert np.isnan(snapshot.history[0]["loss"])
    assert snapshot.history[0]["val_loss"] == 0.1
    assert snapshot.seconds == 1.5


def _cut(content: bytes, place: int) -> bytes:
    return content[:place]


def _flip(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize("damage", [_cut, _flip])
def test_a_file_damaged_anywhere_is_refused(written: Path, damage: Callable[[bytes, int], bytes]) -> None:
    content = written.read_bytes()
    for place in range(0, len(content), 7):
        written.write_bytes(damage(content, place))
        with pytest.raises(SnapshotError, match="cannot be read"):
            read_snapshot(written)


def test_another_file_is_refused(written: Path) -> None:
    written.write_bytes(b"no archive, and longer than a digest is")
    with pytest.raises(SnapshotError, match="cannot be read"):
        read_snapshot(written)
    written.unlink()
    with pytest.raises(SnapshotError, match="cannot be read"):
        read_snapshot(written)


def test_a_controller_of_another_version_is_refused_and_the_training_restarts(tmp_path: Path) -> None:
    params = FOR_ALL["momentum on plateaus"]
    whole = run(make("fit"), params, Kept(tmp_path))
    older = read_snapshot(tmp_path / "2.npz")
    state = {name: value for name, value in older.controller.items() if name != "plateau"}
    write_snapshot(tmp_path / "2.npz", replace(older, controller=state))
    keeper = Kept(tmp_path, 2)
    assert is_equal(run(make("fit"), params, keeper), whole)
    assert ["another version of the controller" in refusal for refusal in keeper.refusals] == [True]
