"""Shared by all tests: quiet libraries, a separate store for each test, one Prefect server for all."""

import gc
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.quick import KerasFinder, fail_the_collection, skip_slow_tests

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
os.environ.pop("MLFLOW_TRACKING_URI", None)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job started with & ignores it, and so would its children

DEFAULT_STORE = Path("mlflow.db").resolve()
NO_KERAS = KerasFinder(fail_the_collection)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick", action="store_true", help="skip each test that is slow, imports Keras or starts a process"
    )


def pytest_collection() -> None:
    """Import all tests without Keras, and without collecting garbage among objects that stay until the end."""
    gc.disable()
    sys.meta_path.insert(0, NO_KERAS)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave tests that compute for a second or more out of a quick run."""
    if config.getoption("quick"):
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


def pytest_collection_finish(session: pytest.Session) -> None:
    sys.meta_path.remove(NO_KERAS)
    gc.freeze()
    gc.enable()
    if session.config.getoption("quick"):
        skip_slow_tests()


@pytest.fixture(autouse=True)
def environment_kept() -> Iterator[None]:
    """Restore the environment variables that a test changes: the command line and MLflow both write to them."""
    with kept_environment():
        yield


@contextmanager
def kept_environment() -> Iterator[None]:
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(autouse=True)
def no_default_store() -> Iterator[None]:
    """Fail a test that lets MLflow create its default store: a database in this folder."""
    before = DEFAULT_STORE.exists()
    yield
    assert DEFAULT_STORE.exists() == before


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose tables exist: creating them takes seconds, copying the file does not."""
    from nightune.tasks.tracking.store.store import open_store

    root = tmp_path_factory.mktemp("template") / "mlruns"
    open_store(root)
    return root


@pytest.fixture
def store_root(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an empty store, set as the one to use."""
    root = tmp_path / "mlruns"
    shutil.copytree(empty_store, root)
    monkeypatch.setenv("NIGHTUNE_STORE", str(root))
    return root


@pytest.fixture
def opened_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open versions in this process, not in a fresh one for each, which takes ten seconds of the processor."""
    from nightune.models.serving.predictor import Predictor
    from nightune.tasks.tracking.registry.fresh_process import Opened
    from nightune.tasks.tracking.registry.model_folder import parts_of

    def opened(folder: Path, rows: Any) -> Opened:
        predictor = Predictor.open(parts_of(folder))
        outputs = predictor.outputs(predictor.inputs(rows))
        if predictor.description["task"] == "regression":
            return Opened(outputs, "", ())
        frame = predictor.predict(rows, output="probabilities")
        return Opened(outputs, "", (), tuple(frame.columns), frame.to_numpy())

    monkeypatch.setattr("nightune.tasks.opened_alone.open_in_fresh_process", opened)


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[str]:
    """The address of a Prefect server with its own database, for this process and its children."""
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        address = PREFECT_API_URL.value()
        assert address
        yield address
