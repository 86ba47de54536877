"""Shared by all tests: quiet libraries, a separate store for each test, one Prefect server for all."""

import gc
import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import wrapt

from tests.quick import KerasFinder, SlowFixtures, fail_the_collection, skip_slow_tests

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
# OpenBLAS' threads wait for each other in loops: on two busy cores, products of small matrices took ten times longer.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.pop("MLFLOW_TRACKING_URI", None)
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # each started process would compile 400 modules,
sys.dont_write_bytecode = False  # and each run all tests

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job started with & ignores it, and so would its children

DEFAULT_STORE = Path("mlflow.db").resolve()
QUICK_XLA = (
    "--xla_cpu_parallel_codegen_split_count=1 --xla_cpu_use_fusion_emitters=false "
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)
NO_KERAS = KerasFinder(fail_the_collection)

is_keras_frozen = False


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick", action="store_true", help="skip each test that is slow, imports Keras or starts a process"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Let XLA compile small programs fast: without its newer code for fused loops, in one part, and hardly optimized.

    Weights may differ in the last digits from those that users get (docs/decisions/0133, 0158). `make nights` compiles
    as users do, and so do the sweep of `test_json_is_the_last_line` and all with `XLA_FLAGS=` before the command.

    TensorFlow's own optimizer of graphs is left out with it, in this process: most graphs run only a few times.
    """
    if config.option.markexpr == "not nights" and os.environ.setdefault("XLA_FLAGS", QUICK_XLA) == QUICK_XLA:
        wrapt.register_post_import_hook(partial(optimize_graphs, is_wanted=False), "tensorflow")


def optimize_graphs(tensorflow: Any, is_wanted: bool) -> None:
    """Let TensorFlow optimize each graph before its first run, as for users, or leave graphs as they were traced."""
    tensorflow.config.optimizer.set_experimental_options({"disable_meta_optimizer": not is_wanted})


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
    """Collect garbage seldom: collections took a fifteenth of the suite, and a second of each import of Keras."""
    sys.meta_path.remove(NO_KERAS)
    gc.freeze()
    gc.set_threshold(100_000, 10, 5)
    gc.enable()
    if session.config.getoption("quick"):
        session.config.pluginmanager.register(SlowFixtures())
        skip_slow_tests()


def pytest_runtest_teardown() -> None:
    """Exclude Keras and TensorFlow, once a test has imported them, from later collections."""
    global is_keras_frozen
    if not is_keras_frozen and "keras" in sys.modules:
        is_keras_frozen = True
        gc.freeze()


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
    """A store whose tables and whose script of the report's charts exist: both take seconds, copies of them do not."""
    from nightune.tasks.reporting.night.charts_library import charts_library
    from nightune.tasks.tracking.store.store import open_store

    root = tmp_path_factory.mktemp("template") / "mlruns"
    charts_library(open_store(root).compiled)
    return root


@pytest.fixture
def store_root(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an empty store, set as the one to use."""
    root = tmp_path / "mlruns"
    shutil.copytree(empty_store, root)
    monkeypatch.setenv("NIGHTUNE_STORE", str(root))
    return root


@pytest.fixture
def optimized_graphs() -> Iterator[None]:
    """Optimize TensorFlow's graphs, as the processes do whose weights a test compares bit for bit with its own."""
    import tensorflow

    before = tensorflow.config.optimizer.get_experimental_options()["disable_meta_optimizer"]
    optimize_graphs(tensorflow, is_wanted=True)
    yield
    optimize_graphs(tensorflow, is_wanted=not before)


@pytest.fixture
def proof_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open no model with own code in a fresh process before its trials: test_prove_reopening.py does, one for all."""
    for module in ("build_models", "check_study"):
        monkeypatch.setattr(f"nightune.tasks.{module}.prove_reopening", lambda *_: None)


@pytest.fixture
def opened_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open versions in this process, not in a fresh one for each, which takes ten seconds of the processor."""
    from nightune.models.serving.predictor import Predictor
    from nightune.tasks.tracking.registry.fresh_process import Opened
    from nightune.tasks.tracking.registry.model_folder import parts_of

    def opened(folder: Path, rows: Any) -> Opened:
        try:
            return answered(folder, rows)
        except Exception as error:  # which a fresh process reports
            return Opened(None, f"{type(error).__name__}: {error}", ())

    def answered(folder: Path, rows: Any) -> Opened:
        predictor = Predictor.open(parts_of(folder))
        outputs = predictor.outputs(predictor.inputs(rows))
        if predictor.description["task"] == "regression":
            return Opened(outputs, "", ())
        frame = predictor.predict(rows, output="probabilities")
        return Opened(outputs, "", (), tuple(frame.columns), frame.to_numpy())

    monkeypatch.setattr("nightune.tasks.opened_alone.open_in_fresh_process", opened)


def send_what_waits() -> None:
    """Send the logs and events that wait for a server that is about to stop: their threads would retry for a minute."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    APILogWorker.instance().drain()
    EventsWorker.drain_all()


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prefect server with its own database, for this process and its children.

    It is ours, which copies a prepared database: Prefect's harness for tests runs all its migrations.
    """
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from nightune.tasks.child_environment import child_environment
    from nightune.tasks.child_server import start_server

    home = tmp_path_factory.mktemp("prefect")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}/api"
    code = f"from nightune.flows.runtime.prefect_server import run; run({port}, {os.getpid()})"
    settings = {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home}/prefect.db",
        "PREFECT_UI_ENABLED": "0",
        "PREFECT__SERVER_EPHEMERAL": "1",
        "PREFECT__SERVER_FINAL": "1",
    }
    command = [sys.executable, "-P", "-c", code]
    with (home / "server.log").open("ab") as log:
        environment = child_environment() | settings
        server = start_server("Prefect's server", command, f"{address}/health", log, environment, in_own_session=True)
    try:
        server.wait()
        with temporary_settings(updates={PREFECT_API_URL: address}):
            yield address
            send_what_waits()
    finally:
        server.stop()


@pytest.fixture
def portfolio(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small portfolio in place of the shipped one."""
    monkeypatch.setattr("nightune.tuning.search.portfolio.FILE", Path(__file__).with_name("portfolio.json"))
