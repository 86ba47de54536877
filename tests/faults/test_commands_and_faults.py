"""Every command meets every fault: no traceback, a documented exit code, and a message that names the thing."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from filelock import FileLock

from nightune.tasks.tracking.store import lock
from tests.conftest import kept_environment
from tests.faults.command_world import (
    COMMANDS,
    READ_STUDY,
    USE_PREFECT,
    USE_STORE,
    World,
    close,
    copied,
    documented_codes,
    make_world,
    without_prefect,
)
from tests.faults.store_changes import CHANGES, change_at_random

pytestmark = pytest.mark.slow  # it runs hundreds of commands

FUZZ_CASES = int(os.environ.get("NIGHTUNE_FUZZ_CASES", "100")) // 100  # `make fuzz` runs 100
DEAD = "http://127.0.0.1:9"
CODES = documented_codes()


@pytest.fixture(scope="module")
def template(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with kept_environment(), pytest.MonkeyPatch.context() as patch:
        without_prefect(patch)
        yield make_world(tmp_path_factory.mktemp("template"), empty_store)


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copied(template, tmp_path / "world")


@dataclass(frozen=True)
class Expected:
    """What a fault does to commands: their exit codes, and a word of their output."""

    commands: Collection[str]
    codes: Collection[int]
    word: str = ""


def failures(world: World, *expected: Expected) -> list[str]:
    """Run the commands, and return what is wrong with each of them."""
    return [
        f"{command}: {problem}"
        for each in expected
        for command in each.commands
        for problem in _problems(world, command, each)
    ]


def _problems(world: World, command: str, expected: Expected) -> Iterator[str]:
    done = world.run(command)
    shown = f"exit {done.exit_code}: {done.output[-600:]}"
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        yield f"raised {done.exception!r}"
    elif "Traceback" in done.output or "fault of Nightune" in done.output:
        yield f"shows a fault of ours, {shown}"
    elif done.exit_code not in expected.codes or done.exit_code not in CODES[command]:
        yield f"ends with another code than {expected.codes}, {shown}"
    elif expected.word not in done.output:
        yield f"does not say {expected.word!r}, {shown}"


def every(commands: Collection[str], *excepted: str) -> tuple[str, ...]:
    return tuple(name for name in commands if name not in excepted)


def test_the_table_has_every_command_and_the_docs_every_code() -> None:
    from nightune.flows.commands.main import app

    registered = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    assert registered == {*COMMANDS, "init"} == set(CODES)  # init reads no study and no store: test_first_study.py
    assert CODES["tune"] == {0, 1, 2, 3, 128, 130}
    assert CODES["pause"] == CODES["resume"] == {0, 2, 3}


def test_without_a_fault_every_command_works(world: World) -> None:
    alone = Expected(("pause", "resume"), (3,), "No Prefect server")  # nothing is served
    last = Expected(("rollback",), (3,), "nothing to roll back to")
    refused = Expected(("promote",), (4,), "no better")
    rest = every(COMMANDS, "pause", "resume", "rollback", "promote")
    assert failures(world, Expected(rest, (0,)), refused, last, alone) == []


def test_a_missing_study(world: World) -> None:
    world.study.unlink()
    assert failures(world, Expected(READ_STUDY, (2,), "flowers.toml")) == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("question = 'a\nb", "line 2"),
        ("question = 3\n", "question"),
        ("[project]\nname = 'flowers'\n", "project"),
        ("question = '?'\n[data]\nsource = 'gone.csv'\n[search]\ntrials = 1\nepochs = 1\n", "flowers.toml"),
        ("\x00\x01", "flowers.toml"),
        ("", "question"),
    ],
    ids=["broken", "wrong kind", "another program's", "no data", "binary", "empty"],
)
def test_a_study_that_is_none(text: str, word: str, world: World) -> None:
    world.study.write_text(text)
    if "gone.csv" in text:  # a study without its data is still a study
        reading = ("show", "report", "compare", "simulate", "prune", "promote")
        rest = every(READ_STUDY, *reading, "pause", "resume", "serve", "probe")
        assert failures(world, Expected(rest, (2,), "gone.csv"), Expected(reading, (0, 2, 3, 4))) == []
    else:
        assert failures(world, Expected(READ_STUDY, (2,), word)) == []


def test_no_store(world: World) -> None:
    shutil.rmtree(world.root)
    reading = every(USE_STORE, "tune", "probe", "serve")
    assert failures(world, Expected(reading, (3,), f"{world.root}: no store")) == []
    assert not world.root.exists()


def test_an_empty_store(world: World, empty_store: Path) -> None:
    shutil.rmtree(world.root)
    shutil.copytree(empty_store, world.root)
    searching = ("show", "report", "compare", "simulate", "prune", "promote", "models", "rollback")
    assert failures(world, Expected(searching, (3,), "flowers"), Expected(("doctor", "ui", "serve"), (0,))) == []
    assert failures(world, Expected(("tune",), (0,), "flowers-0")) == []


def test_another_file_in_the_place_of_the_database(world: World) -> None:
    for file in world.root.glob("mlflow.db*"):
        file.unlink()
    world.database.write_text("no database\n" * 1000)
    assert failures(world, Expected(every(USE_STORE, "probe"), (3,), str(world.database))) == []


@pytest.mark.parametrize("part", ["schema", "rows"])
def test_a_damaged_database(world: World, part: str) -> None:
    pages = world.database.read_bytes()
    start = 100 if part == "schema" else len(pages) // 4
    world.database.write_bytes(pages[:start] + b"\xa5" * (len(pages) - start))
    commands = every(USE_STORE, "probe", "serve", "ui")
    assert failures(world, Expected(commands, (3,) if part == "schema" else (0, 1, 3))) == []
    assert failures(world, Expected(("doctor",), (1, 3), "mlflow.db")) == []


def test_a_store_of_a_newer_version(world: World) -> None:
    with closing(sqlite3.connect(world.database)) as database, database:
        database.execute("update alembic_version set version_num = 'ffffffffffff'")
    assert failures(world, Expected(every(USE_STORE, "probe"), (3,), "another version")) == []


def test_a_store_that_cannot_be_written(world: World) -> None:
    close(world)
    place = str(world.root)
    mounted = subprocess.run(["mount", "--bind", place, place], check=False, capture_output=True).returncode == 0
    if not mounted:
        pytest.skip("no right to mount a folder")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", place], check=True)
        assert failures(world, Expected(every(USE_STORE, "probe"), (3,), place)) == []
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def test_a_dead_tracking_server(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", DEAD)
    named = f"MLFLOW_TRACKING_URI: no MLflow store answers at {DEAD}"
    assert failures(world, Expected(USE_STORE, (3,), named), Expected(("check",), (0,))) == []


def test_a_dead_prefect_server(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from nightune.flows.commands import main, nights, started_flow
    from nightune.flows.runtime import prefect_server

    monkeypatch.setenv("PREFECT_API_URL", f"{DEAD}/api")
    monkeypatch.setattr(nights, "serving_server", prefect_server.serving_server)
    for module in (main, started_flow):
        monkeypatch.setattr(module, "prefect_server", prefect_server.prefect_server)
    rest = every(COMMANDS, *USE_PREFECT, "rollback")
    named = f"PREFECT_API_URL: no Prefect server answers at {DEAD}/api"
    assert failures(world, Expected(USE_PREFECT, (3,), named), Expected(rest, (0,))) == []


@pytest.mark.parametrize(
    ("variable", "value", "code"),
    [
        ("HTTP_PROXY", "foo://127.0.0.1:9", 2),
        ("TMPDIR", "/nonexistent", 2),
        ("PREFECT_PROFILE", "nosuch", 2),
        ("KERAS_BACKEND", "nosuch", 2),
        ("NIGHTUNE_STACK", "many", 2),
        ("MLFLOW_TRACKING_URI", "./mlruns", 2),
        ("MLFLOW_TRACKING_URI", "mysql+nosuch://nowhere/x", 3),
    ],
)
def test_an_environment_that_cannot_be_used(
    variable: str, value: str, code: int, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(variable.lower(), raising=False)
    monkeypatch.setenv(variable, value)
    assert failures(world, Expected(COMMANDS, (code,), f"{variable}: ")) == []


def test_another_process_that_works_on_the_study(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "STUDY_LOCK_SECONDS", 0.0)
    (world.root / "locks").mkdir(exist_ok=True)
    with FileLock(world.root / "locks" / "flowers.lock"):
        waiting = Expected(("tune", "promote", "prune"), (3,), "another sweep of this study is running")
        assert failures(world, waiting, Expected(("show", "report", "compare", "models", "doctor"), (0,))) == []


def _unforeseen() -> list[tuple[Exception, int, str]]:
    from httpx import ConnectError
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import OperationalError

    return [
        (KeyError("of ours"), 1, "This is a fault of Nightune: KeyError: 'of ours'"),
        (MlflowException("No such thing\nmore"), 3, "The store failed: MlflowException: No such thing. "),
        (OperationalError("select", None, Exception("no such table")), 3, "The store failed: OperationalError"),
        (ConnectError("refused"), 3, "Prefect's server failed (refused)"),
        (FileNotFoundError(2, "No such file or directory", "/gone/model.zip"), 3, "/gone/model.zip"),
        (MemoryError(), 3, "Out of memory"),
    ]


def test_exceptions_that_none_foresaw(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for error, code, said in _unforeseen():
        fail = partial(_raise, error)
        monkeypatch.setattr("nightune.tasks.load_study.load_study", fail)
        monkeypatch.setattr("nightune.tasks.tracking.store.store.open_existing_store", fail)
        for command in every(COMMANDS, "init"):  # it asks no store
            done = world.run(command)
            (line,) = done.output.splitlines()
            assert (command, done.exit_code, said in line, "Traceback" in line) == (command, code, True, False)
    texts = [file.read_text(encoding="utf-8") for file in (world.root / "faults").iterdir()]
    assert any("KeyError: 'of ours'" in text and "Traceback" in text for text in texts)


def _raise(error: Exception, *_: object, **__: object) -> None:
    raise error


USUAL = every(USE_STORE, "serve", "probe", "ui")


def _commands_after(change: str) -> tuple[str, ...]:
    """Return every third command, so that neighbours in the list of changes meet all; each one in `make fuzz`."""
    return USUAL if len(CHANGES) <= FUZZ_CASES else USUAL[list(CHANGES).index(change) % 3 :: 3]


@pytest.mark.parametrize("change", CHANGES)
def test_what_people_delete_or_change_on_mlflows_pages(change: str, world: World) -> None:
    CHANGES[change](world)
    assert failures(world, Expected(_commands_after(change), (0, 1, 3, 4))) == []


@pytest.mark.parametrize("seed", range(FUZZ_CASES))
def test_one_random_thing_of_a_store_is_changed(seed: int, world: World) -> None:
    what = change_at_random(world.root, seed)
    assert (what, failures(world, Expected(USUAL, (0, 1, 3, 4)))) == (what, [])
