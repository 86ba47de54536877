"""Compiled programs of TensorFlow in the store: valid ones are found again, damage and other writers cost nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nightune.models import program_cache
from nightune.models.program_cache import FLAG, FLAGS, keep_programs, publish_programs


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for programs, in a process that keeps none yet."""
    monkeypatch.setattr(program_cache, "processor_kind", lambda: "kind")
    monkeypatch.setattr(program_cache, "_caches", [])
    monkeypatch.setattr(program_cache.atexit, "register", lambda *given, **options: None)
    monkeypatch.delenv(FLAGS, raising=False)
    return tmp_path


def own_folder() -> Path:
    """The folder that TensorFlow is told to use."""
    return Path(os.environ[FLAGS].rpartition(FLAG)[2])


def begin(store: Path) -> Path:
    """Begin as another process would, and return its folder."""
    program_cache._caches.clear()
    os.environ.pop(FLAGS, None)
    keep_programs(store)
    return own_folder()


def published(store: Path) -> list[Path]:
    return sorted((store / "kind").glob("*.pb"))


def test_a_program_is_found_by_the_next_process(store: Path) -> None:
    first = begin(store)
    (first / "program_a.pb").write_bytes(b"compiled")
    publish_programs()
    publish_programs()
    assert len(published(store)) == 1
    second = begin(store)
    assert second != first
    assert [(file.name, file.read_bytes()) for file in second.iterdir()] == [("program_a.pb", b"compiled")]
    publish_programs()
    assert len(published(store)) == 1


def test_damaged_programs_are_deleted_and_the_others_kept(store: Path) -> None:
    first = begin(store)
    for name in "abc":
        (first / f"{name}.pb").write_bytes(name.encode() * 100)
    publish_programs()
    truncated, emptied, _ = published(store)
    truncated.unlink()
    truncated.write_bytes(b"a")
    emptied.unlink()
    emptied.touch()
    assert len(list(begin(store).iterdir())) == 1
    assert len(published(store)) == 1


def test_two_processes_that_compile_the_same_program_do_not_meet(store: Path) -> None:
    first = begin(store)
    (first / "a.pb").write_bytes(b"one")
    kept = list(program_cache._caches)
    second = begin(store)
    (second / "a.pb").write_bytes(b"other")
    publish_programs()
    program_cache._caches[:] = kept
    publish_programs()
    assert [file.name for file in begin(store).iterdir()] == ["a.pb"]


def test_a_program_that_is_not_whole_yet_is_not_published(store: Path) -> None:
    first = begin(store)
    (first / "a.pb.tmp123").write_bytes(b"half")
    publish_programs()
    assert published(store) == []


def test_the_oldest_programs_make_room(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program_cache, "MAXIMUM_BYTES", 250)
    first = begin(store)
    for age, name in enumerate("abc"):
        (first / f"{name}.pb").write_bytes(name.encode() * 100)
        publish_programs()
        (newest,) = (store / "kind").glob(f"*-{name}.pb")
        os.utime(newest, (1000 + age, 1000 + age))
    assert sorted(file.name for file in begin(store).iterdir()) == ["b.pb", "c.pb"]
    assert len(published(store)) == 2


def test_folders_of_killed_processes_are_removed(store: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    mine = begin(store)
    left = mine.with_name(mine.name.replace(f"-{os.getpid()}-", f"-{ended.pid}-"))
    left.mkdir()
    (left / "a.pb").write_bytes(b"half")
    elsewhere = mine.with_name(f"live-another-host-{ended.pid}-x")
    elsewhere.mkdir()
    begin(store)
    assert (mine.exists(), left.exists(), elsewhere.exists()) == (True, False, True)


def test_other_flags_and_a_folder_of_the_user_are_kept(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FLAGS, "--tf_xla_auto_jit=0")
    keep_programs(store)
    assert os.environ[FLAGS].startswith(f"--tf_xla_auto_jit=0 {FLAG}{store}")
    keep_programs(store)
    assert os.environ[FLAGS].count(FLAG) == 1  # of this process, not of its parent
    monkeypatch.setenv(FLAGS, f"{FLAG}/elsewhere")
    keep_programs(store)
    assert os.environ[FLAGS] == f"{FLAG}/elsewhere"


def test_nothing_is_kept_where_the_disk_is_almost_full(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program_cache, "FREE_BYTES", 2**70)
    keep_programs(store)
    assert FLAGS not in os.environ
    publish_programs()


def test_a_folder_that_cannot_be_written_is_no_error(store: Path) -> None:
    (store / "file").touch()
    keep_programs(store / "file")
    assert FLAGS not in os.environ


TRAIN = """
import sys
from pathlib import Path
import numpy as np
from nightune.models.backend import load_keras
load_keras(Path(sys.argv[1]))
import tensorflow as tf
for number in range(int(sys.argv[2])):  # what a process has traced before must not matter
    tf.function(lambda given: given + number)(1)
from nightune.models.data.dataset import Dataset, Examples
from nightune.models.engines.make import make_engine
from nightune.models.recipe.params import read_recipe
from nightune.models.training.loop import train
inputs = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
rows = Examples(inputs, (inputs[:, 0] > 0).astype(np.int32))
data = Dataset(rows, rows, rows, "binary", (0, 1), "0" * 16, (), None, {})
recipe = read_recipe({"model.units": [4], "model.dropout": 0.2, "stopping.rule": "none", "batch_size.size": 8})
engine = make_engine("tensorflow", data, Path())
ended = train(engine, recipe, data, epochs=2, seed=0, monitor="val_loss", direction="minimize")
print(sum(float(np.abs(weight).sum()) for weight in ended.weights))
"""


@pytest.mark.nights
def test_a_second_process_reads_the_programs_of_the_first_and_survives_their_damage(tmp_path: Path) -> None:
    def trained(traced_before: int = 0) -> str:
        environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
        environment.pop(FLAGS, None)
        command = [sys.executable, "-c", TRAIN, str(tmp_path), str(traced_before)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    first = trained()
    programs = {file.name for file in tmp_path.rglob("*.pb")}
    assert programs
    assert trained(traced_before=3) == first
    assert {file.name for file in tmp_path.rglob("*.pb")} == programs
    for file in tmp_path.rglob("*.pb"):
        file.write_bytes(b"damaged")
    assert trained() == first
    compiled_anew = {file.name for file in tmp_path.rglob("*.pb")}
    assert len(compiled_anew) == len(programs)
    assert all(file.stat().st_size > 1000 for file in tmp_path.rglob("*.pb"))
